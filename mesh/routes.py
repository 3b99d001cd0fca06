"""The words in which routes are spoken of, and whether what a configuration names leads somewhere."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

RuleName = Literal["ordered", "cheapest", "fastest", "weighted", "least_waiting", "best_value"]

# Why a target's failure leads on; `error` is any failure that another target may do better.
Cause = Literal["context_length", "rate_limit", "content_policy", "timeout", "unavailable", "rejected", "error"]


def misnamed(
    named: Iterable[tuple[str, str]], aliases: Iterable[str], providers: Iterable[str], prefixes: Iterable[str]
) -> Iterator[str]:
    """The mistakes in (place, model's name as a request may say it)."""
    known, others, begins = list(providers), list(aliases), tuple(prefixes)
    for place, name in named:
        head, slash, _ = name.partition("/")
        if name in others or (slash and head in known) or name.startswith(begins):
            continue
        near = difflib.get_close_matches(head if slash else name, [*known, *others], 1)
        hint = f", did you mean {near[0]}{slash and '/…'}?" if near else ""
        yield f"{place}: no alias, provider or prefix fits {name!r}{hint}"


def circles(leads: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The aliases that lead back to themselves. leads: alias → the names that it stands for."""
    for start in leads:
        ways, seen = [[start]], {start}
        while ways:
            way = ways.pop()
            onward = [name for name in leads[way[-1]] if name in leads]
            if start in onward:
                yield f"aliases.{start}: leads back to itself ({' → '.join([*way, start])})"
                break
            ways += [[*way, name] for name in onward if name not in seen]
            seen |= set(onward)
