"""config/guardrail-settings.yaml: what is looked for in which texts, and what is done about it.

What a stage, a tenant or a key says stands over what the file says in general, field by field.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import reduce
from typing import Annotated, Any, Literal, TypeVar

import re2
import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from guardrails.verdicts import Action, Stage
from mesh.errors import ConfigError

CATEGORIES = (
    "SELF_HARM",
    "VIOLENCE",
    "HATE_SPEECH",
    "SEXUAL_CONTENT",
    "ILLEGAL_ACTIVITY",
    "CONTROLLED_SUBSTANCES",
    "WEAPONS",
    "CYBER_CRIME",
    "CHILD_SAFETY",
    "TERRORISM",
    "PROMPT_INJECTION",
    "OFFENSIVE_LANGUAGE",
)
PERSONAL = (
    "SSN",
    "EMAIL",
    "PHONE",
    "CREDIT_CARD",
    "NAME",
    "ADDRESS",
    "LOCATION",
    "IP_ADDRESS",
    "DOB",
    "IBAN",
    "API_KEY",
    "MEDICAL_RECORD",
    "PASSPORT",
    "TAX_ID",
)
JAILBREAK = "JAILBREAK"  # the place of the jailbreak rule among the kinds; its findings count as PROMPT_INJECTION

Severity = Literal["low", "medium", "high", "critical"]
Strategy = Literal["placeholder", "partial", "full", "hash"]
Embedding = Literal["off", "grey-zone", "always"]

# The score from which a category is flagged. A learnt score of 0.5 is where precision and recall are best together,
# so `high` flags at 0.5; what is more severe is flagged on less, what is less severe on more.
THRESHOLDS: Mapping[str, float] = types.MappingProxyType({"low": 0.8, "medium": 0.65, "high": 0.5, "critical": 0.35})

_LONGEST_PATTERN = 4_096  # characters
_LARGEST_PATTERN = 10_000  # steps of RE2's program; a text may be made to take each at each character, in 4 ns


def compiled(pattern: str) -> re2._Regexp[str]:
    """An operator's pattern: RE2's syntax, matched in time linear in the text, without regard to case.

    Raises:
        ValueError: it is none, with what is wrong.
    """
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = 8 << 20
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        why = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"not a pattern of RE2: {why}") from error


def _good_pattern(pattern: str) -> str:
    if len(pattern) > _LONGEST_PATTERN:
        raise ValueError(f"longer than {_LONGEST_PATTERN} characters")
    program = compiled(pattern)
    if program.search("") is not None:
        raise ValueError("matches the empty text, so everything")
    if program.programsize > _LARGEST_PATTERN:
        raise ValueError(
            f"may take {program.programsize} steps at each character of a text, and at most {_LARGEST_PATTERN} are "
            "allowed: repeat fewer times ({0,60}), or make several patterns of it"
        )
    return pattern


def _good_keyword(keyword: str) -> str:
    if not any(character.isalnum() for character in keyword):
        raise ValueError("has no letter or digit")
    return keyword


def _no_twins(entries: tuple[str, ...]) -> tuple[str, ...]:
    seen: dict[str, int] = {}
    for index, entry in enumerate(entries):
        first = seen.setdefault(entry.casefold(), index)
        if first != index:
            raise ValueError(f"entry {index} is the same as entry {first}")
    return entries


def _one_of(names: Collection[str]) -> BeforeValidator:
    """Keys must be among the names; a near miss is told which was probably meant."""

    def check(value: Any) -> Any:
        if isinstance(value, dict):
            for key in value:
                if key not in names:
                    near = difflib.get_close_matches(str(key).upper(), [name.upper() for name in names], 1)
                    meant = next((name for name in names if near and name.upper() == near[0]), None)
                    raise PydanticCustomError(
                        "unknown_key", "{key}: unknown{meant}", {"key": str(key), "meant": _meant(meant)}
                    )
        return value

    return BeforeValidator(check)


def _meant(near: str | None) -> str:
    return f", did you mean {near}?" if near else ""


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Keyword = Annotated[str, Field(min_length=2, max_length=200), AfterValidator(_good_keyword)]
Pattern = Annotated[str, Field(min_length=1), AfterValidator(_good_pattern)]
Keywords = Annotated[tuple[Keyword, ...], Field(max_length=20_000), AfterValidator(_no_twins)]
Patterns = Annotated[tuple[Pattern, ...], Field(max_length=500), AfterValidator(_no_twins)]
Threshold = Annotated[float, Field(gt=0, le=1)]
ContentAction = Literal["block", "warn", "log", "allow"]
PersonalAction = Literal["mask", "redact", "block", "warn", "log", "allow"]


class ScoredRule(Frozen):
    """What follows when something reaches a score. What is None is left as the level above has it."""

    enabled: bool | None = None
    severity: Severity | None = None  # picks the score from which it is flagged, where `threshold` is not given
    action: ContentAction | None = None
    threshold: Threshold | None = None

    @property
    def on(self) -> bool:
        return self.enabled is not False

    @property
    def does(self) -> Action:
        return Action.BLOCK if self.action is None else Action(self.action)

    @property
    def least_score(self) -> float:
        return self.threshold if self.threshold is not None else THRESHOLDS[self.severity or "high"]


class ContentRule(ScoredRule):
    """What is looked for under one category."""

    keywords: Keywords | None = None
    patterns: Patterns | None = None


class JailbreakRule(ScoredRule):
    """Attempts to talk a model out of its instructions. They count as PROMPT_INJECTION, with an action of their own."""

    conversation: bool | None = None  # whether many shots and slow escalation are looked for over all turns
    untrusted: bool | None = None  # whether tools' results and retrieved passages may give no orders either


class PersonalRule(Frozen):
    """What is done about one type of personal data."""

    enabled: bool | None = None
    severity: Severity | None = None  # for the records; a finding of personal data is sure or it is none
    action: PersonalAction | None = None
    strategy: Strategy | None = None  # how it is written in its place

    @property
    def on(self) -> bool:
        return self.enabled is not False

    @property
    def does(self) -> Action:
        return Action.MASK if self.action is None else Action(self.action)


_Categories = Annotated[dict[str, ContentRule], _one_of(CATEGORIES)]
_Personal = Annotated[dict[str, PersonalRule], _one_of(PERSONAL)]


class Rules(Frozen):
    """Everything that is looked for in one text."""

    categories: _Categories = {}
    pii: _Personal = {}
    jailbreak: JailbreakRule = JailbreakRule()

    def over(self, below: Rules) -> Rules:
        """These where they say something, those below where they don't."""
        return Rules.model_construct(
            categories=_merged(self.categories, below.categories),
            pii=_merged(self.pii, below.pii),
            jailbreak=_laid(self.jailbreak, below.jailbreak),
        )


class Level(Rules):
    """What one tenant or one key says, in general and for a stage."""

    stages: Annotated[dict[Stage, Rules], _one_of(tuple(Stage))] = {}

    def rules(self, stage: Stage) -> Iterator[Rules]:
        """The strongest first."""
        if stage in self.stages:
            yield self.stages[stage]
        yield self


class Allowed(Frozen):
    """What is never flagged: a finding that lies within one of these is none."""

    texts: Keywords = ()
    patterns: Patterns = ()


class Phi(Frozen):
    """Health data of a person: a record number, a diagnosis beside a name."""

    force_private: bool = True  # only providers marked private may see it


class Policy(Level):
    """config/guardrail-settings.yaml."""

    fail: Literal["open", "closed"] = "closed"  # what follows when a text could not be judged
    refusal: str = Field("This was refused by the content policy.", min_length=1, max_length=2_000)
    embedding: Embedding = "grey-zone"  # when the sentence model is asked: never, in doubt, always
    mask_private_targets: bool = False  # whether personal data is masked even if only private providers see it
    phi: Phi = Phi()
    allow: Allowed = Allowed()
    tenants: dict[str, Level] = {}
    keys: dict[str, Level] = {}

    @model_validator(mode="after")
    def _children_are_not_learnt(self) -> Policy:
        for place, rules in self._everywhere():
            rule = rules.categories.get("CHILD_SAFETY")
            if rule is not None and rule.threshold is not None:
                raise ValueError(
                    f"{place}categories.CHILD_SAFETY.threshold: it has no score, only keywords and patterns"
                )
        return self

    def _everywhere(self) -> Iterator[tuple[str, Rules]]:
        levels: list[tuple[str, Level]] = [("", self)]
        levels += [(f"tenants.{name}.", level) for name, level in self.tenants.items()]
        levels += [(f"keys.{name}.", level) for name, level in self.keys.items()]
        for place, level in levels:
            yield place, level
            for stage, rules in level.stages.items():
                yield f"{place}stages.{stage}.", rules

    @property
    def weighs(self) -> bool:
        """Whether anything is looked for, by anybody, that has a score and so may be in doubt."""
        everywhere = [rules for _, rules in self._everywhere()]
        return (
            self.jailbreak.on
            or any(rules.jailbreak.enabled for rules in everywhere)
            or any(rule.on for rules in everywhere for name, rule in rules.categories.items() if name != "CHILD_SAFETY")
        )

    def resolved(self, stage: Stage, *, tenant: str = "", key: str = "") -> Rules:
        """The rules for a text: the key's over the tenant's over the file's, each with its stage's over its own."""
        levels = [self.keys.get(key), self.tenants.get(tenant), self]
        layers = [rules for level in levels if level is not None for rules in level.rules(stage)]
        return reduce(lambda above, below: above.over(below), layers)

    def treated(self, stage: Stage, *, tenant: str = "", key: str = "") -> dict[str, PersonalRule]:
        """The rules for personal data about which something is done in a text at this stage, by kind.

        To hide from a provider what it has written means nothing, so that in answers MASK counts only where a rule for
        answers says it.
        """
        rules = self.resolved(stage, tenant=tenant, key=key).pii
        levels = [self, self.tenants.get(tenant), self.keys.get(key)]
        own = [level.stages[stage].pii for level in levels if level is not None and stage in level.stages]
        masked = {kind for pii in own for kind, rule in pii.items() if rule.action is not None}
        return {
            kind: rule
            for kind, rule in rules.items()
            if rule.on
            and rule.does is not Action.ALLOW
            and (stage is Stage.REQUEST or rule.does is not Action.MASK or kind in masked)
        }

    def scope(self, *, tenant: str = "", key: str = "") -> tuple[str, str]:
        """The tenant and the key as far as they make a difference."""
        return (tenant if tenant in self.tenants else "", key if key in self.keys else "")


_Rule = TypeVar("_Rule", ContentRule, PersonalRule, JailbreakRule)


def _laid(above: _Rule, below: _Rule) -> _Rule:
    return below.model_copy(update=above.model_dump(exclude_none=True))


def _merged(above: Mapping[str, _Rule], below: Mapping[str, _Rule]) -> dict[str, _Rule]:
    return {
        name: _laid(above[name], below[name]) if name in above and name in below else above.get(name) or below[name]
        for name in (*below, *(name for name in above if name not in below))
    }


def parse_policy(text: str, name: str = "guardrail-settings.yaml") -> Policy:
    """A policy from YAML text.

    Raises:
        ConfigError: with the file's name and each place that is wrong.
    """
    try:
        data: Any = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not YAML: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{name}: expected a mapping with categories, pii and jailbreak")
    try:
        return Policy.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{name}: {'; '.join(_places(error))}") from error


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands there twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


_FIELDS = {
    field: model
    for model in (ContentRule, PersonalRule, JailbreakRule, Rules, Level, Allowed, Phi, Policy)
    for field in model.model_fields
}


def _places(error: ValidationError) -> Iterable[str]:
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(item["loc"][-1]), _FIELDS, 1)
            yield f"{place}: unknown field{_meant(near[0] if near else None)}"
        elif item["type"] == "unknown_key":
            yield f"{place}.{item['msg']}"
        else:
            message = item["msg"].removeprefix("Value error, ")
            yield f"{place}: {message}" if place else message
