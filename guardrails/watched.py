"""config/guardrail-settings.yaml as a rulebook that changes with the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from guardrails import rulebook
from guardrails.rulebook import Rulebook
from mesh.reload import Reloaded
from mesh.settings import HERE

FILE = "guardrail-settings.yaml"


def watched(folder: Path, check: Callable[[Rulebook, str], None] = lambda rules, name: None) -> Reloaded[Rulebook]:
    """The rulebook of this folder's file; a folder without one is guarded by the file that ships.

    check: is given each new one and the file's name, and raises ConfigError where it cannot be used here.

    Raises:
        ConfigError: the file cannot be used.
    """

    def read(text: str, name: str) -> Rulebook:
        rules = rulebook.read(text, name)
        check(rules, name)
        return rules

    path = folder / FILE
    return Reloaded(path if path.exists() else HERE / "config" / FILE, read)
