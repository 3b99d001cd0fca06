"""The supervisor, with real child processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from cli.errors import PartFailed
from cli.processes import MAX_QUICK_DEATHS, Part, Supervisor
from tests.conftest import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
SERVE = "import pathlib, signal, sys, os; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); signal.pause()"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SERVE}"
WITH_CHILD = (
    f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SERVE!r}, sys.argv[1] + '.child']); {SERVE}"
)


def part(folder: Path, name: str, code: str = SERVE, **fields: object) -> Part:
    sign = folder / f"{name}.pid"

    async def ready() -> bool:
        return bool(sign.exists() and sign.read_text())

    known: dict[str, object] = {
        "name": name,
        "command": [sys.executable, "-c", code, str(sign)],
        "environ": dict(os.environ),
        "folder": folder,
        "log": folder / f"{name}.log",
        "ready": ready,
        "stale": (sign,),
        "ready_within_s": 20.0,
    }
    return Part(**(known | fields))  # type: ignore[arg-type]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def pid_of(folder: Path, name: str) -> int:
    return int((folder / f"{name}.pid").read_text())


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - it looks at files and processes, which set no event
            await asyncio.sleep(0.02)


def run(
    parts: list[Part],
    during: Callable[[Supervisor, list[str]], Awaitable[None]],
    until_failure: bool = False,
) -> tuple[list[str], BaseException | None]:
    """Start the parts, do something while they are watched, stop them; returns what was told and what went wrong."""
    told: list[str] = []

    async def main() -> BaseException | None:
        supervisor = Supervisor(parts, told.append)
        try:
            await supervisor.start(lambda part: told.append(f"began {part.name}"), lambda part, _: None)
            watching = asyncio.create_task(supervisor.watch())
            try:
                await during(supervisor, told)
                if until_failure:
                    await asyncio.wait([watching], timeout=20)
            finally:
                if not watching.done():
                    watching.cancel()
                await asyncio.wait([watching])
            return None if watching.cancelled() else watching.exception()
        except PartFailed as error:
            return error
        finally:
            await supervisor.stop()

    return told, asyncio.run(main())


async def nothing(supervisor: Supervisor, told: list[str]) -> None:
    pass


def test_a_part_starts_after_those_it_needs_and_all_are_gone_at_the_end(tmp_path: Path) -> None:
    second = part(tmp_path, "second", after=("first",))
    told, failure = run([second, part(tmp_path, "first")], nothing)
    assert failure is None
    assert told == ["began first", "began second"]
    assert not is_alive(pid_of(tmp_path, "first"))
    assert not is_alive(pid_of(tmp_path, "second"))


def test_a_child_that_dies_is_started_again(tmp_path: Path) -> None:
    async def kill_it(supervisor: Supervisor, told: list[str]) -> None:
        old = pid_of(tmp_path, "a")
        os.kill(old, signal.SIGKILL)
        await eventually(lambda: "a is ready again" in told)
        assert pid_of(tmp_path, "a") != old

    told, failure = run([part(tmp_path, "a")], kill_it)
    assert failure is None
    assert any(line.startswith("a was killed by SIGKILL; starting it again in 0.5 s") for line in told)


def test_what_a_dead_child_had_started_dies_with_it(tmp_path: Path) -> None:
    async def kill_it(supervisor: Supervisor, told: list[str]) -> None:
        await eventually(lambda: (tmp_path / "a.pid.child").exists())
        grandchild = int((tmp_path / "a.pid.child").read_text())
        os.kill(pid_of(tmp_path, "a"), signal.SIGKILL)
        await eventually(lambda: not is_alive(grandchild))

    assert run([part(tmp_path, "a", WITH_CHILD)], kill_it)[1] is None


def test_a_child_that_dies_while_starting_ends_it_with_the_tail_of_its_log(tmp_path: Path) -> None:
    dying = part(tmp_path, "dying", "import sys; print('no such model'); sys.exit(7)")
    _, failure = run([part(tmp_path, "well"), dying], nothing)
    assert "dying ended with exit code 7 while starting" in str(failure)
    assert "no such model" in str(failure)
    assert not (tmp_path / "well.pid").exists() or not is_alive(pid_of(tmp_path, "well"))


def test_a_child_that_is_never_ready_ends_it(tmp_path: Path) -> None:
    slow = part(tmp_path, "slow", "import signal; signal.pause()", ready_within_s=0.5)
    assert "slow was not ready within 0.5 s. It wrote nothing" in str(run([slow], nothing)[1])


def test_a_command_that_is_missing_is_named(tmp_path: Path) -> None:
    missing = part(tmp_path, "missing", command=[str(tmp_path / "nowhere")])
    assert f"{tmp_path / 'nowhere'}: No such file or directory" in str(run([missing], nothing)[1])


def test_a_child_that_dies_again_and_again_ends_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.processes.FIRST_PAUSE_S", 0.01)
    once = "import sys, pathlib\nif pathlib.Path('was').exists(): sys.exit('broken')\npathlib.Path('was').touch()"
    once = f"{once}\n{SERVE}"

    async def kill_it(supervisor: Supervisor, told: list[str]) -> None:
        os.kill(pid_of(tmp_path, "a"), signal.SIGKILL)

    told, failure = run([part(tmp_path, "a", once)], kill_it, until_failure=True)
    assert sum("starting it again" in line for line in told) == MAX_QUICK_DEATHS - 1
    assert isinstance(failure, PartFailed)
    assert "for the 5th time" in str(failure)
    assert "broken" in str(failure)


def test_one_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    told, failure = run([part(tmp_path, "a", STUBBORN, grace_s=0.3)], nothing)
    assert failure is None
    assert told[-1] == "a did not end within 0.3 s and is killed"
    assert not is_alive(pid_of(tmp_path, "a"))


def test_hurrying_waits_for_nobody(tmp_path: Path) -> None:
    async def hurry(supervisor: Supervisor, told: list[str]) -> None:
        supervisor.hurry()

    run([part(tmp_path, "a", STUBBORN, grace_s=1000.0)], hurry)
    assert not is_alive(pid_of(tmp_path, "a"))


def test_no_child_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = f"""
import asyncio, pathlib, sys
sys.path.insert(0, {str(ROOT)!r})
from tests.cli.test_processes import part
from cli.processes import Supervisor

async def main():
    supervisor = Supervisor([part(pathlib.Path({str(tmp_path)!r}), name, {STUBBORN!r}) for name in ("a", "b")], print)
    await supervisor.start(lambda part: None, lambda part, took: None)
    print("ready", flush=True)
    await supervisor.watch()

asyncio.run(main())
"""
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.wait()
    process.stdout.close()
    wait_until(lambda: not is_alive(pid_of(tmp_path, "a")) and not is_alive(pid_of(tmp_path, "b")), 5)
