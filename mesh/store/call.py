"""One thing that is said to Redis: a command or a script, and how its reply is read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from mesh import lanes
from mesh.wire import Arg

T = TypeVar("T")
_FOLDER = Path(__file__).parent.parent / "lua"


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One command, and how its reply is read."""

    args: tuple[Arg, ...]
    read: Callable[[Any], T]


@dataclass(frozen=True, slots=True)
class Script:
    name: str
    text: str
    sha: str


def _script(path: Path) -> Script:
    def part(match: re.Match[str]) -> str:
        return (_FOLDER / "parts" / f"{match[1]}.lua").read_text()

    text = re.sub(r"^-- include (\w+)$", part, path.read_text(), flags=re.MULTILINE)
    return Script(path.stem, text, hashlib.sha1(text.encode()).hexdigest())


SCRIPTS = {path.stem: _script(path) for path in sorted(_FOLDER.glob("*.lua"))}
BY_SHA = {script.sha: script for script in SCRIPTS.values()}


def loading() -> list[tuple[Arg, ...]]:
    """What a new connection says so that every script is known."""
    return [("SCRIPT", "LOAD", script.text) for script in SCRIPTS.values()]


def in_full(args: tuple[Arg, ...]) -> tuple[Arg, ...]:
    """The same call with the script's text instead of its digest, for a server that has forgotten it."""
    return ("EVAL", BY_SHA[str(args[1])].text, *args[2:])


def script(name: str, args: Iterable[Arg], read: Callable[[Any], T]) -> Call[T]:
    return Call(("EVALSHA", SCRIPTS[name].sha, 1, lanes.PREFIX, *args), read)


def as_text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def pace_gap_ms(pace: bytes | None) -> float | None:
    """From a lane's pace, `<ms between two jobs or -> <when> <backlog 0|1>`."""
    gap = (pace or b"-").partition(b" ")[0]
    return None if gap == b"-" else float(gap)


def as_is(reply: Any) -> Any:
    return reply


def as_fields(reply: Sequence[bytes]) -> dict[str, str]:
    words = [word.decode() for word in reply]
    return dict(zip(words[::2], words[1::2], strict=True))
