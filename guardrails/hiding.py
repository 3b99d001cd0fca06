"""What policy does about the personal data of several texts: hide some of it, name the rest.

A function's arguments are JSON: each string in them is a text of its own, so that what is hidden is the value that the
caller meant and not its escaped form.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from guardrails.guard import Guard
from guardrails.masking import Masker, Strategy, restore
from guardrails.policy import PERSONAL
from guardrails.texts import Text, is_json
from guardrails.verdicts import Action, Finding, Stage

HIDING = frozenset((Action.MASK, Action.REDACT))


class Rule(Protocol):
    """What policy says of one kind of personal data."""

    @property
    def action(self) -> Action: ...

    @property
    def strategy(self) -> Strategy: ...


@dataclass(frozen=True, slots=True)
class Seen:
    """A kind of personal data that was found, and where first."""

    kind: str
    action: Action
    place: str


@dataclass(frozen=True, slots=True)
class Hidden:
    texts: Mapping[str, str] = field(default_factory=dict)  # by place: those that are otherwise now
    values: Mapping[str, str] = field(default_factory=dict)  # by placeholder: what it stands for
    seen: tuple[Seen, ...] = ()  # the gravest first


NOTHING = Hidden()


Found = Sequence[Sequence[Sequence[Finding]]]  # of each text, of each string in it


def look(
    guard: Guard, texts: Iterable[Text], stage: Stage, *, tenant: str, key: str, judged: bool
) -> list[list[Sequence[Finding]]]:
    """The personal data of texts: of each text itself, or of the strings of its JSON.

    judged: the guard has judged them a moment ago, and remembers what it saw.
    """
    texts = list(texts)
    remembered = [verdict for _, verdict in guard.verdicts(texts, stage, tenant=tenant, key=key)] if judged else []
    found: list[list[Sequence[Finding]]] = []
    for text, verdict in itertools.zip_longest(texts, remembered):
        leaves = _leaves(text)
        if verdict is not None and leaves[0][0] == ():
            found.append([[each for each in verdict.findings if each.kind in PERSONAL]])
        else:
            found.append([guard.personal(value, stage, tenant=tenant, key=key) for _, value in leaves])
    return found


def hide(
    texts: Sequence[Text],
    found: Found,
    rules: Mapping[str, Rule],
    *,
    hiding: bool = True,
    for_good: bool = False,
) -> Hidden:
    """
    found: as `look` has found it.
    hiding: False names what was seen and leaves every text as it is.
    for_good: nobody will restore a placeholder.
    """
    seen: dict[str, Seen] = {}
    for text, of_text in zip(texts, found, strict=True):
        for finding in (each for of_piece in of_text for each in of_piece):
            if finding.kind in rules:
                seen.setdefault(finding.kind, Seen(finding.kind, rules[finding.kind].action, text.place))
    if not seen:
        return NOTHING
    strategies = {
        kind: _strategy(rules[kind], for_good=for_good) for kind in seen if hiding and seen[kind].action in HIDING
    }
    gravest = tuple(sorted(seen.values(), key=lambda each: -each.action.weight))
    if not strategies:
        return Hidden(seen=gravest)
    masker, new = Masker(), {}
    for text, of_text in zip(texts, found, strict=True):
        # Without a finding too: what looks like a placeholder is hidden as well.
        if may_hold(text.value) or any(finding.kind in strategies for of_piece in of_text for finding in of_piece):
            masked = _masked(text, of_text, masker, strategies)
            if masked != text.value:
                new[text.place] = masked
    if "placeholder" in strategies.values():
        return Hidden(new, dict(masker.values), gravest)
    # Nobody will restore anything, so what only looks like a placeholder is put back at once.
    shown = {text.place: restore(new[text.place], masker.values) for text in texts if text.place in new}
    return Hidden(
        {text.place: shown[text.place] for text in texts if shown.get(text.place) not in (None, text.value)},
        {},
        gravest,
    )


def may_hold(text: str) -> bool:
    """Whether something that looks like a placeholder may stand in a text."""
    return "<" in text or "&lt" in text


def _strategy(rule: Rule, *, for_good: bool) -> Strategy:
    return "full" if rule.strategy == "placeholder" and (for_good or rule.action is Action.REDACT) else rule.strategy


def _masked(text: Text, found: Sequence[Sequence[Finding]], masker: Masker, strategies: Mapping[str, Strategy]) -> str:
    changed = {}
    for (path, value), findings in zip(_leaves(text), found, strict=True):
        hidden = [finding for finding in findings if finding.kind in strategies]
        masked = masker.mask(value, hidden, strategies) if hidden or may_hold(value) else value
        if masked != value:
            changed[path] = masked
    if not changed:
        return text.value
    if () in changed:
        return changed[()]
    return orjson.dumps(_with(orjson.loads(text.value), (), changed)).decode()


_Path = tuple[int | str, ...]


def _leaves(text: Text) -> list[tuple[_Path, str]]:
    """The strings of a text that is JSON, or else the text itself, whose path is empty."""
    if is_json(text.place):
        try:
            parsed = orjson.loads(text.value)
        except orjson.JSONDecodeError:
            parsed = None
        if isinstance(parsed, dict | list) and (found := list(_strings((), parsed))):
            return found
    return [((), text.value)]


def _strings(path: _Path, value: Any) -> Iterator[tuple[_Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _strings((*path, name), inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _strings((*path, index), inner)


def _with(value: Any, path: _Path, changed: Mapping[_Path, str]) -> Any:
    if isinstance(value, dict):
        return {name: _with(inner, (*path, name), changed) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with(inner, (*path, index), changed) for index, inner in enumerate(value)]
    return changed.get(path, value)
