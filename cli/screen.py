"""What the commands print: lines for people, plain where the output is not a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console

Document = dict[str, Any]


class Screen:
    """quiet: only what was asked for and what went wrong."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.out = Console(highlight=False, soft_wrap=True, quiet=quiet)
        self._errors = Console(stderr=True, highlight=False, soft_wrap=True)

    def line(self, text: str = "", style: str = "") -> None:
        self.out.print(text, style=style, markup=False)

    def piece(self, text: str) -> None:
        """A part of a line that goes on."""
        self.out.print(text, end="", markup=False)
        self.out.file.flush()

    def warn(self, text: str) -> None:
        self._errors.print(text, style="yellow", markup=False)

    def fail(self, text: str) -> None:
        self._errors.print(f"gateway: {text}", style="red", markup=False)

    def timeline(self, steps: Iterable[Document]) -> None:
        """A job's steps, each with the milliseconds since the first."""
        first = None
        for step in steps:
            at_ms = step["at_ms"]
            first = at_ms if first is None else first
            self.line(f"  {at_ms - first:>7,} ms  {step['state']:<10} {step.get('detail') or ''}".rstrip())


def cost(job: Document) -> str:
    """What a job cost, in a phrase."""
    usd = job.get("cost_usd")
    if usd is None:
        return "its cost is not known"
    return "it cost nothing" if float(usd) == 0 else f"it cost ${usd}"
