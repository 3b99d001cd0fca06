"""Each rule alone: the figure that it gives a target, and what a conversation changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from mesh.job import Target
from mesh.routes import RuleName
from mesh.settings import parse_config
from mesh.store import Known
from routing import rules
from routing.choose import Router, Wish
from routing.health import Outlook
from routing.prices import Most
from routing.rules import RULES, Choice

CONFIG = parse_config("""
provider_models: {p: [m], q: [n]}
providers: {p: {adapter: openai}, q: {adapter: openai, private: true}}
models:
  m-dear: {input_usd_per_mtok: 10, output_usd_per_mtok: 20}
  m-cheap: {input_usd_per_mtok: 1, output_usd_per_mtok: 2}
aliases:
  even: {targets: [m-1, m-2, m-3], rule: weighted}
  lot: {targets: [{model: m-1, weight: 6}, {model: m-2, weight: 3}, {model: m-3, weight: 1}], rule: weighted}
  loyal:
    targets: [{model: m-1, weight: 6}, {model: m-2, weight: 3}, {model: m-3, weight: 1}]
    rule: weighted
    sticky: true
  tenth: {targets: [m-1], canary: {model: m-2, share: 0.1}}
  nested: {targets: [{model: lot, weight: 1}, {model: m-4, weight: 1}], rule: weighted}
""")
ROUTER = Router(CONFIG, ["p", "q"])
MANY = 4000


def outlook(**waits_ms: float) -> Outlook:
    found = Outlook(clock=lambda: 0.0)
    record = {"open_until": 0, "alone_until": 0, "first_ms": 200.0, "tokens_per_s": 100.0}
    found.update(Known(1, waits_ms, {"p/m-cheap": record, "p/m-dear": {**record, "first_ms": 1200.0}}))
    return found


def conversation(text: str) -> Callable[[], bytes]:
    return lambda: text.encode()


def first(alias: str, text: str | None = None) -> str:
    more: dict[str, Any] = {} if text is None else {"conversation": conversation(text)}
    return ROUTER.route(Wish(model=alias, **more)).targets[0].model


FIGURES = [
    pytest.param("ordered", Choice(Target("p", "m-dear"), "x", place=3), 3, id="ordered: the place"),
    pytest.param("cheapest", Choice(Target("p", "m-dear"), "x"), 0.02501, id="cheapest: the whole request"),
    pytest.param("cheapest", Choice(Target("q", "n"), "x"), 0, id="cheapest: our own"),
    pytest.param("cheapest", Choice(Target("p", "m-unknown"), "x"), float("inf"), id="cheapest: nobody knows"),
    pytest.param("fastest", Choice(Target("p", "m-cheap"), "x"), 5.2, id="fastest: first token and 500 more"),
    pytest.param("fastest", Choice(Target("p", "m-dear"), "x"), 6.2, id="fastest: a later first token"),
    pytest.param("fastest", Choice(Target("p", "m-unknown"), "x"), 0, id="fastest: not measured"),
    pytest.param("least_waiting", Choice(Target("p", "m-dear"), "x"), 4.0, id="least waiting: its lane"),
    pytest.param("least_waiting", Choice(Target("q", "n"), "x"), 0, id="least waiting: an empty lane"),
    pytest.param("best_value", Choice(Target("p", "m-cheap"), "x"), 0.002501 * 9.2, id="best value: price × seconds"),
    pytest.param("best_value", Choice(Target("p", "m-unknown"), "x"), float("inf"), id="best value: nobody knows"),
    pytest.param("best_value", Choice(Target("q", "n"), "x"), 1e-9 * 11, id="best value: free, and not measured"),
]


@pytest.mark.parametrize(("rule", "choice", "figure"), FIGURES)
def test_a_rule_gives_a_target_its_figure(rule: RuleName, choice: Choice, figure: float) -> None:
    wish = Wish(model="x", most=Most(1000, 1000))
    sight = ROUTER.sight(wish, outlook(p=4000.0))
    assert RULES[rule](choice, sight) == pytest.approx(figure)


def test_every_rule_has_a_file_and_a_name_in_config() -> None:
    files = {path.stem for path in Path(rules.__file__).parent.glob("*.py")} - {"__init__", "rule"}
    assert set(RULES) == set(get_args(RuleName)) == files
    assert {figure.__module__.rpartition(".")[2] for figure in RULES.values()} == files


@pytest.mark.parametrize(
    ("alias", "shares"),
    [
        pytest.param("even", {"m-1": 1 / 3, "m-2": 1 / 3, "m-3": 1 / 3}, id="even"),
        pytest.param("lot", {"m-1": 0.6, "m-2": 0.3, "m-3": 0.1}, id="by weight"),
        pytest.param("nested", {"m-1": 0.3, "m-2": 0.15, "m-3": 0.05, "m-4": 0.5}, id="an alias shares its weight"),
        pytest.param("tenth", {"m-1": 0.9, "m-2": 0.1}, id="a canary"),
    ],
)
def test_a_share_is_what_config_says(alias: str, shares: dict[str, float]) -> None:
    seen = Counter(first(alias) for _ in range(MANY))
    for model, share in shares.items():
        assert seen[model] / MANY == pytest.approx(share, abs=0.035)


def test_conversations_are_shared_out_by_weight_and_each_stays_where_it_is() -> None:
    texts = [f"conversation {number}" for number in range(1000)]
    chosen = [first("loyal", text) for text in texts]
    assert chosen == [first("loyal", text) for text in texts]
    assert Counter(chosen)["m-1"] / len(texts) == pytest.approx(0.6, abs=0.06)
    assert set(chosen) == {"m-1", "m-2", "m-3"}


def test_when_one_target_goes_only_its_conversations_move() -> None:
    ill = Outlook(clock=lambda: 0.0)
    ill.update(Known(1, {}, {"p/m-1": {"open_until": 60_000, "alone_until": 0}}))
    for number in range(200):
        wish = Wish(model="loyal", conversation=conversation(str(number)))
        before, after = ROUTER.route(wish).targets[0], ROUTER.route(wish, ill).targets[0]
        assert after == before or before.model == "m-1"
        assert after.model != "m-1"
