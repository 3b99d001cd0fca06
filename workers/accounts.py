"""What worker-system does with the ledger: books its rows as sums, tells of spent budgets, moves old rows out."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from mesh import store
from mesh.allowances import LedgerSettings
from mesh.reload import Reloaded
from mesh.settings import Config
from mesh.wire import Refused
from routing import ledger
from workers.alerts import Alerts
from workers.exports import Export, open_export
from workers.fetch import Fetcher
from workers.pipe import Pipe

log = structlog.get_logger()

BOOK_EVERY_S = 1.0
EXPORT_EVERY_S = 30.0
_PAGE = 1_000  # rows
_DAY_MS = 86_400_000


def duties(pipe: Pipe, settings: Reloaded[Config], fetcher: Fetcher) -> list[Coroutine[Any, Any, None]]:
    """What runs for as long as worker-system does, by what config says at each turn. Any number may run at once.

    Raises:
        ConfigError: what alerts are signed with is no secret.
    """
    alerts = Alerts(pipe, settings.current, fetcher)
    exporting = Exporting()

    async def booking() -> bool:
        alerts.take_up(settings.current)
        return await book(pipe, settings.current.ledger, alerts)

    async def moving() -> bool:
        ledger_settings = settings.current.ledger
        export = exporting.place(ledger_settings.export.to)
        return export is not None and await move(pipe, ledger_settings, export)

    return [_again(BOOK_EVERY_S, booking), _again(EXPORT_EVERY_S, moving)]


class Exporting:
    """The place that config names, opened anew when it names another."""

    def __init__(self) -> None:
        self._to = ""
        self._export: Export | None = None

    def place(self, to: str) -> Export | None:
        """None where nothing is exported."""
        if to != self._to:
            self._to, self._export = to, open_export(to)
        return self._export


async def _again(every_s: float, duty: Any) -> None:
    """Do it again at once while there is more, else after a while."""
    while True:
        try:
            more = await duty()
        except Refused as error:
            log.error("accounts_refused", why=str(error))
            more = False
        except OSError as error:
            log.error("export_failed", why=str(error))
            more = False
        if not more:
            await asyncio.sleep(every_s)


async def book(pipe: Pipe, settings: LedgerSettings, alerts: Alerts) -> bool:
    """Book what was not; whether there is more."""
    before = await pipe.do(store.booked())
    rows = await pipe.do(store.ledger(before, count=_PAGE))
    if not rows:
        return False
    sums = ledger.sums(rows)
    life_ms = settings.keep_usage_days * _DAY_MS
    mine = await pipe.do(store.book(before, rows[-1].id, life_ms, ledger.bookings(sums)))
    if mine:
        await alerts.look({(slot.tenant, slot.key) for slot in sums})
    return len(rows) == _PAGE


async def move(pipe: Pipe, settings: LedgerSettings, export: Export) -> bool:
    """Move rows that are old enough and booked; whether there may be more.

    Which rows make a file is agreed upon before it is written: whoever comes again, or at the same time, writes the
    same one.
    """
    rules = settings.export
    done, booked, now_ms = await pipe.do(store.exported()), await pipe.do(store.booked()), await pipe.do(store.now_ms())
    old = [
        row
        for row in await pipe.do(store.ledger(done, count=rules.most_rows))
        if _place(row.id)[0] <= now_ms - rules.after_s * 1000 and booked and _place(row.id) <= _place(booked)
    ]
    if not old:
        return False
    agreed = await pipe.do(store.begin_export(done, old[0].id, old[-1].id))
    if agreed is None:
        return True
    rows = await _between(pipe, *agreed)
    if not rows or rows[-1].id != agreed[1]:
        if _place(await pipe.do(store.exported()) or "0-0") >= _place(agreed[1]):
            return True  # somebody else was faster, and dropped them while they were read
        log.error("ledger_rows_lost", first=agreed[0], last=agreed[1], left=len(rows))
    if rows:
        await export.write(rows)
    if await pipe.do(store.end_export(*agreed)):
        log.info("ledger_exported", rows=len(rows), first=agreed[0], last=agreed[1])
    return True


async def _between(pipe: Pipe, first: str, last: str) -> list[store.Row]:
    rows: list[store.Row] = []
    milliseconds, number = _place(first)
    after = f"{milliseconds}-{number - 1}" if number else f"{milliseconds - 1}-{2**64 - 1}"
    while True:
        page = await pipe.do(store.ledger(after, upto=last, count=_PAGE))
        rows += page
        if len(page) < _PAGE:
            return rows
        after = page[-1].id


def _place(row_id: str) -> tuple[int, int]:
    milliseconds, _, number = row_id.partition("-")
    return int(milliseconds), int(number)
