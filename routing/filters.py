"""What may keep a target out of a route: one row a filter, in the order in which they are asked.

A hard filter may leave nothing, and then the request is refused with the name of its condition. A soft one knows only
what was measured or estimated: it takes targets away as long as another is left.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mesh import errors
from mesh.errors import GatewayError
from mesh.job import Target
from routing.limits import limits_at
from routing.rules.rule import Choice
from routing.sight import Sight


class Reason(enum.StrEnum):
    """Why a target is not in the route."""

    PROVIDER_DISABLED = "provider_disabled"
    NOT_PRIVATE = "not_private"
    PROVIDER_NOT_ALLOWED = "provider_not_allowed"
    MODEL_NOT_ALLOWED = "model_not_allowed"
    NO_TOOLS = "no_tools"
    NO_JSON_SCHEMA = "no_json_schema"
    CANNOT_READ = "cannot_read"
    CANNOT_ANSWER_SO = "cannot_answer_so"
    MAX_COST = "max_cost"
    PRICE_UNKNOWN = "price_unknown"
    CONTEXT_WINDOW = "context_window"
    MAX_OUTPUT = "max_output"
    CIRCUIT_OPEN = "circuit_open"
    NO_HEADROOM = "no_headroom"


@dataclass(frozen=True, slots=True)
class Dropped:
    choice: Choice
    reason: Reason
    detail: str  # for a person

    @property
    def target(self) -> Target:
        return self.choice.target


Why = tuple[Reason, str]


@dataclass(frozen=True, slots=True)
class Filter:
    asks: Callable[[Sight], object]  # whether the request, or the moment, has such a condition at all
    why: Callable[[Choice, Sight], Why | None]  # why a target fails it; None: it does not
    refuse: Callable[[Sight, Sequence[Dropped]], GatewayError] | None = None  # when nothing is left; None: it is soft


def _private(choice: Choice, sight: Sight) -> Why | None:
    if sight.config.providers[choice.target.provider].private:
        return None
    return Reason.NOT_PRIVATE, f"the request is private, and {choice.target.provider} is not"


def _no_private(sight: Sight, dropped: Sequence[Dropped]) -> GatewayError:
    return errors.RequestError(
        f"The request is private, and the provider of '{sight.wish.model}' is not.",
        param="private",
        code="no_private_target",
    )


def _key_providers(choice: Choice, sight: Sight) -> Why | None:
    if choice.target.provider in (sight.wish.allowed_providers or ()):
        return None
    return Reason.PROVIDER_NOT_ALLOWED, f"the key may not use {choice.target.provider}"


def _key_models(choice: Choice, sight: Sight) -> Why | None:
    target = choice.target
    names = (choice.name, target.model, f"{target.provider}/{target.model}")
    for allowed in sight.wish.allowed_models or ():
        if allowed in names or (allowed.endswith("*") and any(name.startswith(allowed[:-1]) for name in names)):
            return None
    return Reason.MODEL_NOT_ALLOWED, f"the key may not use {choice.name}"


def _forbidden(code: Reason) -> Callable[[Sight, Sequence[Dropped]], GatewayError]:
    def refuse(sight: Sight, dropped: Sequence[Dropped]) -> GatewayError:
        return errors.Forbidden(
            f"This key may not use the model '{sight.wish.model}': {dropped[0].detail}.", param="model", code=code.value
        )

    return refuse


def _fact(choice: Choice, sight: Sight, name: str) -> Any:
    return sight.catalog.facts(choice.target)[name]


def _can(fact: str, reason: Reason) -> Callable[[Choice, Sight], Why | None]:
    def why(choice: Choice, sight: Sight) -> Why | None:
        # What nobody has said of a model is not held against it.
        return (reason, f"{choice.target.model} has no {fact}") if _fact(choice, sight, fact) is False else None

    return why


def _takes(fact: str, reason: Reason, verb: str) -> Callable[[Choice, Sight], Why | None]:
    def why(choice: Choice, sight: Sight) -> Why | None:
        known = _fact(choice, sight, fact)
        if known is None:
            return None
        needs = sight.wish.needs
        missing = (needs.inputs if fact == "input_modalities" else needs.outputs) - set(known)
        return (reason, f"{choice.target.model} cannot {verb} {', '.join(sorted(missing))}") if missing else None

    return why


def _incapable(param: str) -> Callable[[Sight, Sequence[Dropped]], GatewayError]:
    def refuse(sight: Sight, dropped: Sequence[Dropped]) -> GatewayError:
        return errors.RequestError(
            f"No model of '{sight.wish.model}' can do what '{param}' asks for: {dropped[0].detail}.",
            param=param,
            code="no_capable_target",
        )

    return refuse


def _cost(choice: Choice, sight: Sight) -> Why | None:
    usd, most = sight.usd(choice.target), sight.wish.max_cost_usd
    if usd is None:
        return Reason.PRICE_UNKNOWN, "nobody knows its price"
    return (Reason.MAX_COST, f"it may cost {usd} USD") if most is not None and usd > most else None


def _too_expensive(sight: Sight, dropped: Sequence[Dropped]) -> GatewayError:
    if sight.wish.max_cost_usd is None:
        return errors.RequestError(
            f"Nobody knows what '{sight.wish.model}' costs, and a hard budget applies: give it a price under `models` "
            "in the configuration, or set budgets.unknown_price to allow.",
            param="model",
            code="price_unknown",
        )
    known = [usd for each in dropped if (usd := sight.usd(each.target)) is not None]
    least = f"the cheapest may cost {min(known)} USD" if known else "no target has a known price"
    return errors.RequestError(
        f"No target costs at most {sight.wish.max_cost_usd} USD: {least}.", param="max_cost", code="max_cost_exceeded"
    )


def _fits(choice: Choice, sight: Sight) -> Why | None:
    facts, wish = sight.catalog.facts(choice.target), sight.wish
    window, most = facts["context_window"], facts["max_output"]
    whole = wish.needs.prompt_tokens + wish.most.answer_tokens
    if window is not None and whole > window:
        return Reason.CONTEXT_WINDOW, f"about {whole} tokens do not fit into {window}"
    if most is not None and wish.most.answer_tokens > most:
        return Reason.MAX_OUTPUT, f"it answers with at most {most} tokens"
    return None


def _well(choice: Choice, sight: Sight) -> Why | None:
    cooling_s = sight.outlook.cooling_s(choice.target)
    return (Reason.CIRCUIT_OPEN, f"it is left alone for {cooling_s:.1f} s more") if cooling_s else None


def _room(choice: Choice, sight: Sight) -> Why | None:
    if sight.outlook.has_room(choice.target, sight.wish.needs.prompt_tokens):
        return None
    return Reason.NO_HEADROOM, "its own rate limit is used up"


def _within_limits(choice: Choice, sight: Sight) -> Why | None:
    for limit in limits_at(sight.config.limits, choice.target):
        taken, more = sight.outlook.taken.get(limit.one.name, 0), limit.amount(sight.wish.most.tokens)
        if taken + more > limit.ceiling:
            return Reason.NO_HEADROOM, f"{taken} of {limit.ceiling} are taken ({limit.name})"
    return None


FILTERS: tuple[Filter, ...] = (
    Filter(lambda sight: sight.wish.private, _private, _no_private),
    Filter(
        lambda sight: sight.wish.allowed_providers is not None,
        _key_providers,
        _forbidden(Reason.PROVIDER_NOT_ALLOWED),
    ),
    Filter(lambda sight: sight.wish.allowed_models is not None, _key_models, _forbidden(Reason.MODEL_NOT_ALLOWED)),
    Filter(lambda sight: sight.wish.needs.tools, _can("tools", Reason.NO_TOOLS), _incapable("tools")),
    Filter(
        lambda sight: sight.wish.needs.json_schema,
        _can("json_schema", Reason.NO_JSON_SCHEMA),
        _incapable("response_format"),
    ),
    Filter(
        lambda sight: sight.wish.needs.inputs,
        _takes("input_modalities", Reason.CANNOT_READ, "read"),
        _incapable("messages"),
    ),
    Filter(
        lambda sight: sight.wish.needs.outputs,
        _takes("output_modalities", Reason.CANNOT_ANSWER_SO, "answer with"),
        _incapable("modalities"),
    ),
    Filter(lambda sight: sight.wish.max_cost_usd is not None or sight.wish.must_have_price, _cost, _too_expensive),
    Filter(lambda sight: sight.wish.needs.prompt_tokens or sight.wish.most.answer_tokens, _fits),
    Filter(lambda sight: not sight.outlook.calm, _well),
    Filter(lambda sight: not sight.outlook.calm, _room),
    Filter(lambda sight: sight.config.limits.of_targets, _within_limits),
)
_HARD = tuple(each for each in FILTERS if each.refuse is not None)


@dataclass(slots=True)
class Sieved:
    """What the filters left."""

    kept: list[Choice]
    dropped: list[Dropped]
    remarks: dict[Target, Why]  # what speaks against a target that is kept because every other has the same fault
    refusal: GatewayError | None = None


def sieve(choices: Sequence[Choice], sight: Sight) -> Sieved:
    """Every filter, one after another."""
    sieved = Sieved(list(choices), [], {})
    for each in FILTERS:
        if not each.asks(sight) or (each.refuse is None and len(sieved.kept) < 2):
            continue
        failing = [Dropped(choice, *why) for choice in sieved.kept if (why := each.why(choice, sight)) is not None]
        if not failing:
            continue
        if len(failing) == len(sieved.kept):
            if each.refuse is None:
                sieved.remarks |= {one.target: (one.reason, one.detail) for one in failing}
                continue
            sieved.dropped += failing
            sieved.kept = []
            sieved.refusal = each.refuse(sight, failing)
            return sieved
        sieved.dropped += failing
        gone = {id(one.choice) for one in failing}
        sieved.kept = [choice for choice in sieved.kept if id(choice) not in gone]
    return sieved


def barred(choice: Choice, sight: Sight) -> Dropped | None:
    """Why a target may not answer this request whatever becomes of the others; None: it may."""
    for each in _HARD:
        if each.asks(sight) and (why := each.why(choice, sight)) is not None:
            return Dropped(choice, *why)
    return None
