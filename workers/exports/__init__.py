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
    told = dict(row.fields)
    nested = {each: orjson.loads(told[each]) if told.get(each) else None for each in ("attempts", "usage", "tags")}
    return {"id": row.id, **told, **nested}


def _day(row: Row) -> str:
    milliseconds = int(row.id.partition("-")[0])
    return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC).date().isoformat()
