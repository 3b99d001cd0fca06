"""What the command reads from its environment, and what it hands on to the processes it starts."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from mesh import settings

# What every process gets. Only the worker is handed all there is, because any of it may be a provider's.
PLAIN = (
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "OMP_NUM_THREADS",
)
PLAIN_BEGINNINGS = ("LC_", "PYTHON", "GATEWAY_")
SECRET = ("GATEWAY_SEAL_KEY", "GATEWAY_DOOR_KEY", "GATEWAY_API_KEY")


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """The environment of the command; `current()` is the real one."""

    variables: Mapping[str, str]

    @property
    def home(self) -> Path:
        """Where `gateway up` keeps its state; beside the code, so that every working directory means the same one."""
        return Path(self.variables.get("GATEWAY_HOME") or settings.HERE / ".gateway")

    @property
    def url(self) -> str:
        return self.variables.get("GATEWAY_URL", "")

    @property
    def key(self) -> str:
        return self.variables.get("GATEWAY_API_KEY", "")

    @property
    def config(self) -> Path:
        return Path(self.variables.get("GATEWAY_CONFIG") or settings.HERE / "config")

    def plain(self) -> dict[str, str]:
        """What is safe in any process: no provider's key and none of our own."""
        return {
            name: value
            for name, value in self.variables.items()
            if (name in PLAIN or name.startswith(PLAIN_BEGINNINGS)) and not name.startswith(SECRET)
        }

    def full(self) -> dict[str, str]:
        """What the worker gets: everything but our own keys, which it is handed as files."""
        return {name: value for name, value in self.variables.items() if not name.startswith(SECRET)}

    def master(self, which: Literal["SEAL", "DOOR"], file: Path) -> dict[str, str]:
        """The variables of a sealing key: those that are set, because another process may have sealed, or else ours."""
        names = (f"GATEWAY_{which}_KEY", f"GATEWAY_{which}_KEY_FILE")
        given = {name: self.variables[name] for name in names if self.variables.get(name)}
        return given or {names[1]: str(file)}


def current() -> Surroundings:
    return Surroundings(dict(os.environ))
