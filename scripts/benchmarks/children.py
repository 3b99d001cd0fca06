"""The processes that the bench starts: each is ended again, whatever happens to the bench."""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LEASHED = (sys.executable, "-IS", str(Path(__file__).with_name("leash.py")))
_GRACE_S = 10.0


class BenchError(Exception):
    """The bench cannot go on; the message says what to do."""


@dataclass(frozen=True)
class Child:
    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def check(self) -> None:
        """Raises: BenchError: it has ended."""
        code = self.process.poll()
        if code is not None:
            raise BenchError(f"{self.name} ended with {code}; the end of {self.log}:\n{self.tail()}")


@contextlib.contextmanager
def running(name: str, command: Sequence[str | Path], *, folder: Path, environ: Mapping[str, str]) -> Iterator[Child]:
    """A child in a process group of its own, which is ended as a whole on the way out; its log stands in `folder`."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*_LEASHED, *command],
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield Child(name, process, log)
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    # A second Ctrl-C waits for this to be over.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        _end(process)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
    # The group is ours alone: whatever is left in it descends from this child.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_GRACE_S)


def outcome(command: Sequence[str | Path], *, environ: Mapping[str, str], seconds: float, send: bytes = b"") -> bytes:
    """What a command prints, which is given so long and no longer.

    Raises:
        BenchError: it failed, or has not ended in time.
    """
    named = " ".join(str(word) for word in command[:4])
    try:
        done = subprocess.run(
            [*_LEASHED, *command],
            env=dict(environ),
            input=send,
            capture_output=True,
            timeout=seconds,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{named} … had not ended after {seconds:g} s") from error
    if done.returncode:
        raise BenchError(f"{named} … failed:\n{done.stderr.decode(errors='replace').strip()[-2000:]}")
    return done.stdout


def told_port(child: Child) -> int:
    """The port that a child of the bench has printed."""
    until(lambda: child.log.read_bytes().endswith(b"\n"), child, 10)
    return int(child.log.read_text().split()[0])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(ready: Callable[[], bool], child: Child, seconds: float) -> None:
    """Wait for a child to be ready.

    Raises:
        BenchError: it has ended, or was not ready in time.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        child.check()
        if time.monotonic() > deadline:
            raise BenchError(f"{child.name} was not ready after {seconds:g} s; the end of {child.log}:\n{child.tail()}")
        select.select([], [], [], 0.05)


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def answers(port: int, request: bytes, timeout_s: float = 10.0) -> bool:
    """Whether this request gets a 200."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout_s) as connection:
            connection.sendall(request)
            response = http.client.HTTPResponse(connection)
            response.begin()
            response.read()
            return response.status == 200
    except (OSError, http.client.HTTPException):
        return False
