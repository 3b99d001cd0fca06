"""JSON schemas for providers that hold the text to one, but know only the part of the language that names every key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

# What holds a text, as Anthropic documents its structured output; all else can only be told to the model in words.
KEPT = (
    "$defs", "$ref", "additionalProperties", "allOf", "anyOf", "const", "default", "definitions", "description", "enum",
    "items", "properties", "required", "title", "type",
)  # fmt: skip
FORMATS = ("date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid")
ALSO_KEPT = (("minItems", 0), ("minItems", 1), *(("format", each) for each in FORMATS))
MAPS = ("$defs", "definitions", "properties")
LISTS = ("allOf", "anyOf", "oneOf")


def closed(schema: Mapping[str, Any]) -> bool:
    """Whether every object in it names all of its keys, so that `strict` takes nothing from its meaning."""
    if not schema:
        return False
    if _is_object(schema):
        named = schema.get("additionalProperties") is False or (
            schema.get("properties") and "additionalProperties" not in schema
        )
        if not named or "patternProperties" in schema:
            return False
    elif schema.get("type") == "array" and "items" not in schema:
        return False
    return all(closed(each) for each in _below(schema))


def strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with every object closed, and with what cannot hold a text put into its description."""
    kept: dict[str, Any] = {}
    told: dict[str, Any] = {}
    for name, value in schema.items():
        if name in MAPS and isinstance(value, dict):
            kept[name] = {key: strict(each) if isinstance(each, dict) else each for key, each in value.items()}
        elif name in LISTS and isinstance(value, list):
            kept["anyOf" if name == "oneOf" else name] = [
                strict(each) if isinstance(each, dict) else each for each in value
            ]
        elif name == "items" and isinstance(value, dict):
            kept[name] = strict(value)
        elif name in KEPT or (name, value) in ALSO_KEPT:
            kept[name] = value
        elif not name.startswith("$"):
            told[name] = value
    if _is_object(kept):
        kept["additionalProperties"] = False
    if told:
        words = orjson.dumps(told).decode()
        kept["description"] = f"{kept['description']}\n{words}" if kept.get("description") else words
    return kept


def _is_object(schema: Mapping[str, Any]) -> bool:
    kind = schema.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in schema


def _below(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for name in MAPS:
        if isinstance(schema.get(name), dict):
            yield from (each for each in schema[name].values() if isinstance(each, dict))
    for name in LISTS:
        if isinstance(schema.get(name), list):
            yield from (each for each in schema[name] if isinstance(each, dict))
    if isinstance(schema.get("items"), dict):
        yield schema["items"]
