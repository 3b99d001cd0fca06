"""The place where requests are judged before they are queued, and answers before they are published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from guardrails.personal import PersonalData
from guardrails.policy import Category, Override, PersonalRule, Policy
from guardrails.texts import Text
from guardrails.verdicts import ALLOWED, Action, Finding, Stage, Verdict


class Guard:
    def __init__(self, policy: Policy, personal: PersonalData) -> None:
        self.policy = policy
        self._personal = personal

    def check(self, text: str, stage: Stage, *, tenant: str, key: str, untrusted: bool) -> Verdict:
        """The verdict on one text."""
        folded = text.casefold()
        findings = []
        worst, category = Action.ALLOW, ""
        for name, rule in self._categories(stage, tenant, key).items():
            for word in rule.keywords:
                at = folded.find(word.casefold())
                if at >= 0:
                    findings.append(Finding(name, at, at + len(word), detector="keywords"))
                    if rule.action.weight > worst.weight:
                        worst, category = rule.action, name
        private = any(word.casefold() in folded for word in self.policy.phi)
        if not findings and not private:
            return ALLOWED
        names = tuple(dict.fromkeys(found.kind for found in findings))
        return Verdict(worst, category, {name: 1.0 for name in names}, names, tuple(findings), private)

    def judge(self, texts: Sequence[Text], stage: Stage, *, tenant: str, key: str) -> Verdict:
        """The verdict on all texts of a request or an answer together."""
        verdicts = [
            self.check(each.value, stage, tenant=tenant, key=key, untrusted=each.role == "tool") for each in texts
        ]
        worst = max(verdicts, key=lambda verdict: verdict.action.weight, default=ALLOWED)
        flagged = tuple(dict.fromkeys(name for verdict in verdicts for name in verdict.flagged))
        return Verdict(
            worst.action, worst.category, {name: 1.0 for name in flagged}, flagged, worst.findings,
            any(verdict.private for verdict in verdicts),
        )  # fmt: skip

    def personal(self, text: str, stage: Stage, *, tenant: str, key: str) -> list[Finding]:
        """The personal data in a text that the policy has a rule for."""
        rules = self.personal_rules(stage, tenant=tenant, key=key)
        return [found for found in self._personal.find(text) if found.kind in rules] if rules else []

    def personal_rules(self, stage: Stage, *, tenant: str, key: str) -> Mapping[str, PersonalRule]:
        """What is done about each kind of personal data."""
        rules = dict(self.policy.pii)
        for override in self._overrides(tenant, key):
            rules |= override.pii
        return {kind: rule for kind, rule in rules.items() if rule.enabled and stage in rule.stages}

    def watches(self, stage: Stage, *, tenant: str, key: str) -> bool:
        """Whether anything at all is looked for at this stage."""
        return bool(self._categories(stage, tenant, key) or self.personal_rules(stage, tenant=tenant, key=key))

    def _categories(self, stage: Stage, tenant: str, key: str) -> dict[str, Category]:
        rules = dict(self.policy.categories)
        for override in self._overrides(tenant, key):
            rules |= override.categories
        return {name: rule for name, rule in rules.items() if rule.enabled and stage in rule.stages}

    def _overrides(self, tenant: str, key: str) -> Iterator[Override]:
        for table, name in ((self.policy.tenants, tenant), (self.policy.keys, key)):
            if name in table:
                yield table[name]
