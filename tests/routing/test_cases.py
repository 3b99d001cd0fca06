"""The table of routing, cases.yaml: request, config and state in, ordered targets and each dropped one's reason out."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from mesh.errors import GatewayError
from mesh.settings import Config
from mesh.store import Known
from routing.choose import Decision, Role, Router, Wish
from routing.filters import FILTERS, Reason
from routing.health import Outlook
from routing.needs import Needs
from routing.prices import Most
from routing.rules import RULES

TABLE: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("cases.yaml").read_text())
CASES = [pytest.param(case, id=case["case"]) for case in TABLE["cases"]]
NOW_MS = 1_000_000


def outlook(state: dict[str, Any]) -> Outlook:
    """What the door would know: health by name, spans in seconds from now, waits by lane."""
    records = {}
    for name, told in state.get("health", {}).items():
        record: dict[str, Any] = {"open_until": 0, "alone_until": 0, **told}
        for span, moment in (("open_s", "open_until"), ("alone_s", "alone_until"), ("whole_s", "whole_at")):
            if span in record:
                record[moment] = NOW_MS + 1000 * record.pop(span)
        records[name] = record
    found = Outlook(clock=lambda: 500.0)
    found.update(Known(NOW_MS, state.get("waits_ms", {}), records, state.get("taken", {})))
    return found


def wish(request: dict[str, Any]) -> Wish:
    told = dict(request)
    needs = Needs(**{key: frozenset(v) if isinstance(v, list) else v for key, v in told.pop("needs", {}).items()})
    most = Most(told.pop("chars", 400), told.pop("max_tokens", 0), told.pop("n", 1))
    if "max_cost" in told:
        told["max_cost_usd"] = Decimal(str(told.pop("max_cost")))
    for name in ("allowed_models", "allowed_providers", "fallbacks"):
        if name in told:
            told[name] = tuple(told[name])
    if "conversation" in told:
        begins = told.pop("conversation").encode()
        told["conversation"] = lambda: begins
    return Wish(needs=needs, most=most, **told)


def decide(case: dict[str, Any]) -> Decision:
    config = Config.model_validate({**TABLE["config"], **case.get("config", {})})
    return Router(config, case.get("live", TABLE["live"])).weigh(wish(case["request"]), outlook(case.get("state", {})))


def test_the_table_is_long_and_has_every_rule_and_every_reason() -> None:
    assert len(CASES) >= 60 and len({case["case"] for case in TABLE["cases"]}) == len(CASES)
    text = yaml.safe_dump(TABLE)
    assert not [rule for rule in RULES if f"rule: {rule}" not in text]
    told = {reason for case in TABLE["cases"] for reason in case.get("dropped", {}).values()}
    assert not [reason.value for reason in Reason if reason not in told]
    assert len(FILTERS) == 12


@pytest.mark.parametrize("case", CASES)
def test_a_request_goes_where_the_table_says(case: dict[str, Any]) -> None:
    if "error" in case and "dropped" not in case:
        with pytest.raises(GatewayError) as caught:
            decide(case)
        assert caught.value.code == case["error"]
        return
    decision = decide(case)
    assert [f"{target.provider}/{target.model}" for target in decision.targets[: decision.main]] == case["targets"]
    dropped = {
        f"{each.target.provider}/{each.target.model}": each.why[0].value
        for each in decision.candidates
        if each.order is None and each.why is not None
    }
    assert dropped == case.get("dropped", {})
    assert all(each.why and each.why[1] for each in decision.candidates if each.order is None)
    chains = {
        cause: [f"{decision.targets[at].provider}/{decision.targets[at].model}" for at in places]
        for cause, places in decision.chains.items()
    }
    assert chains == case.get("chains", {})
    shadow = decision.shadow
    assert (None if shadow is None else f"{shadow.provider}/{shadow.model}") == case.get("shadow")
    remarks = {
        f"{each.target.provider}/{each.target.model}": each.why[0].value
        for each in decision.candidates
        if each.order is not None and each.why is not None
    }
    assert remarks == case.get("remarks", {})
    refusal = decision.refusal
    assert (None if refusal is None else refusal.code) == case.get("error")
    assert (refusal is None) == bool(case["targets"])
    orders = [each.order for each in decision.candidates if each.role not in (Role.CHAIN, Role.SHADOW)]
    assert [order for order in orders if order is not None] == list(range(decision.main))
