"""The place where requests are judged before they are queued, and answers before they are published."""

from __future__ import annotations

from collections.abc import Sequence

from guardrails.health import HealthWords
from guardrails.personal import PersonalData
from guardrails.policy import Policy
from guardrails.texts import Text
from guardrails.verdicts import ALLOWED, Action, Finding, Stage, Verdict


class Guard:
    def __init__(self, policy: Policy, personal: PersonalData) -> None:
        self.policy = policy
        self._personal = personal
        self._health = HealthWords()

    def check(self, text: str, stage: Stage, *, tenant: str, key: str, untrusted: bool) -> Verdict:
        """The verdict on one text."""
        folded = text.casefold()
        findings = []
        worst, category = Action.ALLOW, ""
        for name, rule in self.policy.resolved(stage, tenant=tenant, key=key).categories.items():
            for word in rule.keywords or () if rule.on else ():
                at = folded.find(word.casefold())
                if at >= 0:
                    findings.append(Finding(name, at, at + len(word), detector="keywords"))
                    if rule.does.weight > worst.weight:
                        worst, category = rule.does, name
        for found in self.personal(text, stage, tenant=tenant, key=key):
            findings.append(found)
            action = self.policy.resolved(stage, tenant=tenant, key=key).pii[found.kind].does
            if action.weight > worst.weight:
                worst, category = action, found.kind
        private = self.policy.phi.force_private and self._health.tell_of(text, self._personal.find(text))
        if not findings and not private:
            return ALLOWED
        names = tuple(dict.fromkeys(found.kind for found in findings))
        return Verdict(worst, category, dict.fromkeys(names, 1.0), names, tuple(findings), private)

    def judge(self, texts: Sequence[Text], stage: Stage, *, tenant: str, key: str) -> Verdict:
        """The verdict on all texts of a request or an answer together."""
        verdicts = [
            self.check(each.value, stage, tenant=tenant, key=key, untrusted=each.role == "tool") for each in texts
        ]
        worst = max(verdicts, key=lambda verdict: verdict.action.weight, default=ALLOWED)
        flagged = tuple(dict.fromkeys(name for verdict in verdicts for name in verdict.flagged))
        return Verdict(
            worst.action, worst.category, dict.fromkeys(flagged, 1.0), flagged, worst.findings,
            any(verdict.private for verdict in verdicts),
        )  # fmt: skip

    def verdicts(self, texts: Sequence[Text], stage: Stage, *, tenant: str, key: str) -> list[tuple[Text, Verdict]]:
        """The verdict on each text, in order."""
        return [
            (each, self.check(each.value, stage, tenant=tenant, key=key, untrusted=each.role == "tool"))
            for each in texts
        ]

    def personal(self, text: str, stage: Stage, *, tenant: str, key: str) -> list[Finding]:
        """The personal data in a text that the policy has a rule for."""
        rules = self.policy.resolved(stage, tenant=tenant, key=key).pii
        return [found for found in self._personal.find(text) if found.kind in rules and rules[found.kind].on]
