"""The checkers that are no library of ours: an environment of their own, since checkov pins old libraries."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.ecosystem.installed import environment

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def tool(name: str) -> Path:
    """The command of this name, installed once for each lock."""
    return environment(HERE / "requirements.lock", ROOT / ".gateway" / "deploy" / "venv").with_name(name)


def run(*command: str | Path, within_s: float = 110) -> subprocess.CompletedProcess[str]:
    """What a command said, from the checkout's root; without a try to reach the network."""
    offline = {**os.environ, "NO_COLOR": "1", "LOG_LEVEL": "ERROR"}
    return subprocess.run(command, cwd=ROOT, env=offline, capture_output=True, text=True, timeout=within_s)
