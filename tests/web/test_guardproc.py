"""The guard's own process: it answers, it is given up in time, it comes again, and it outlives nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from guardrails.serving import load_findings, load_judgement
from guardrails.texts import Text
from guardrails.verdicts import Action, Stage
from mesh.settings import GuardLimits
from tests.conftest import wait_until
from web.guardproc import GuardFailed, GuardProcess

ROOT = Path(__file__).parent.parent.parent
POLICY = (
    "jailbreak: {enabled: false}\ncategories: {VIOLENCE: {action: block, keywords: [zorblatting]}}\npii: {EMAIL: {}}"
)
HELD = [Text("hello", "user", "messages[0].content"), Text("a zorblatting one", "user", "messages[1].content")]


class Asked:
    """A process whose policy a test may change."""

    def __init__(self, **limits: int) -> None:
        self.policy = POLICY
        self.process = GuardProcess(lambda: self.policy, GuardLimits(deadline_ms=20_000, max_waiting=3, **limits))
        self.process.start()

    def judged(self, texts: list[Text] = HELD) -> Action:
        return load_judgement(self.process.ask("judge", Stage.REQUEST, "t", "k", texts)).verdict.action

    def patient(self, deadline_ms: int) -> None:
        self.process._limits = GuardLimits(deadline_ms=deadline_ms, max_waiting=3)


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    asked = Asked()
    yield asked
    os.kill(asked.process.pid, signal.SIGKILL)


def test_it_judges_and_finds(asked: Asked) -> None:
    judgement = load_judgement(asked.process.ask("judge", Stage.REQUEST, "t", "k", HELD))
    assert (judgement.verdict.action, judgement.verdict.category) == (Action.BLOCK, "VIOLENCE")
    assert judgement.place == "messages[1].content"
    ((row,),) = asked.process.ask("personal", Stage.REQUEST, "t", "k", [Text("I am jane@example.com", "user", "a")])
    assert [(found.kind, found.start, found.end) for found in load_findings(row)] == [("EMAIL", 5, 21)]


def test_a_text_that_it_cannot_judge_ends_nothing(asked: Asked) -> None:
    before = asked.process.pid
    with pytest.raises(GuardFailed, match="KeyError"):
        asked.process.ask("no such question", Stage.REQUEST, "t", "k", HELD)
    assert asked.judged() is Action.BLOCK and asked.process.pid == before


def test_a_new_policy_holds_from_the_next_question_on(asked: Asked) -> None:
    asked.policy = POLICY.replace("zorblatting", "somethingelse")
    asked.process.renew()
    assert asked.judged() is Action.ALLOW
    asked.policy = POLICY
    asked.process.renew()
    assert asked.judged() is Action.BLOCK


def test_a_killed_process_comes_again_and_nobody_notices(asked: Asked) -> None:
    before = asked.process.pid
    os.kill(before, signal.SIGSTOP)
    waiting = [gevent.spawn(asked.judged) for _ in range(2)]
    gevent.sleep(0.05)
    os.kill(before, signal.SIGKILL)
    gevent.joinall(waiting, timeout=20)
    assert [each.value for each in waiting] == [Action.BLOCK] * 2
    assert asked.process.pid != before


def test_a_stuck_process_is_given_up_at_the_deadline_and_replaced(asked: Asked) -> None:
    before = asked.process.pid
    os.kill(before, signal.SIGSTOP)
    asked.patient(300)
    began = time.monotonic()
    with pytest.raises(GuardFailed, match="deadline"):
        asked.judged()
    assert time.monotonic() - began < 2
    asked.patient(20_000)
    assert asked.judged() is Action.BLOCK and asked.process.pid != before


def test_no_more_wait_than_may(asked: Asked) -> None:
    os.kill(asked.process.pid, signal.SIGSTOP)
    waiting = [gevent.spawn(asked.judged) for _ in range(3)]
    gevent.sleep(0.05)
    with pytest.raises(GuardFailed, match="queue_full"):
        asked.judged()
    os.kill(asked.process.pid, signal.SIGCONT)
    gevent.joinall(waiting, timeout=20)
    assert [each.value for each in waiting] == [Action.BLOCK] * 3


def test_it_does_not_outlive_a_killed_parent() -> None:
    code = f"""
import gevent
from mesh.settings import GuardLimits
from web.guardproc import GuardProcess
process = GuardProcess(lambda: {POLICY!r}, GuardLimits())
process.start()
gevent.sleep(0.2)
print(process.pid, flush=True)
gevent.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(child, 0)
        parent.kill()
    wait_until(lambda: not _lives(child), 10, "the guard process ends with its parent")


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
