"""Starting child processes, watching over them, starting them again, and leaving none behind."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from cli.errors import PartFailed

LEASH = Path(__file__).with_name("leash.py")
LOOK_EVERY_S = 0.05
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
QUICK_S = 30.0  # a life shorter than this counts as a quick death
MAX_QUICK_DEATHS = 5
TAIL_LINES = 20
TAIL_BYTES = 16_384


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """One child process.

    after: the parts that must be ready before it is started.
    ready: whether it does its work now; asked again and again until it says so.
    grace_s: how long it may take to end after SIGTERM.
    stale: files that would say something untrue about a new process, removed before each start.
    """

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    folder: Path
    log: Path
    ready: Callable[[], Awaitable[bool]]
    after: tuple[str, ...] = ()
    ready_within_s: float = 60.0
    grace_s: float = 10.0
    stale: tuple[Path, ...] = ()


class Child:
    """A running process and all that it started itself; they end together."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.started = time.monotonic()
        self.end = asyncio.create_task(self._wait())  # its result is the exit code

    async def _wait(self) -> int:
        code = await self._process.wait()
        self.kill()  # whatever it left behind would hold its port
        return code

    def terminate(self) -> None:
        if not self.end.done():
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    def kill(self) -> None:
        if not self.end.done():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


class Supervisor:
    """Owns the parts; use it from the main thread, because a child's leash hangs on the thread that forked it.

    tell: is given a sentence for whatever a person should know.
    """

    def __init__(self, parts: Sequence[Part], tell: Callable[[str], None]) -> None:
        self._parts = parts
        self._tell = tell
        self._children: dict[str, Child] = {}
        self._ready = {part.name: asyncio.Event() for part in parts}
        self._hurry = asyncio.Event()

    async def start(self, began: Callable[[Part], None], ready: Callable[[Part, float], None]) -> None:
        """Start every part as soon as those before it are ready, and wait for all.

        ready: called with the seconds that a part took.

        Raises:
            PartFailed: one died or was not ready in time; with the end of its log.
        """

        async def run(part: Part) -> None:
            await self._until_its_turn(part)
            began(part)
            child = await self._spawn(part)
            await self._until_ready(part, child)
            ready(part, time.monotonic() - child.started)

        await all_or_first_failure([run(part) for part in self._parts])

    async def watch(self) -> None:
        """Start again whatever dies; returns never.

        Raises:
            PartFailed: a part died five times, each within half a minute of its start.
        """
        await all_or_first_failure([self._keep(part) for part in self._parts])

    async def stop(self) -> None:
        """End every part, the last first: SIGTERM, and SIGKILL after its grace or once `hurry` was called."""
        for part in reversed(self._parts):
            child = self._children.get(part.name)
            if child is None:
                continue
            child.terminate()
            hurried = asyncio.create_task(self._hurry.wait())
            await asyncio.wait((child.end, hurried), timeout=part.grace_s, return_when=asyncio.FIRST_COMPLETED)
            hurried.cancel()
            if not child.end.done() and not self._hurry.is_set():
                self._tell(f"{part.name} did not end within {part.grace_s:g} s and is killed")
            child.kill()
            await child.end

    def hurry(self) -> None:
        """Do not wait for anybody's grace any more."""
        self._hurry.set()

    async def _keep(self, part: Part) -> None:
        quick_deaths = 0
        while True:
            child = self._children[part.name]
            code = await asyncio.shield(child.end)
            self._ready[part.name].clear()
            quick_deaths = quick_deaths + 1 if time.monotonic() - child.started < QUICK_S else 1
            if quick_deaths >= MAX_QUICK_DEATHS:
                raise PartFailed(f"{part.name} {_death(code)}, for the {quick_deaths}th time.{_tail(part.log)}")
            pause_s = min(FIRST_PAUSE_S * 2 ** (quick_deaths - 1), LONGEST_PAUSE_S)
            self._tell(f"{part.name} {_death(code)}; starting it again in {pause_s:g} s (its log: {part.log})")
            await asyncio.sleep(pause_s)
            await self._until_its_turn(part)
            child = await self._spawn(part)
            try:
                await self._until_ready(part, child)
            except PartFailed:
                child.kill()  # one that is not ready in time counts as dead
            else:
                self._tell(f"{part.name} is ready again")

    async def _until_its_turn(self, part: Part) -> None:
        for name in part.after:
            await self._ready[name].wait()

    async def _until_ready(self, part: Part, child: Child) -> None:
        while not await part.ready():
            if child.end.done():
                raise PartFailed(f"{part.name} {_death(child.end.result())} while starting.{_tail(part.log)}")
            if time.monotonic() - child.started > part.ready_within_s:
                raise PartFailed(f"{part.name} was not ready within {part.ready_within_s:g} s.{_tail(part.log)}")
            await asyncio.sleep(LOOK_EVERY_S)
        self._ready[part.name].set()

    async def _spawn(self, part: Part) -> Child:
        try:
            for file in part.stale:
                file.unlink(missing_ok=True)
            with part.log.open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-I", "-S", str(LEASH), str(os.getpid()), *part.command),
                    env=part.environ,
                    cwd=part.folder,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # the terminal's Ctrl-C is for us alone
                )
        except OSError as error:
            raise PartFailed(f"{part.name} cannot be started: {error}") from error
        child = Child(process)
        self._children[part.name] = child
        return child


async def all_or_first_failure(runs: Sequence[Awaitable[None]]) -> None:
    """Run all at once; unlike a TaskGroup, raise the first failure itself and not a group of one."""
    tasks = [asyncio.ensure_future(run) for run in runs]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _death(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()[-TAIL_LINES:]
    shown = "".join(f"\n    {line}" for line in lines)
    return f" The end of {log}:{shown}" if shown else f" It wrote nothing into {log}."
