"""A request between its parsing and its job: judged, and stripped of what its providers may not see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guardrails.hiding import HIDING
from guardrails.judging import told
from guardrails.texts import Text, replaced, texts_of
from guardrails.verdicts import Action, Stage
from mesh import errors
from routing import audit
from routing.audit import Record
from web import metrics
from web.auth import Caller
from web.door import Door
from web.restoring import UNMASKED, Masked


@dataclass(frozen=True, slots=True)
class Cleared:
    """A request that may be routed."""

    texts: Sequence[Text] = ()
    told: Sequence[tuple[Action, str]] = ()  # what is to be logged or warned of
    private: bool = False  # only private providers may see it


@dataclass(frozen=True, slots=True)
class Guarded:
    """A request that may be stored."""

    body: dict[str, Any]
    masked: Masked = UNMASKED
    noted: str = ""  # what the caller is warned of: "warn; VIOLENCE"
    records: tuple[Record, ...] = ()


def clear(door: Door, caller: Caller, body: Mapping[str, Any], job_id: str) -> Cleared:
    """Judge a request.

    Raises:
        ContentBlocked: it is refused; `param` names the text and the message its category, never what it says.
        Overloaded: it could not be judged.
    """
    who = {"tenant": caller.tenant, "key": caller.key_id}
    stance = door.guardian.stance(Stage.REQUEST, **who)
    if stance.idle:
        return Cleared()
    texts = texts_of(body)
    judgement = door.guardian.judge(texts, Stage.REQUEST, **who)
    verdict = judgement.verdict
    if verdict.action is Action.BLOCK:
        raise _blocked(door, caller, job_id, verdict.category, judgement.place)
    return Cleared(texts, told(verdict, stance), verdict.private)


def is_private(door: Door, caller: Caller, body: Mapping[str, Any]) -> bool:
    """Whether only private providers may see a request; nothing is refused and nothing is noted.

    Raises:
        Overloaded: it could not be judged.
    """
    who = {"tenant": caller.tenant, "key": caller.key_id}
    return door.guardian.judge(texts_of(body), Stage.REQUEST, **who).verdict.private


def strip(door: Door, caller: Caller, body: dict[str, Any], cleared: Cleared, job_id: str, *, leaves: bool) -> Guarded:
    """Hide personal data from providers that may not see it, and note what is to be told.

    leaves: any target of its route, or of what may follow it, is not private.

    Raises:
        ContentBlocked: it holds personal data that must not be sent at all.
        Overloaded: it could not be looked through.
    """
    if not cleared.texts:
        return Guarded(body)
    hidden = door.guardian.hide(
        cleared.texts,
        Stage.REQUEST,
        tenant=caller.tenant,
        key=caller.key_id,
        hiding=leaves or door.guardian.masks_for_all,
    )
    if hidden.seen and hidden.seen[0].action is Action.BLOCK:
        first = hidden.seen[0]
        raise _blocked(door, caller, job_id, first.kind, first.place)
    said = [*cleared.told, *((seen.action, seen.kind) for seen in hidden.seen if seen.action not in HIDING)]
    return Guarded(
        replaced(body, hidden.texts) if hidden.texts else body,
        Masked(hidden.values, _wants_json(body)) if hidden.values else UNMASKED,
        ", ".join(f"{action}; {kind}" for action, kind in said if action is Action.WARN),
        tuple(_record(caller, job_id, action, kind) for action, kind in said),
    )


def note(door: Door, records: Sequence[Record]) -> None:
    """Write down what was seen in a request that became a job."""
    for record in records:
        metrics.guarded(record.what, record.category, record.action)
        door.pipe.do(audit.written(record))


def _blocked(door: Door, caller: Caller, job_id: str, category: str, place: str) -> errors.ContentBlocked:
    note(door, [_record(caller, job_id, Action.BLOCK, category)])
    return errors.ContentBlocked(
        f"The request was refused by the gateway's content policy ({category}).", param=place or None
    )


def _record(caller: Caller, job_id: str, action: Action, category: str) -> Record:
    return Record(
        what="guard.request",
        tenant=caller.tenant,
        key=caller.key_id,
        job=job_id,
        category=category,
        action=action.value,
    )


def _wants_json(body: Mapping[str, Any]) -> bool:
    form = body.get("response_format")
    return isinstance(form, dict) and form.get("type") in ("json_object", "json_schema")
