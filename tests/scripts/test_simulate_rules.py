"""KEDA's and the HPA's rules, against cases worked out by hand from their documentation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from simulator.autoscaler import Hpa, Keda, recommended
from simulator.scaling import Direction, Policy, Scaling, changed, of_manifests, of_spec

RULES = Scaling()  # 45 jobs a pod, 1 to 12 pods; up by 3 or double in 15 s, down by 1 in 60 s after 300 s


@pytest.mark.parametrize(
    ("value", "replicas", "wanted"),
    [
        pytest.param(200, 1, 5, id="200 / 45 = 4.4, rounded up"),
        pytest.param(49, 1, 1, id="within a tenth of the target nothing changes"),
        pytest.param(50, 1, 2, id="more than a tenth above it"),
        pytest.param(412, 10, 10, id="412 / 450 is within a tenth below"),
        pytest.param(400, 10, 9, id="400 / 450 is not"),
        pytest.param(0, 3, 0, id="nothing to do"),
    ],
)
def test_the_hpa_recommends(value: float, replicas: int, wanted: int) -> None:
    assert recommended(value, 45.0, replicas) == wanted


def test_the_hpa_goes_up_by_the_most_generous_policy_and_not_twice_in_its_period() -> None:
    hpa = Hpa(RULES)
    assert hpa.sync(0.0, 1_000, 1) == 4  # 3 more beats the double
    assert hpa.sync(10.0, 1_000, 4) == 4  # the period of 15 s began with 1
    assert hpa.sync(15.0, 1_000, 4) == 8  # the double beats 3 more
    assert hpa.sync(30.0, 1_000, 8) == 12  # 16, but 12 are the most


def test_the_hpa_goes_down_after_its_window_and_then_a_pod_a_minute() -> None:
    hpa = Hpa(RULES)
    assert hpa.sync(0.0, 400, 9) == 9
    replicas = 9
    seen = {}
    for number in range(1, 41):
        seen[number * 15] = replicas = hpa.sync(number * 15.0, 10, replicas)
    assert seen[285] == 9
    assert seen[300] == 8  # what was advised at 0 s is 300 s old
    assert (seen[345], seen[360], seen[420]) == (8, 7, 6)


def test_an_upward_window_waits_until_the_demand_has_lasted() -> None:
    hpa = Hpa(replace(RULES, up=Direction(60.0, (Policy("Percent", 400, 15.0),))))
    assert hpa.sync(0.0, 45, 1) == 1
    assert hpa.sync(15.0, 200, 1) == 1
    assert hpa.sync(45.0, 200, 1) == 1
    assert hpa.sync(60.0, 200, 1) == 5


def test_keda_wakes_at_its_poll_and_goes_to_zero_after_the_cooldown() -> None:
    keda = Keda(replace(RULES, least=0, cooldown_s=300.0))
    assert keda.poll(0.0, 0, 0) == 0
    assert keda.poll(5.0, 1, 0) == 1
    assert keda.poll(10.0, 0, 4) == 4
    assert keda.poll(305.0, 0, 4) == 4
    assert keda.poll(310.0, 0, 4) == 0


def test_keda_with_a_least_number_wakes_and_stays_there() -> None:
    keda = Keda(replace(RULES, least=2))
    assert keda.poll(0.0, 1, 0) == 2
    assert keda.poll(10_000.0, 0, 2) == 2


def test_the_hpa_leaves_zero_to_keda() -> None:
    assert Hpa(RULES).sync(0.0, 1_000, 0) == 0


def test_a_provider_lays_its_numbers_over_the_lanes_common_ones(tmp_path: Path) -> None:
    (tmp_path / "lane-scaler").mkdir()
    (tmp_path / "worker-acme").mkdir()
    (tmp_path / "lane-scaler" / "scaledobject.yaml").write_text(
        "spec: {pollingInterval: 7, minReplicaCount: 1, advanced: {scalingModifiers: {target: '45'}, "
        "horizontalPodAutoscalerConfig: {behavior: {scaleDown: {stabilizationWindowSeconds: 60, "
        "policies: [{type: Percent, value: 10, periodSeconds: 30}]}}}}}"
    )
    (tmp_path / "worker-acme" / "scaledobject.yaml").write_text(
        "spec: {minReplicaCount: 0, advanced: {scalingModifiers: {target: '11'}}}"
    )
    rules = of_manifests("acme", tmp_path)
    assert (rules.target, rules.polling_s, rules.least, rules.most) == (11.0, 7.0, 0, 100)
    assert rules.down == Direction(60.0, (Policy("Percent", 10, 30.0),))
    assert of_manifests("nobody", tmp_path) == Scaling()


def test_what_a_scaled_object_leaves_out_has_kedas_defaults() -> None:
    rules = of_spec({})
    assert (rules.target, rules.polling_s, rules.cooldown_s, rules.least, rules.most) == (5.0, 30.0, 300.0, 0, 100)


def test_an_unknown_number_is_named() -> None:
    with pytest.raises(ValueError, match="traget: expected one of target,"):
        changed(RULES, {"traget": "3"})
