"""A file that may change while the process runs: read again when it does, refused when it is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from mesh.errors import ConfigError

log = structlog.get_logger()

T = TypeVar("T")

LOOK_S = 0.5  # how often whoever owns one looks


class Reloaded(Generic[T]):
    """What a file says now; a bad edit is refused with its place, and what was good before stays.

    parse: raises ConfigError, with the file's name and each place that is wrong.
    otherwise: what is read as long as no file has been at `path`.
    """

    def __init__(self, path: Path, parse: Callable[[str, str], T], otherwise: Path | None = None) -> None:
        self._wanted = path
        self.path = path if otherwise is None else otherwise  # the file that is read
        self._parse = parse
        self._checks: list[Callable[[T, str], None]] = []
        self._next: T | None = None  # well written, and refused by a check that may think otherwise later
        self._text = self._read()
        self.current: T = parse(self._text, str(path))
        self.text = self._text  # what `current` was read from
        self.refused: str | None = None  # why the newest edit is not in force
        self.since_unix_s = time.time()
        self.loads = 1  # how often a new content came into force
        self.refusals = 0

    def also(self, check: Callable[[T, str], None]) -> None:
        """Have this look too at what is in force and at each new content; it refuses by ConfigError, for now."""
        check(self.current, str(self.path))
        self._checks.append(check)

    def _read(self) -> str:
        if self._wanted.exists():
            self.path = self._wanted
        try:
            return self.path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.path}: {error}") from error

    def look(self) -> bool:
        """Whether a new content has come into force since the last look.

        The content is compared and not its date: a ConfigMap's file is a link that is turned to another folder.
        """
        try:
            text = self._read()
            if text != self._text:
                self._text, self._next = text, None
                self._next = self._parse(text, str(self.path))
            if self._next is None:
                return False
            for check in self._checks:
                check(self._next, str(self.path))
            self.current, self._next = self._next, None
        except ConfigError as error:
            if self.refused != str(error):
                self.refused, self.refusals = str(error), self.refusals + 1
                log.error("config_refused", file=str(self.path), why=self.refused)
            return False
        self.text = text
        self.refused, self.since_unix_s, self.loads = None, time.time(), self.loads + 1
        log.info("config_loaded", file=str(self.path))
        return True
