"""What guardrail-settings.yaml may say, and how a mistake in it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from guardrails.policy import CATEGORIES, PERSONAL, parse_policy
from guardrails.verdicts import Action, Stage
from mesh.errors import ConfigError

SHIPPED = Path(__file__).parent.parent.parent / "config" / "guardrail-settings.yaml"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        pytest.param("a: [", "not YAML", id="not YAML"),
        pytest.param("- a", "expected a mapping", id="a list"),
        pytest.param("", "expected a mapping", id="empty"),
        pytest.param("categoris: {}", "categoris: unknown field, did you mean categories?", id="a top-level typo"),
        pytest.param(
            "categories: {SELF_HRM: {}}", "categories.SELF_HRM: unknown, did you mean SELF_HARM?", id="a category"
        ),
        pytest.param("pii: {EMIAL: {}}", "pii.EMIAL: unknown, did you mean EMAIL?", id="a type"),
        pytest.param("stages: {reqest: {}}", "stages.reqest: unknown, did you mean request?", id="a stage"),
        pytest.param(
            "categories: {VIOLENCE: {enabeld: true}}",
            "categories.VIOLENCE.enabeld: unknown field, did you mean enabled?",
            id="a field",
        ),
        pytest.param(
            "categories: {VIOLENCE: {action: mask}}", "categories.VIOLENCE.action: ", id="no action of content"
        ),
        pytest.param("categories: {VIOLENCE: {severity: huge}}", "categories.VIOLENCE.severity: ", id="a severity"),
        pytest.param("categories: {VIOLENCE: {threshold: 1.5}}", "categories.VIOLENCE.threshold: ", id="a threshold"),
        pytest.param("categories: {VIOLENCE: {threshold: 0}}", "categories.VIOLENCE.threshold: ", id="threshold zero"),
        pytest.param(
            "categories: {VIOLENCE: {patterns: ['ok', '(open']}}",
            "categories.VIOLENCE.patterns.1: not a pattern of RE2: missing )",
            id="a broken pattern",
        ),
        pytest.param(
            "categories: {VIOLENCE: {patterns: ['(?=x)y']}}",
            "categories.VIOLENCE.patterns.0: not a pattern of RE2",
            id="a look-ahead",
        ),
        pytest.param(
            "categories: {VIOLENCE: {patterns: ['x*']}}", "patterns.0: matches the empty text", id="matches everything"
        ),
        pytest.param(
            "categories: {VIOLENCE: {patterns: ['(((a{1,100}){1,100}){1,100})']}}",
            "categories.VIOLENCE.patterns.0: not a pattern of RE2",
            id="a pattern too large",
        ),
        pytest.param(
            "categories: {VIOLENCE: {keywords: [Bomb, gun, bomb]}}",
            "categories.VIOLENCE.keywords: entry 2 is the same as entry 0",
            id="a keyword twice",
        ),
        pytest.param("categories: {VIOLENCE: {keywords: ['--']}}", "keywords.0: has no letter", id="no word"),
        pytest.param("categories: {VIOLENCE: {keywords: gun}}", "categories.VIOLENCE.keywords: ", id="not a list"),
        pytest.param(
            "categories: {VIOLENCE: {}, VIOLENCE: {action: log}}", "'VIOLENCE' stands there twice", id="a key twice"
        ),
        pytest.param("categories: {CHILD_SAFETY: {threshold: 0.3}}", "it has no score", id="a score for what has none"),
        pytest.param(
            "keys: {k: {stages: {response: {categories: {CHILD_SAFETY: {threshold: 0.3}}}}}}",
            "keys.k.stages.response.categories.CHILD_SAFETY.threshold",
            id="the same, deep down",
        ),
        pytest.param("pii: {EMAIL: {strategy: hide}}", "pii.EMAIL.strategy: ", id="a strategy"),
        pytest.param("fail: ajar", "fail: ", id="neither open nor closed"),
        pytest.param("embedding: sometimes", "embedding: ", id="embedding"),
        pytest.param("refusal: ''", "refusal: ", id="an empty refusal"),
        pytest.param(
            "tenants: {a: {pii: {SNS: {}}}}", "tenants.a.pii.SNS: unknown, did you mean SSN?", id="a tenant's"
        ),
        pytest.param(
            "categories: {VIOLENCE: {patterns: ['.{0,700}a.{0,700}b']}}",
            "categories.VIOLENCE.patterns.0: may take 1",
            id="a pattern that could stall",
        ),
        pytest.param("allow: {patterns: ['.{900}a.{900}']}", "allow.patterns.0: may take ", id="an allowed one"),
        pytest.param("allow: {patterns: ['[']}", "allow.patterns.0: not a pattern of RE2", id="an allowed pattern"),
    ],
)
def test_a_mistake_is_refused_with_its_place(text: str, place: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_policy(text, "guardrail-settings.yaml")
    assert str(refused.value).startswith("guardrail-settings.yaml: ")
    assert place in str(refused.value)


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        parse_policy("categories: {VIOLENCE: {action: x, threshold: 7}}\nfail: ajar", "f")
    assert all(place in str(refused.value) for place in ("VIOLENCE.action", "categories.VIOLENCE.threshold", "fail"))


def test_the_policy_we_ship_is_good_and_whole() -> None:
    policy = parse_policy(SHIPPED.read_text(), str(SHIPPED))
    assert set(policy.categories) == set(CATEGORIES)
    assert set(policy.pii) == set(PERSONAL)
    assert policy.categories["CHILD_SAFETY"].does is Action.BLOCK


def test_the_missions_own_two_lines_are_a_policy() -> None:
    policy = parse_policy(
        'categories:\n  SELF_HARM: {enabled: true, severity: critical, action: block, keywords: ["x y"]}\n'
        "  VIOLENCE:  {enabled: true, severity: high, action: block}\n"
    )
    rules = policy.resolved(Stage.REQUEST)
    assert rules.categories["SELF_HARM"].least_score < rules.categories["VIOLENCE"].least_score == 0.5


LAYERS = """
categories: {VIOLENCE: {action: block, severity: high, keywords: [spar]}}
stages: {response: {categories: {VIOLENCE: {action: warn}}}}
tenants:
  gym:
    categories: {VIOLENCE: {severity: low}}
    stages: {response: {categories: {VIOLENCE: {action: log}}}}
keys:
  trainer: {categories: {VIOLENCE: {enabled: false}}}
"""


@pytest.mark.parametrize(
    ("stage", "tenant", "key", "expected"),
    [
        pytest.param(Stage.REQUEST, "", "", (True, Action.BLOCK, 0.5), id="the file's own"),
        pytest.param(Stage.RESPONSE, "", "", (True, Action.WARN, 0.5), id="a stage's"),
        pytest.param(Stage.REQUEST, "gym", "", (True, Action.BLOCK, 0.8), id="a tenant's"),
        pytest.param(Stage.RESPONSE, "gym", "", (True, Action.LOG, 0.8), id="a tenant's for a stage"),
        pytest.param(Stage.RESPONSE, "gym", "trainer", (False, Action.LOG, 0.8), id="a key's over it"),
        pytest.param(Stage.REQUEST, "other", "other", (True, Action.BLOCK, 0.5), id="names that are not there"),
    ],
)
def test_what_is_nearer_stands_over_what_is_further(
    stage: Stage, tenant: str, key: str, expected: tuple[bool, Action, float]
) -> None:
    rule = parse_policy(LAYERS).resolved(stage, tenant=tenant, key=key).categories["VIOLENCE"]
    assert (rule.on, rule.does, rule.least_score) == expected
    assert rule.keywords == ("spar",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("{}", True, id="jailbreaks, unless they are switched off"),
        pytest.param("jailbreak: {enabled: false}", False, id="nothing"),
        pytest.param("jailbreak: {enabled: false}\npii: {EMAIL: {action: mask}}", False, id="what is there or not"),
        pytest.param(
            "jailbreak: {enabled: false}\ncategories: {CHILD_SAFETY: {keywords: [spar]}}", False, id="keywords alone"
        ),
        pytest.param("jailbreak: {enabled: false}\ncategories: {VIOLENCE: {enabled: false}}", False, id="switched off"),
        pytest.param("jailbreak: {enabled: false}\ncategories: {VIOLENCE: {}}", True, id="a category"),
        pytest.param(
            "jailbreak: {enabled: false}\ntenants: {gym: {stages: {response: {categories: {VIOLENCE: {}}}}}}",
            True,
            id="a tenant's for a stage",
        ),
        pytest.param("jailbreak: {enabled: false}\nkeys: {k: {jailbreak: {enabled: true}}}", True, id="a key's"),
    ],
)
def test_scores_are_wanted_where_anybody_looks_for_what_has_one(text: str, expected: bool) -> None:
    assert parse_policy(text).weighs is expected
