"""config/guardrail-settings.yaml as a rulebook that changes with the file."""

from __future__ import annotations

from pathlib import Path

from guardrails import rulebook
from guardrails.rulebook import Rulebook
from mesh.reload import Reloaded
from mesh.settings import HERE

FILE = "guardrail-settings.yaml"


def watched(folder: Path) -> Reloaded[Rulebook]:
    """The rulebook of this folder's file; as long as it has none, of the file that ships.

    Raises:
        ConfigError: the file cannot be used.
    """
    return Reloaded(folder / FILE, rulebook.read, HERE / "config" / FILE)
