"""Where ledger rows go that leave Redis: one kind of place a file, and the one dict that names them."""

from __future__ import annotations

import datetime as dt
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast
from urllib.parse import urlsplit

import orjson

from mesh.store import Row

# The S3 client is slow to import and large: only a worker that exports there loads it.
PLACES: Mapping[str, str] = {"file": "workers.exports.folder:open_place", "s3": "workers.exports.s3:open_place"}


_NESTED = ("attempts", "usage", "tags")


class Export(Protocol):
    """A place for files."""

    async def write(self, rows: Sequence[Row]) -> None:
        """Keep these rows as one file; the same rows again make the same file.

        Raises:
            OSError: they could not be kept.
        """


def open_export(to: str) -> Export | None:
    """The place that config names; None when it names none."""
    if not to:
        return None
    make = cast(Callable[[str], Export], pkgutil.resolve_name(PLACES[urlsplit(to).scheme]))
    return make(to)


def name(rows: Sequence[Row]) -> str:
    """A file's name: the day of its first row, then its first and last."""
    first = rows[0]
    return f"{_day(first)}/{first.id}_{rows[-1].id}.jsonl"


def lines(rows: Sequence[Row]) -> bytes:
    """One JSON object a line."""
    return b"".join(orjson.dumps(_document(row)) + b"\n" for row in rows)


def _document(row: Row) -> dict[str, object]:
    return {"id": row.id, **row.fields, **{name: _nested(row.fields.get(name)) for name in _NESTED}}


def _nested(text: str | None) -> object:
    """The JSON in a field; what is none stays the text that it is."""
    try:
        return orjson.loads(text) if text else None
    except orjson.JSONDecodeError:
        return text


def _day(row: Row) -> str:
    milliseconds = int(row.id.partition("-")[0])
    return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC).date().isoformat()
