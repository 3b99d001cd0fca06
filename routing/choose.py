"""From a request to its route: the targets that may answer it, in order."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mesh.errors import GatewayError
from mesh.job import Target
from mesh.routes import Cause
from mesh.settings import Config
from routing.catalog import Catalog
from routing.filters import Why, barred, sieve
from routing.health import Outlook
from routing.plans import MOST_PLANS, Part, Plan, Planner
from routing.prices import PriceList
from routing.rules import Choice, arrange
from routing.sight import Sight, Wish

__all__ = ["Candidate", "Decision", "Part", "Role", "Router", "Wish"]


class Role(enum.StrEnum):
    """What a candidate is to its route."""

    ROUTE = "route"  # one of what the model's name stands for
    CANARY = "canary"  # it got this request by its share
    FALLBACK = "fallback"  # the request names it
    CHAIN = "chain"  # config's, for one cause
    SHADOW = "shadow"  # asked too, later


@dataclass(frozen=True, slots=True)
class Candidate:
    """A target's fate."""

    target: Target
    role: Role
    order: int | None  # from 0; None: it was dropped
    why: Why | None  # why it was dropped, or what speaks against it although it is kept
    cause: Cause | None = None  # of a chain


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A request's route, and how it came about."""

    targets: tuple[Target, ...]  # in the order in which they are tried, and behind them what only chains lead to
    main: int  # how many of them are the route itself
    chains: Mapping[Cause, tuple[int, ...]]  # by the cause of a failure: where to go next, as places in `targets`
    shadow: Target | None
    plan: Plan
    candidates: tuple[Candidate, ...]
    refusal: GatewayError | None = None

    @property
    def line(self) -> str:
        """The decision in a line, for the job's timeline."""
        if self.main == 1 and len(self.candidates) == 1:
            return self.plan.by
        said = [self.plan.by]
        if len(self.plan.choices) > 1:
            said.append(self.plan.rule)
        if any(each.role is Role.CANARY and each.order == 0 for each in self.candidates):
            said.append("canary")
        for each in self.candidates:
            if each.order is None and each.why is not None:
                said.append(f"without {each.target.provider}/{each.target.model} ({each.why[0].value})")
        return ", ".join(said)[:_LONGEST_LINE]


_LONGEST_LINE = 500
_QUIET = Outlook()


class Router:
    """Chooses by one config. It holds nothing that a request changes."""

    def __init__(self, config: Config, live: Sequence[str]) -> None:
        self._config = config
        self._planner = Planner(config, live)
        self.prices = PriceList(config)
        self.catalog = Catalog(config, self.prices)
        self._alone: dict[Plan, Decision] = {}  # of the plans that have one target and nothing beside it

    def route(self, wish: Wish, outlook: Outlook = _QUIET) -> Decision:
        """
        Raises:
            NotFound: no live provider serves the model.
            RequestError, Forbidden: nothing is left of the route under the request's own conditions; `param` names the
                condition.
        """
        decision = self.weigh(wish, outlook)
        if decision.refusal is not None:
            raise decision.refusal
        return decision

    def target(self, model: str) -> Target:
        """The first that config lists for a name.

        Raises:
            NotFound, RequestError: nothing that is served here.
        """
        return self._planner.plan(model, None).choices[0].target

    def weigh(self, wish: Wish, outlook: Outlook = _QUIET) -> Decision:
        """The same, with the refusal told instead of raised: every candidate's fate is there."""
        plan = self._planner.plan(wish.model, wish.provider)
        sight = self.sight(wish, outlook, plan)
        if plan.alone and not wish.fallbacks and barred(plan.choices[0], sight) is None:
            return self._only(plan)
        behind = self._behind(wish)
        canary = self._drawn(plan.canary, "canary", sight)
        roles = {choice.target: Role.ROUTE for choice in plan.choices}
        pool = list(plan.choices)
        for choice, role in ([(canary, Role.CANARY)] if canary else []) + [(each, Role.FALLBACK) for each in behind]:
            if choice.target not in roles:
                pool.append(choice)
            if choice.target not in roles or role is Role.CANARY:
                roles[choice.target] = role
        sieved = sieve(pool, sight)
        front = [each for each in sieved.kept if roles[each.target] is Role.CANARY]
        middle = arrange(plan.rule, [each for each in sieved.kept if roles[each.target] is Role.ROUTE], sight)
        last = [each for each in sieved.kept if roles[each.target] is Role.FALLBACK]
        targets = list(dict.fromkeys(each.target for each in (*front, *middle, *last)))
        main = len(targets)
        candidates = [Candidate(each, roles[each], at, sieved.remarks.get(each)) for at, each in enumerate(targets)]
        candidates += [
            Candidate(each.target, roles.get(each.target, Role.ROUTE), None, (each.reason, each.detail))
            for each in (*sieved.dropped, *plan.disabled)
        ]
        chains = self._chains(plan, wish, sight, targets, candidates) if plan.chains and targets else {}
        return Decision(
            targets=tuple(targets),
            main=main,
            chains=chains,
            shadow=self._shadow(plan, sight, candidates) if plan.shadow is not None and targets else None,
            plan=plan,
            candidates=tuple(candidates),
            refusal=sieved.refusal,
        )

    def _only(self, plan: Plan) -> Decision:
        if plan not in self._alone:
            if len(self._alone) >= MOST_PLANS:
                self._alone.clear()
            target = plan.choices[0].target
            one = (Candidate(target, Role.ROUTE, 0, None),)
            self._alone[plan] = Decision(targets=(target,), main=1, chains={}, shadow=None, plan=plan, candidates=one)
        return self._alone[plan]

    def sight(self, wish: Wish, outlook: Outlook, plan: Plan | None = None) -> Sight:
        sticky = plan is not None and plan.sticky
        return Sight(wish, self._config, self.catalog, self.prices, outlook, sticky=sticky)

    def _behind(self, wish: Wish) -> list[Choice]:
        """What the request itself names to be tried next."""
        return [
            Choice(choice.target, name, choice.weight, choice.place)
            for name in wish.fallbacks or ()
            for choice in self._planner.plan(name, None, param="fallbacks").choices
        ]

    @staticmethod
    def _drawn(part: Part | None, what: str, sight: Sight) -> Choice | None:
        return part.choice if part is not None and sight.draw(what) < part.share else None

    @staticmethod
    def _chains(
        plan: Plan, wish: Wish, sight: Sight, targets: list[Target], candidates: list[Candidate]
    ) -> dict[Cause, tuple[int, ...]]:
        """Config's chains, where the request does not bring its own; what is not in `targets` yet is added to them."""
        chains: dict[Cause, tuple[int, ...]] = {}
        if wish.fallbacks is not None:
            return chains
        for cause, choices in plan.chains.items():
            places = []
            for choice in choices:
                bar = barred(choice, sight)
                if bar is None:
                    if choice.target not in targets:
                        targets.append(choice.target)
                    places.append(targets.index(choice.target))
                order, why = (None, (bar.reason, bar.detail)) if bar else (places[-1], None)
                candidates.append(Candidate(choice.target, Role.CHAIN, order, why, cause))
            if places:
                chains[cause] = tuple(places)
        return chains

    def _shadow(self, plan: Plan, sight: Sight, candidates: list[Candidate]) -> Target | None:
        choice = self._drawn(plan.shadow, "shadow", sight)
        if choice is None:
            return None
        bar = barred(choice, sight)
        why = None if bar is None else (bar.reason, bar.detail)
        candidates.append(Candidate(choice.target, Role.SHADOW, None if bar else 0, why))
        return choice.target if bar is None else None
