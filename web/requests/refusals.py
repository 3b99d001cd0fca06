"""Why a body is refused, in OpenAI's words: pydantic's findings become one message, a code and a parameter's path.

In the types of this package every branch of a union carries a label that begins with "?": it tells branches from keys
in pydantic's paths and says in words what the branch expects.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pydantic import Discriminator, ValidationError
from pydantic_core import ErrorDetails

from mesh.errors import RequestError

Path = tuple[int | str, ...]

JSON_TYPES = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    list: "an array",
    dict: "an object",
    type(None): "null",
}
EXPECTED = {
    "string_type": "a string",
    "bool_type": "a boolean",
    "int_type": "an integer",
    "float_type": "a decimal",
    "list_type": "an array",
    "dict_type": "an object",
    "model_attributes_type": "an object",
}
QUOTED = re.compile(r"'([^']*)'")
SHOWN = 64  # characters of the caller's own text that a message repeats


class Refusal(NamedTuple):
    """One reason; `expected` is set where the type is wrong, and then reasons of several branches can be joined."""

    path: Path
    message: str
    code: str
    expected: str = ""


Reason = Callable[[Path, Any, dict[str, Any]], Refusal]


def json_type(value: object) -> str:
    return JSON_TYPES.get(type(value), "an unknown type")


def tagged(key: str, *tags: str) -> Discriminator:
    """Tells the members of a union by the text at `key`; each is labelled `Tag("?" + its text)`."""

    def label(value: Any) -> str | None:
        tag = value.get(key) if type(value) is dict else None
        return "?" + tag if type(tag) is str else None

    # The message is for `_tagged`; pydantic's own place for such facts, a dict, would make the annotation unhashable.
    return Discriminator(label, custom_error_type="tagged", custom_error_message=" ".join((key, *tags)))


def refuse(error: ValidationError) -> RequestError:
    """The finding that tells most: of the first wrong parameter, the branch that came furthest into the value."""
    found = [_refusal(each) for each in error.errors(include_url=False)]
    first = found[0].path
    same = [each for each in found if each.path[: len(first)] == first]
    # A branch that complains of a value has found the right type, the others have not.
    same = [each for each in same if not each.expected] or same
    best = max(same, key=_progress)
    message = best.message
    if best.expected:
        wanted = list(dict.fromkeys(each.expected for each in same if each.path == best.path))
        message = message.format(expected=wanted[0] if len(wanted) == 1 else f"one of {_listed(wanted)}")
    return RequestError(message, param=param(best.path), code=best.code)


def param(path: Path) -> str:
    """`messages[0].content`: brackets for places in arrays, dots between keys."""
    text = "".join(f"[{step}]" if type(step) is int else f".{step}" for step in path).removeprefix(".")
    return text if len(text) <= 4 * SHOWN else text[: 4 * SHOWN] + "…"


def _unsupported(path: Path, value: str, supported: Sequence[str]) -> Refusal:
    return Refusal(
        path,
        f"Invalid value: '{_cut(value)}'. Supported values are: {_listed([f'{each!r}' for each in supported], 'and')}.",
        "invalid_value",
    )


def _progress(refusal: Refusal) -> tuple[int, list[int]]:
    return len(refusal.path), [step for step in refusal.path if type(step) is int]


def _refusal(error: ErrorDetails) -> Refusal:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    path = tuple(step for step in error["loc"] if type(step) is int or not str(step).startswith("?"))
    if kind in EXPECTED:
        last = str(error["loc"][-1])
        return _wrong_type(path, last[1:] if last.startswith("?a") and " " in last else EXPECTED[kind], value)
    reason: Reason = REASONS.get(kind, _other)
    return reason(path, value, {**context, "message": error["msg"]})


def _wrong_type(path: Path, expected: str, value: object) -> Refusal:
    if expected == "an integer" and type(value) is float and abs(value) >= 2**63:
        side, code = ("above maximum", "above_max") if value > 0 else ("below minimum", "below_min")
        text = f"Invalid '{param(path)}': integer {side} value. Expected a value of at most 64 bits."
        return Refusal(path, text, f"integer_{code}_value")
    name = param(path).replace("{", "{{").replace("}", "}}")
    text = f"Invalid type for '{name}': expected {{expected}}, but got {json_type(value)} instead."
    return Refusal(path, text, "invalid_type", expected)


def _missing(path: Path, value: object, context: dict[str, Any]) -> Refusal:
    return Refusal(path, f"Missing required parameter: '{param(path)}'.", "missing_required_parameter")


def _tagged(path: Path, value: Any, context: dict[str, Any]) -> Refusal:
    key, *tags = context["message"].split()
    if type(value) is not dict:
        return _wrong_type(path, "an object", value)
    inner = (*path, key)
    if key not in value:
        return _missing(inner, value, context)
    tag = value[key]
    return _unsupported(inner, tag, tags) if type(tag) is str else _wrong_type(inner, "a string", tag)


def _literal(path: Path, value: object, context: dict[str, Any]) -> Refusal:
    if type(value) is not str:
        return _wrong_type(path, "a string", value)
    return _unsupported(path, value, QUOTED.findall(context["expected"]))


def _bound(sign: str, key: str, side: str, code: str) -> Reason:
    def reason(path: Path, value: Any, context: dict[str, Any]) -> Refusal:
        bound = context[key]
        noun = "integer" if type(bound) is int else "decimal"
        text = f"{noun} {side} value. Expected a value {sign} {bound:.15g}, but got {value} instead."
        return Refusal(path, f"Invalid '{param(path)}': {text}", f"{noun}_{code}_value")

    return reason


def _too_long(path: Path, value: Any, context: dict[str, Any]) -> Refusal:
    most = context["max_length"]
    if type(value) is dict:
        text, code = "too many properties. Expected an object with at most", "object_above_max_properties"
    else:
        noun = "string" if type(value) is str else "array"
        text, code = f"{noun} too long. Expected {json_type(value)} with maximum length", f"{noun}_above_max_length"
    text = f"{text} {most}, but got one with {len(value)}"
    return Refusal(path, f"Invalid '{param(path)}': {text} instead.", code)


def _too_short(path: Path, value: Any, context: dict[str, Any]) -> Refusal:
    noun = "string" if type(value) is str else "array"
    text = f"empty {noun}. Expected {json_type(value)} with minimum length {context['min_length']}"
    return Refusal(path, f"Invalid '{param(path)}': {text}, but got an empty one instead.", f"empty_{noun}")


def _pattern(path: Path, value: Any, context: dict[str, Any]) -> Refusal:
    text = f"string does not match pattern. Expected a string that matches the pattern '{context['pattern']}'."
    return Refusal(path, f"Invalid '{param(path)}': {text}", "invalid_value")


def _other(path: Path, value: object, context: dict[str, Any]) -> Refusal:
    return Refusal(path, f"Invalid value for '{param(path)}': {context['message']}.", "invalid_value")


REASONS: dict[str, Reason] = {
    "missing": _missing,
    "tagged": _tagged,
    "literal_error": _literal,
    "greater_than": _bound(">", "gt", "below minimum", "below_min"),
    "greater_than_equal": _bound(">=", "ge", "below minimum", "below_min"),
    "less_than": _bound("<", "lt", "above maximum", "above_max"),
    "less_than_equal": _bound("<=", "le", "above maximum", "above_max"),
    "too_long": _too_long,
    "string_too_long": _too_long,
    "too_short": _too_short,
    "string_too_short": _too_short,
    "string_pattern_mismatch": _pattern,
}


def _cut(text: str) -> str:
    shown = text if len(text) <= SHOWN else text[:SHOWN] + "…"
    return json.dumps(shown, ensure_ascii=False)[1:-1]


def _listed(words: Sequence[str], last: str = "or") -> str:
    if len(words) < 3:
        return f" {last} ".join(words)
    return f"{', '.join(words[:-1])}, {last} {words[-1]}"
