"""What a stand-in says where a client expects sense: it calls the tools it is told to and fills the schemas it gets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from tests.standins import Heard, Reply, StandIn, Turn

_QUOTED = re.compile(r"'([^']+)'")
_NUMBER = re.compile(r"-?\d+")


class Mind(StandIn):
    """To be put before a wire's `Server`: the reply follows from the request."""

    def whole(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.reply = reply_to(self.heard(body), _choice(body))
        return super().whole(path, body)

    def frames(self, path: str, body: dict[str, Any]) -> list[bytes]:
        self.reply = reply_to(self.heard(body), _choice(body))
        return super().frames(path, body)


def reply_to(heard: Heard, choice: str) -> Reply:
    """Tools first, if there are any and the user spoke last; then what the schema wants; else words.

    choice: whatever the wire says about which tool to call.
    """
    last = heard.turns[-1]
    if heard.tools and last.role == "user" and "none" not in choice:
        return Reply(text="", calls=tuple(_called(heard.tools, choice, last.text)))
    if heard.schema is not None:
        return Reply(text=orjson.dumps(filled(heard.schema, last.text)).decode())
    if heard.json:
        return Reply(text=orjson.dumps({key: f"a {key}" for key in _QUOTED.findall(last.text)}).decode())
    return Reply(text=_words(last), reasoning="Let me see." if "Think" in last.text else "")


def _words(last: Turn) -> str:
    if last.role == "tool":
        return f"{last.tool} says: {last.text}"
    return f"You said: {last.text}{f' (and {len(last.images)} images)' if last.images else ''}"


def _choice(body: Mapping[str, Any]) -> str:
    for place in (body, body.get("toolConfig") or {}, body.get("additionalModelRequestFields") or {}):
        for key in ("tool_choice", "toolChoice"):
            if place.get(key):
                return orjson.dumps(place[key]).decode()
    return ""


def _called(tools: tuple[Any, ...], choice: str, said: str) -> Iterator[tuple[str, Any]]:
    """The tool that is forced; else those that the user named; else the first."""
    forced = [tool for tool in tools if f'"{tool["name"]}"' in choice]
    named = [tool for tool in tools if re.search(rf"\b{tool['name']}\b", said)]
    for tool in forced or named or tools[:1]:
        yield tool["name"], filled(tool.get("parameters") or {"type": "object"}, said)


def filled(schema: Mapping[str, Any], said: str) -> Any:
    """A value that satisfies the schema. Numbers and 'quoted' texts are those that were said, in order."""
    values = _Values(schema.get("$defs") or schema.get("definitions") or {}, said)
    return values.of(schema, "text")


class _Values:
    def __init__(self, definitions: Mapping[str, Any], said: str) -> None:
        self._definitions = definitions
        self._numbers = (int(number) for number in _NUMBER.findall(said))
        self._texts = iter(_QUOTED.findall(said))

    def of(self, schema: Mapping[str, Any], name: str) -> Any:
        if "$ref" in schema:
            return self.of(self._definitions[schema["$ref"].rpartition("/")[2]], name)
        for several in ("anyOf", "oneOf", "allOf"):
            if several in schema:
                return self.of(schema[several][0], name)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return schema["enum"][0]
        kind = schema.get("type")
        match kind[0] if isinstance(kind, list) else kind:
            case "object":
                return {key: self.of(each, key) for key, each in (schema.get("properties") or {}).items()}
            case "array":
                return [self.of(schema.get("items") or {}, name) for _ in range(schema.get("minItems") or 1)]
            case "integer" | "number":
                return next(self._numbers, 1)
            case "boolean":
                return True
            case "null":
                return None
            case _:
                return next(self._texts, f"a {name}")
