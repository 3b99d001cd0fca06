"""A guard together with what its policy says at each stage, for each tenant and key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from guardrails.build import build
from guardrails.guard import Guard
from guardrails.policy import Level, Policy, Strategy, parse_policy
from guardrails.verdicts import Action, Stage, Verdict

_HIDING = (Action.MASK, Action.REDACT)
_QUICK_STEPS = 5_000  # of the operator's patterns at each character: 4,000 characters take 80 ms at worst
_SURE = 0.9  # a score that the sentence model would not bring below a threshold


@dataclass(frozen=True, slots=True)
class Treatment:
    """What is done about one kind of personal data."""

    action: Action
    strategy: Strategy


@dataclass(frozen=True, slots=True)
class Stance:
    """What is looked for at one stage, for one tenant and key."""

    judges: bool  # whether texts are judged at all
    actions: Mapping[str, Action]  # what is done, by category
    personal: Mapping[str, Treatment]  # what is done, by kind, about personal data that is to be looked for
    slowness: float  # how many times as long as usual the operator's patterns can make a text take; at least 1

    @property
    def idle(self) -> bool:
        return not self.judges and not self.personal

    @property
    def speaks(self) -> bool:
        """Whether personal data has consequences where it need not be hidden."""
        return any(treatment.action not in _HIDING for treatment in self.personal.values())


class Rulebook:
    """The guard in it never asks the sentence model, which costs more than a door or a worker may stop for."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.guard: Guard = build(policy, sentences=False)
        self._stances: dict[tuple[Stage, str, str], Stance] = {}

    def stance(self, stage: Stage, *, tenant: str, key: str) -> Stance:
        scope = (stage, *self.policy.scope(tenant=tenant, key=key))
        if scope not in self._stances:
            self._stances[scope] = self._stance(stage, tenant, key)
        return self._stances[scope]

    def _stance(self, stage: Stage, tenant: str, key: str) -> Stance:
        policy = self.policy
        rules = policy.resolved(stage, tenant=tenant, key=key)
        requested = stage is Stage.REQUEST
        actions = {name: rule.does for name, rule in rules.categories.items() if rule.on}
        if requested and rules.jailbreak.on:  # it counts as this category
            weakest = actions.get("PROMPT_INJECTION", Action.ALLOW)
            actions["PROMPT_INJECTION"] = max(weakest, rules.jailbreak.does, key=lambda action: action.weight)
        judges = any(action is not Action.ALLOW for action in actions.values())
        personal = {
            kind: Treatment(rule.does, rule.strategy or "placeholder")
            for kind, rule in policy.treated(stage, tenant=tenant, key=key).items()
        }
        slowness = max(1.0, self.guard.steps(stage, tenant=tenant, key=key) / _QUICK_STEPS)
        return Stance(judges or (requested and policy.phi.force_private), actions, personal, slowness)

    def doubts(self, verdict: Verdict) -> bool:
        """Whether the sentence model is to be asked about what was judged without it."""
        sure = verdict.action is Action.BLOCK and verdict.scores.get(verdict.category, 1.0) > _SURE
        return not sure and (self.policy.embedding == "always" or (verdict.unsure and self.policy.embedding != "off"))

    @property
    def masks(self) -> str:
        """A kind of personal data that is masked in some request and restored; empty where none is."""
        for level in _levels(self.policy):
            for rules in (level, level.stages.get(Stage.REQUEST)):
                for kind, rule in (rules.pii if rules is not None else {}).items():
                    if rule.on and rule.does is Action.MASK and rule.strategy in (None, "placeholder"):
                        return kind
        return ""


def read(text: str, name: str) -> Rulebook:
    """
    Raises:
        ConfigError: with the file's name and each place that is wrong.
    """
    return Rulebook(parse_policy(text, name))


def _levels(policy: Policy) -> Iterator[Level]:
    yield policy
    yield from policy.tenants.values()
    yield from policy.keys.values()
