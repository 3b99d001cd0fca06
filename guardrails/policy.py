"""What config/guardrail-settings.yaml says."""

from __future__ import annotations

from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from guardrails.verdicts import Action, Stage
from mesh.errors import ConfigError

Strategy = Literal["placeholder", "partial", "full", "hash"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rule(_Frozen):
    enabled: bool = True
    action: Action = Action.BLOCK
    stages: tuple[Stage, ...] = (Stage.REQUEST,)


class Category(Rule):
    keywords: tuple[str, ...] = ()


class PersonalRule(Rule):
    action: Action = Action.MASK
    strategy: Strategy = "placeholder"


class Override(_Frozen):
    categories: dict[str, Category] = {}
    pii: dict[str, PersonalRule] = {}


class Policy(_Frozen):
    on_failure: Literal["open", "closed"] = "closed"
    phi: tuple[str, ...] = ()  # words that make a request private
    categories: dict[str, Category] = {}
    pii: dict[str, PersonalRule] = {}
    tenants: dict[str, Override] = {}
    keys: dict[str, Override] = {}


def parse_policy(text: str, name: str) -> Policy:
    """
    Raises:
        ConfigError: with the file's name and each place that is wrong.
    """
    try:
        data: Any = yaml.safe_load(text)
        return Policy.model_validate(data or {})
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not YAML: {error}") from error
    except ValidationError as error:
        places = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ConfigError(f"{name}: {places}") from error
