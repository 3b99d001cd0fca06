"""scripts/simulate as a person types it, and what it draws."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from simulator import chart, paper
from simulator.fleet import Sample
from simulator.scaling import ROOT, of_manifests

NAMES = ["openai", "anthropic", "bedrock", "ollama"]


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / "scripts" / "simulate", *arguments], capture_output=True, text=True, timeout=60)


def sample(at_s: float, waiting: int, replicas: int) -> Sample:
    return Sample(at_s, waiting, 0, 0, 0, replicas, replicas, 60.0 * at_s * replicas)


def test_a_burst_from_zero_is_played_drawn_and_priced(tmp_path: Path) -> None:
    drawing = tmp_path / "burst.svg"
    done = simulate("burst", "--svg", str(drawing))
    assert done.returncode == 0, done.stderr
    assert "waiting, interactive, at most 1,000" in done.stdout
    assert "0 to 12 pods" in done.stdout
    assert ElementTree.parse(drawing).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_figures_are_the_same_for_the_same_seed_and_follow_the_numbers_given() -> None:
    first, again, warm = (
        json.loads(simulate("burst", "--json", *more).stdout) for more in ([], [], ["--set", "least=4"])
    )
    assert first == again
    assert warm["waits_s"]["interactive"][1] < first["waits_s"]["interactive"][1]
    assert first["jobs"] == 1000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["burst", "--set", "traget=3"], "traget: expected one of", id="unknown number"),
        pytest.param(["burst", "--set", "target"], "expected NAME=VALUE", id="no value"),
        pytest.param(["internet", "--set", "pers=3"], "pers: no such number", id="unknown number on paper"),
        pytest.param(["burst", "--set", "least=one"], "invalid literal", id="no number"),
        pytest.param(["thunderstorm"], "invalid choice", id="unknown scenario"),
    ],
)
def test_what_it_does_not_understand_it_says(arguments: list[str], said: str) -> None:
    done = simulate(*arguments)
    assert done.returncode == 2
    assert said in done.stderr and "Traceback" not in done.stderr


def test_a_reader_that_has_seen_enough_ends_it_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [ROOT / "scripts" / "simulate", "internet"], stdout=writer, stderr=subprocess.PIPE, timeout=60
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_chart_shows_the_greatest_value_of_each_column() -> None:
    shown = chart.text([sample(0.0, 0, 1), sample(1.0, 8, 1), sample(2.0, 4, 1), sample(3.0, 0, 1)], width=4)
    assert shown.splitlines()[:5] == ["waiting, interactive, at most 8", "  │ █  ", "  │ █  ", "  │ ██ ", "  │ ██ "]


def test_internet_scale_is_arithmetic_on_what_was_measured() -> None:
    measured = paper.Measured(
        request_cpu_s=0.6e-3, chunk_cpu_s=0.1e-3, redis_request_cpu_s=0.1e-3, web_share=0.8, redis_chunk_share=0.2,
        job_bytes=1_000, web_waits=1_000,
    )  # fmt: skip
    shape = paper.Shape(slots=100, fill=0.5, redis_fill=0.5, redis_bytes=1e9, redis_usd_per_hour=1, core_usd_per_hour=1)
    plan = paper.plan(paper.Load(per_s=1_000, service_s=5, streamed=0.5, chunks=20, retention_s=100), measured, shape)
    assert plan.redis_cores == pytest.approx(0.1 + 10_000 * 0.02e-3)
    assert plan.cells == 1  # 0.3 cores of 0.5
    assert plan.web_cores == pytest.approx(0.8 * (0.5 + 10_000 * 0.08e-3))
    assert (plan.at_once, plan.worker_pods, plan.web_pods) == (5_000, 100, 5)
    assert plan.usd_a_year == pytest.approx((2 + 105) * 8_760)


@pytest.mark.parametrize("name", NAMES)
def test_the_manifests_target_is_seven_tenths_of_a_pods_slots(name: str) -> None:
    rules = of_manifests(name)
    assert rules.target == {"ollama": 11.0}.get(name, 45.0)
    assert rules.polling_s == 5.0
