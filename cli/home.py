"""The folder in which `gateway up` keeps its state: secrets, the store's data, logs and the first key."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from cli.errors import Unable

ROOM = 64 * 1024 * 1024  # bytes that must be free at the start
FULL = 1024 * 1024  # with less than this, whatever fails has most likely failed for lack of room
OLD_LOG = 10 * 1024 * 1024


class Home:
    """Paths below one folder; nothing is made before `prepare`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.key = self.folder / "key"
        self.url = self.folder / "url"
        self.seal_key = self.folder / "seal.key"
        self.door_key = self.folder / "door.key"
        self.valkey = self.folder / "valkey"
        self.valkey_config = self.folder / "valkey.conf"
        self.heartbeat = self.folder / "worker.heartbeat"
        self.metrics = self.folder / "metrics"
        self._password = self.folder / "valkey.password"
        self.logs = self.folder / "logs"
        self._lock = self.folder / "lock"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder and keep every other `gateway up` out of it; the lock ends with this process.

        Raises:
            Unable: the folder cannot be used, or is in use.
        """
        try:
            for folder in (self.folder, self.valkey, self.logs):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = self._lock.open("a+")
        except OSError as error:
            raise Unable(f"cannot keep state in {self.folder}: {error.strerror}; choose another with --home") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                lock.seek(0)
                owner = lock.read().strip() or "unknown"
                raise Unable(
                    f"another `gateway up` (process {owner}) runs in {self.folder}; stop it or choose another --home"
                ) from error
            try:
                self._fill(lock.fileno())
            except OSError as error:
                raise Unable(f"cannot keep state in {self.folder}: {error.strerror}") from error
            try:
                yield
            finally:
                self.url.unlink(missing_ok=True)

    def _fill(self, lock: int) -> None:
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        free = shutil.disk_usage(self.folder).free
        if free < ROOM:
            raise Unable(f"only {free // 2**20} MB are free for {self.folder}; at least {ROOM // 2**20} MB are needed")
        self.once(self.seal_key, f"k1:{secrets.token_hex(32)}")
        self.once(self.door_key, f"d1:{secrets.token_hex(32)}")
        self.once(self._password, secrets.token_urlsafe(32))
        self.url.unlink(missing_ok=True)
        shutil.rmtree(self.metrics, ignore_errors=True)  # counters of web processes that are gone
        self.metrics.mkdir(mode=0o700)

    def is_full(self) -> bool:
        return shutil.disk_usage(self.folder).free < FULL

    @property
    def password(self) -> str:
        return self._password.read_text().strip()

    def once(self, path: Path, text: str) -> None:
        if not path.exists():
            self.write(path, text)

    def write(self, path: Path, text: str) -> None:
        """Write a file that only its owner may read, whole or not at all.

        Raises:
            Unable: it cannot be written.
        """
        part = path.with_name(f"{path.name}.part")
        try:
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(f"{text}\n")
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as error:
            raise Unable(f"cannot write {path}: {error.strerror}") from error

    def log(self, name: str) -> Path:
        """Where a part's output goes; a long one from earlier runs is set aside."""
        path = self.logs / f"{name}.log"
        if path.exists() and path.stat().st_size > OLD_LOG:
            path.replace(path.with_suffix(".log.1"))
        return path
