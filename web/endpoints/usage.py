"""GET /v1/usage: who used what, and what it cost."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Mapping
from typing import Any

import orjson
from flask import Blueprint, Response, request

from mesh import errors, store
from routing import ledger
from routing.ledger import GROUPS, Book, Group, Sums
from routing.prices import plain
from web.door import Door

USAGE = "/v1/usage"
_MOST_DAYS = 92
_USUAL_DAYS = 30
_MOST_UNBOOKED = 20_000  # rows; worker-system books a thousand at a time, every second
_SUMS = ("requests", "prompt_tokens", "completion_tokens", "cost_usd", "unknown_attempts")
_FILTERS: tuple[Group, ...] = ("tenant", "key", "model", "provider", "tag")


def blueprint(door: Door) -> Blueprint:
    routes = Blueprint("usage", __name__)

    @routes.get(USAGE)
    def usage() -> Response:
        who = door.gatekeeper.caller(request.environ.get("HTTP_AUTHORIZATION", ""))
        asked = request.args
        form = asked.get("format", "json")
        if form not in ("json", "csv"):
            raise errors.RequestError("Invalid 'format': expected json or csv.", param="format")
        days = _days(asked)
        groups = _groups(asked.get("group_by", "day"))
        only = {name: asked[name] for name in _FILTERS if asked.get(name)}
        if who.role != "admin" and only.setdefault("tenant", who.tenant) != who.tenant:
            raise errors.Forbidden("Another tenant's usage needs an admin's key.")
        book = _read(door, days)
        found = ledger.grouped(book, groups, only)
        rows = [{**names, **_shown(sums)} for names, sums in found]
        if form == "csv":
            return _csv(groups, rows)
        whole = [sums for _, sums in ledger.grouped(book, (), only)] or [Sums()]
        body = {"object": "list", "first_day": days[0], "last_day": days[-1], "data": rows, "total": _shown(whole[0])}
        return Response(orjson.dumps(body), mimetype="application/json")

    return routes


def _read(door: Door, days: list[str]) -> Book:
    """What is booked of these days, and the rows that are not booked yet."""
    booked = door.freight.do(store.usage(days))
    books = [ledger.booked(day, fields) for day, fields in zip(days, booked.days, strict=True)]
    after, read = booked.upto, 0
    while rows := door.freight.do(store.ledger(after)):
        books.append({slot: sums for slot, sums in ledger.sums(rows).items() if slot.day in days})
        after, read = rows[-1].id, read + len(rows)
        if read >= _MOST_UNBOOKED:
            raise errors.Overloaded("Too much is not booked yet; does a worker-system run?", retry_after_s=30)
    return ledger.merged(books)


def _days(asked: Mapping[str, str]) -> list[str]:
    """
    Raises:
        RequestError: `from` or `to` is no date, or they are too far apart.
    """
    last = _date(asked, "to") or dt.datetime.now(dt.UTC).date()
    first = _date(asked, "from") or last - dt.timedelta(_USUAL_DAYS - 1)
    count = (last - first).days + 1
    if not 1 <= count <= _MOST_DAYS:
        raise errors.RequestError(f"From 'from' to 'to' there must be 1 to {_MOST_DAYS} days.", param="from")
    return [(first + dt.timedelta(number)).isoformat() for number in range(count)]


def _date(asked: Mapping[str, str], name: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(asked[name]) if asked.get(name) else None
    except ValueError:
        raise errors.RequestError(f"Invalid '{name}': expected a date such as 2026-11-26.", param=name) from None


def _groups(text: str) -> tuple[Group, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = {name: name for name in GROUPS}
    if len(set(names)) != len(names) or not set(names) <= known.keys():
        raise errors.RequestError(
            f"Invalid 'group_by': expected some of {', '.join(GROUPS)}, separated by commas.", param="group_by"
        )
    return tuple(known[name] for name in names)  # type: ignore[index]  # a subset of them


def _shown(sums: Sums) -> dict[str, Any]:
    return {
        "requests": sums.requests,
        "prompt_tokens": sums.prompt_tokens,
        "completion_tokens": sums.completion_tokens,
        "cost_usd": plain(sums.cost_usd),
        "unknown_attempts": sums.unknown,
    }


def _csv(groups: tuple[Group, ...], rows: list[dict[str, Any]]) -> Response:
    text = io.StringIO()
    writer = csv.DictWriter(text, [*groups, *_SUMS], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return Response(text.getvalue(), mimetype="text/csv")


def _cell(value: Any) -> Any:
    """A text of others that a spreadsheet would take for a formula is made a plain text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
