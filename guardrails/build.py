"""Puts a guard together: the policy, the detectors of content and of personal data, the sentence model."""

from __future__ import annotations

from pathlib import Path

from guardrails.detectors.grey import open_sentences
from guardrails.guard import Guard
from guardrails.personal import PersonalData
from guardrails.policy import Policy, parse_policy
from mesh.errors import ConfigError

FILE = "guardrail-settings.yaml"


def read_policy(path: Path) -> Policy:
    """Raises:
    ConfigError: the file is missing or wrong.
    """
    try:
        return parse_policy(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error


def build(policy: Policy, *, sentences: bool = False, deadline_s: float | None = None) -> Guard:
    """sentences: whether the sentence model is loaded here, if it is installed and anything can be in doubt (75 MB).
    deadline_s: how long it may take for a text; None where nobody waits, so that the same text has the same verdict.
    """
    asked = sentences and policy.embedding != "off" and policy.weighs
    model = open_sentences(deadline_s=deadline_s) if asked else None
    return Guard(policy, personal=PersonalData(), sentences=model)
