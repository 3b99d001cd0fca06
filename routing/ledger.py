"""The ledger's rows as sums: who used what, on which day, and what it cost.

A row's cost is the sum of its attempts', for an attempt of which nobody knows what was reserved; each counts for the
provider that it was sent to.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

import orjson
import structlog

from mesh.store import Row
from routing.budgets import NANO, usd

log = structlog.get_logger()

Group = Literal["day", "tenant", "key", "model", "provider", "tag"]
GROUPS: tuple[Group, ...] = ("day", "tenant", "key", "model", "provider", "tag")


@dataclass(frozen=True, slots=True)
class Slot:
    """What one sum is of."""

    day: str  # of the job's end, by UTC
    tenant: str
    key: str
    model: str  # the provider's
    provider: str
    tags: str = ""  # JSON, or empty

    @property
    def field(self) -> str:
        return orjson.dumps([self.tenant, self.key, self.model, self.provider, self.tags]).decode()

    @classmethod
    def read(cls, day: str, field: str) -> Slot:
        return cls(day, *orjson.loads(field))

    def names(self, group: Group) -> tuple[str, ...]:
        """Under which names it counts: a job with several tags under each of them."""
        if group == "tag":
            tags: dict[str, str] = orjson.loads(self.tags) if self.tags else {}
            return tuple(f"{name}={value}" for name, value in sorted(tags.items())) or ("",)
        return (str(getattr(self, group)),)


@dataclass(slots=True)
class Sums:
    """
    requests: jobs that ended. unknown: attempts of which nobody knows whether they were billed.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: Decimal = field(default_factory=Decimal)
    unknown: int = 0

    def add(self, other: Sums) -> None:
        self.requests += other.requests
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.cost_usd += other.cost_usd
        self.unknown += other.unknown

    def amounts(self) -> Iterator[tuple[str, int]]:
        """As whole numbers, money in nano-dollars."""
        for name in ("requests", "prompt_tokens", "completion_tokens", "unknown"):
            yield name, getattr(self, name)
        yield "cost_usd", int((self.cost_usd * NANO).to_integral_value())

    def put(self, name: str, amount: int) -> None:
        setattr(self, name, usd(amount) if name == "cost_usd" else amount)


Book = dict[Slot, Sums]


def sums(rows: Iterable[Row]) -> Book:
    """The sums of these rows; one that is no row of ours is logged and left out."""
    book: Book = defaultdict(Sums)
    for row in rows:
        try:
            parts = list(_parts(row.fields))
        except (KeyError, ValueError, TypeError, ArithmeticError) as error:
            log.error("ledger_row_unreadable", row=row.id, why=type(error).__name__)
            continue
        for slot, part in parts:
            book[slot].add(part)
    return dict(book)


def _parts(told: Mapping[str, str]) -> Iterator[tuple[Slot, Sums]]:
    """What a row adds to which sums: the job itself, and the cost of each attempt."""
    day = dt.datetime.fromtimestamp(int(told["ended"]) / 1000, dt.UTC).date().isoformat()
    slot = Slot(day, told["tenant"], told["key"], told["model"], told["provider"], told.get("tags", ""))
    usage: dict[str, Any] = orjson.loads(told["usage"]) if told["usage"] else {}
    yield slot, Sums(1, int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0))
    for attempt in orjson.loads(told["attempts"]):
        paid = Slot(day, slot.tenant, slot.key, attempt["model"], attempt["provider"], slot.tags)
        cost, unknown = Decimal(attempt.get("cost_usd") or 0), attempt["outcome"] == "unknown"
        if cost or unknown:
            yield paid, Sums(cost_usd=cost, unknown=int(unknown))


def bookings(book: Book) -> Iterator[tuple[str, str, int]]:
    """What is to be added to which field of which day."""
    spent: dict[str, Decimal] = defaultdict(Decimal)
    for slot, each in book.items():
        spent[slot.provider] += each.cost_usd
        for name, amount in each.amounts():
            if amount:
                yield slot.day, f"{name} {slot.field}", amount
    for provider, cost in spent.items():
        if cost:
            yield "all", f"cost_usd {provider}", int((cost * NANO).to_integral_value())


def booked(day: str, fields: Mapping[str, int]) -> Book:
    """What the counters of a day say."""
    book: Book = defaultdict(Sums)
    for name, amount in fields.items():
        what, _, slot = name.partition(" ")
        book[Slot.read(day, slot)].put(what, amount)
    return dict(book)


def merged(books: Iterable[Book]) -> Book:
    whole: Book = defaultdict(Sums)
    for book in books:
        for slot, each in book.items():
            whole[slot].add(each)
    return dict(whole)


def grouped(book: Book, groups: Sequence[Group], only: Mapping[Group, str]) -> list[tuple[dict[Group, str], Sums]]:
    """Sums by these groups, of those slots that fit `only` (a tag by its name, or as name=value), in order."""
    found: dict[tuple[str, ...], Sums] = defaultdict(Sums)
    for slot, each in book.items():
        if all(_fits(slot, group, value) for group, value in only.items()):
            for names in itertools.product(*(slot.names(group) for group in groups)):
                found[names].add(each)
    return [(dict(zip(groups, names, strict=True)), each) for names, each in sorted(found.items(), key=lambda x: x[0])]


def _fits(slot: Slot, group: Group, value: str) -> bool:
    names = slot.names(group)
    return value in names or (group == "tag" and any(name.partition("=")[0] == value for name in names))
