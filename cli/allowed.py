"""What a key or a tenant may use, as the options of a command."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated

import typer
from rich.table import Table

from cli.errors import Unable
from cli.screen import Document

Rpm = Annotated[int | None, typer.Option("--rpm", min=1, help="Requests per minute.")]
Tpm = Annotated[int | None, typer.Option("--tpm", min=1, help="Tokens per minute.")]
Concurrent = Annotated[int | None, typer.Option("--concurrent", min=1, help="Jobs at once.")]
DayUsd = Annotated[float | None, typer.Option("--day-usd", min=0, help="Dollars a day, hard.")]
MonthUsd = Annotated[float | None, typer.Option("--month-usd", min=0, help="Dollars a month, hard.")]
SoftDayUsd = Annotated[float | None, typer.Option("--soft-day-usd", min=0, help="Dollars a day, then an alert.")]
SoftMonthUsd = Annotated[float | None, typer.Option("--soft-month-usd", min=0, help="Dollars a month, then an alert.")]

_PARTS = {
    "limits": ("requests_per_minute", "tokens_per_minute", "concurrent"),
    "budget": ("day_usd", "month_usd", "soft_day_usd", "soft_month_usd"),
}
LIFTS: Mapping[str, str] = {  # what --lift takes away, by the option that gives it
    "rpm": "requests_per_minute",
    "tpm": "tokens_per_minute",
    **{name.replace("_", "-"): name for name in ("concurrent", *_PARTS["budget"])},
}


@dataclass(frozen=True, slots=True)
class Allowed:
    """None: not said."""

    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrent: int | None
    day_usd: float | None
    month_usd: float | None
    soft_day_usd: float | None
    soft_month_usd: float | None

    def over(self, now: Document, lifted: Collection[str] = ()) -> Document:
        """The limits and the budget that `now` has, but for what is said here and what is lifted."""
        said = {each.name: getattr(self, each.name) for each in fields(self)}

        def settled(part: str, name: str) -> object:
            return said[name] if said[name] is not None else None if name in lifted else now.get(part, {}).get(name)

        return {part: {name: settled(part, name) for name in names} for part, names in _PARTS.items()}


def lifted(names: Sequence[str] | None, known: Mapping[str, str]) -> set[str]:
    """The settings that these options gave.

    Raises:
        Unable: one gives nothing that can be lifted.
    """
    for name in names or ():
        if name not in known:
            raise Unable(f"--lift {name}: expected one of {', '.join(known)}")
    return {known[name] for name in names or ()}


def told(settings: Document) -> str:
    """The limits and the budget in a line."""
    amounts = [
        f"{name} {settings[part][name]}"
        for part, names in _PARTS.items()
        for name in names
        if settings[part][name] is not None
    ]
    return ", ".join(amounts) or "nothing of its own"


def listing(settings: Document) -> Table:
    """Every setting with its value, one a row."""
    table = Table("setting", "value", box=None, pad_edge=False)
    for name, value in settings.items():
        for inner, each in value.items() if isinstance(value, dict) else [("", value)]:
            if each not in (None, ""):
                table.add_row(f"{name}.{inner}" if inner else name, str(each))
    return table
