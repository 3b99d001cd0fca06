"""What was used and what it cost: the ledger, what is booked, exported and warned of; and the audit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mesh import lanes
from mesh.job import counter_and_owner
from mesh.store.call import Call, as_fields, as_is, as_text, script
from mesh.wire import Arg


def audit(fields: Mapping[str, str]) -> Call[Any]:
    """Add a row to what is kept of the guard's and the operators' doings. Said twice it stands there twice."""
    return script("audit", [part for pair in fields.items() for part in pair], as_is)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the ledger."""

    id: str  # of the stream: when it was written, in ms, and a number
    fields: Mapping[str, str]


def ledger(after: str, *, upto: str = "+", count: int = 1000) -> Call[list[Row]]:
    """Ledger rows with ids above `after` (empty: from the first), oldest first."""

    def read(reply: Any) -> list[Row]:
        return [Row(as_text(row_id), as_fields(fields)) for row_id, fields in reply]

    first = f"({after}" if after else "-"
    return Call(("XRANGE", f"{lanes.PREFIX}ledger:rows", first, upto, "COUNT", count), read)


def booked() -> Call[str]:
    """The id of the last ledger row that is in the counters; empty: none is."""
    return Call(("GET", f"{lanes.PREFIX}usage:booked"), lambda reply: as_text(reply or b""))


def book(before: str, upto: str, life_ms: int, amounts: Iterable[tuple[str, str, int]]) -> Call[bool]:
    """Add rows to the counters of their days (day, field, amount); False when another has booked since `before`."""
    args: list[Arg] = [before, upto, life_ms]
    for amount in amounts:
        args += amount
    return script("book", args, bool)


@dataclass(frozen=True, slots=True)
class Booked:
    upto: str  # the last row that is in them; empty: none
    days: list[dict[str, int]]  # fields of each day


def usage(days: Sequence[str]) -> Call[Booked]:
    def read(reply: Any) -> Booked:
        return Booked(
            as_text(reply[0]), [{name: int(amount) for name, amount in as_fields(day).items()} for day in reply[1:]]
        )

    return script("usage", days, read)


def spending() -> Call[dict[str, int]]:
    """What was ever booked in all, by field."""
    return Call(
        ("HGETALL", f"{lanes.PREFIX}usage:all"),
        lambda reply: {name: int(amount) for name, amount in as_fields(reply).items()},
    )


def exported() -> Call[str]:
    """The id of the last ledger row that has been exported; empty: none has."""
    return Call(("GET", f"{lanes.PREFIX}ledger:exported"), lambda reply: as_text(reply or b""))


def begin_export(exported: str, first: str, last: str) -> Call[tuple[str, str] | None]:
    """The range of rows that leave now; None when it is to be asked anew what is left."""

    def read(reply: Any) -> tuple[str, str] | None:
        first, _, last = as_text(reply).partition(" ")
        return (first, last) if last else None

    return script("export", ("begin", exported, first, last), read)


def end_export(first: str, last: str) -> Call[bool]:
    """These rows are safe elsewhere: drop them."""
    return script("export", ("end", first, last), bool)


def claim_alert(name: str, life_ms: int) -> Call[bool]:
    """Whether nobody else has sent this alert, or is about to."""
    return Call(("SET", f"{lanes.PREFIX}alerted:{name}", 1, "NX", "PX", life_ms), lambda reply: reply is not None)


def keep_alert(name: str, life_ms: int) -> Call[Any]:
    """It is sent: remember it for so long."""
    return Call(("SET", f"{lanes.PREFIX}alerted:{name}", 1, "PX", life_ms), as_is)


def forget_alert(name: str) -> Call[Any]:
    """It could not be sent: somebody may try again."""
    return Call(("DEL", f"{lanes.PREFIX}alerted:{name}"), as_is)


def spent(name: str) -> Call[int]:
    """What a `spent` hold's counter says now."""
    counter, owner = counter_and_owner(name)
    return Call(("HGET", f"{lanes.PREFIX}holds:{owner}", counter), lambda reply: int(reply or 0))
