"""What the bench starts does not outlive it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import proc
from benchmarks.children import BenchError, outcome, running, until

_PARENT = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {child!r}]).pid, flush=True); {after}"
_STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"


def _soon(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        os.sched_yield()


def _gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


@pytest.mark.parametrize("after", ["import time; time.sleep(60)", "pass"], ids=["waits", "ends first"])
def test_a_child_is_ended_with_all_that_it_has_started(tmp_path: Path, after: str) -> None:
    script = _PARENT.format(child=_STUBBORN, after=after)
    with (  # noqa: PT012  # the block is what the error leaves behind
        pytest.raises(KeyError),
        running("child", [sys.executable, "-c", script], folder=tmp_path, environ=os.environ) as child,
    ):
        _soon(lambda: child.log.read_bytes().endswith(b"\n"))
        grandchild = int(child.log.read_text())
        raise KeyError
    assert child.process.poll() is not None
    _soon(lambda: _gone(grandchild))


def test_a_child_that_ends_early_is_reported_with_what_it_said(tmp_path: Path) -> None:
    script = "raise SystemExit('there is no such model')"
    with (
        pytest.raises(BenchError, match=r"(?s)door ended with 1.*no such model"),
        running("door", [sys.executable, "-c", script], folder=tmp_path, environ=os.environ) as child,
    ):
        until(lambda: False, child, 10)


def test_a_command_that_fails_is_reported_with_what_it_said() -> None:
    with pytest.raises(BenchError, match="no such package"):
        outcome([sys.executable, "-c", "raise SystemExit('no such package')"], environ=os.environ, seconds=10)
    with pytest.raises(BenchError, match="had not ended"):
        outcome([sys.executable, "-c", "import time; time.sleep(60)"], environ=os.environ, seconds=0.3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_bench_that_is_interrupted_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    bench = Path(__file__).resolve().parents[2] / "scripts" / "bench"
    started = subprocess.Popen(
        [bench, "--quick", "--without-gateway"],
        env=os.environ | {"GATEWAY_BENCH_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with started:
        assert started.stderr is not None
        assert b"direct" in started.stderr.readline()
        below = proc.tree(started.pid)
        assert len(below) > 2
        started.send_signal(number)
        started.communicate(timeout=30)
    assert started.returncode == 128 + number
    _soon(lambda: all(_gone(pid) for pid in below))
    assert list(tmp_path.iterdir()) == []
