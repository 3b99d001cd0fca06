"""Where texts stand in OpenAI's requests and answers, and how one is put in another's place.

Whatever is not known to be structure is a text: a new field of a request is looked at before anybody has heard of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["system", "developer", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Text:
    """One text of a request or an answer."""

    value: str
    role: Role
    place: str  # as an error's `param` names it: messages[2].content[0].text


_Path = tuple[int | str, ...]
_Found = tuple[_Path, str, Role]
_Walk = Callable[[Mapping[str, Any]], Iterator[_Found]]

# Parameters of a request whose strings are words of the API.
_STRUCTURE = frozenset(
    (
        "model", "modalities", "audio", "encoding_format", "reasoning_effort", "verbosity", "service_tier",
        "tool_choice", "function_call", "stream_options", "logit_bias", "prompt_cache_retention",
    )
)  # fmt: skip
# Strings of these names are words of JSON Schema or of a part's form, or data that is no text.
_FORM = frozenset(
    (
        "type", "format", "$ref", "$schema", "$id", "pattern", "strict", "detail", "syntax", "file_id", "file_data",
        "data", "url",
    )
)  # fmt: skip
_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "developer",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_SAID = ("content", "reasoning_content", "refusal")


def texts_of(body: Mapping[str, Any]) -> list[Text]:
    """Every text of a request: what stands around the conversation first, then the conversation in its order."""
    return [Text(value, role, _place(path)) for path, value, role in _of_request(body)]


def answer_texts(answer: Mapping[str, Any]) -> list[Text]:
    """Every text of an answer or of a chunk of one."""
    return [Text(value, role, _place(path)) for path, value, role in _of_answer(answer)]


def replaced(body: Mapping[str, Any], new: Mapping[str, str]) -> dict[str, Any]:
    """A request with other texts at these places; the given one is left as it is."""
    return _replaced(body, new, _of_request)


def answer_replaced(answer: Mapping[str, Any], new: Mapping[str, str]) -> dict[str, Any]:
    """The same for an answer or a chunk."""
    return _replaced(answer, new, _of_answer)


def is_json(place: str) -> bool:
    """Whether the text at this place of a request or an answer is itself JSON: a function's arguments."""
    return place.endswith(".arguments")


def _place(path: _Path) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def _replaced(body: Mapping[str, Any], new: Mapping[str, str], walk: _Walk) -> dict[str, Any]:
    whole = dict(body)
    copied: set[_Path] = {()}
    for path, _, _ in list(walk(body)):
        value = new.get(_place(path))
        if value is None:
            continue
        inner: Any = whole
        for depth, step in enumerate(path[:-1], 1):
            if path[:depth] not in copied:
                copied.add(path[:depth])
                inner[step] = inner[step].copy()
            inner = inner[step]
        inner[path[-1]] = value
    return whole


def _of_request(body: Mapping[str, Any]) -> Iterator[_Found]:
    for name, value in body.items():
        if name == "messages" or name in _STRUCTURE:
            continue
        role: Role = "developer" if name in ("tools", "functions", "response_format") else "user"
        if isinstance(value, str):
            yield (name,), value, role
        elif isinstance(value, list | dict):
            yield from _every((name,), value, role)
    messages = body.get("messages")
    for index, message in enumerate(messages if isinstance(messages, list) else ()):
        role = _ROLES.get(message.get("role"), "user")
        for name, value in message.items():
            if name in ("role", "tool_call_id", "audio"):
                continue
            if isinstance(value, str):
                yield ("messages", index, name), value, role
            elif name == "tool_calls":
                yield from _calls(("messages", index, name), value, role)
            elif isinstance(value, list | dict):
                yield from _every(("messages", index, name), value, role)


def _every(path: _Path, value: Sequence[Any] | Mapping[str, Any], role: Role) -> Iterator[_Found]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if isinstance(inner, str):
                if name not in _FORM:
                    yield (*path, name), inner, role
            elif isinstance(inner, list | dict):
                yield from _every((*path, name), inner, role)
    elif value and not isinstance(value[0], int):  # tokens are no text
        for index, inner in enumerate(value):
            if isinstance(inner, str):
                yield (*path, index), inner, role
            elif isinstance(inner, list | dict):
                yield from _every((*path, index), inner, role)


def _calls(path: _Path, calls: Iterable[Mapping[str, Any]] | None, role: Role) -> Iterator[_Found]:
    for index, call in enumerate(calls or ()):
        for kind, text in (("function", "arguments"), ("custom", "input")):
            value = (call.get(kind) or {}).get(text)
            if isinstance(value, str) and value:
                yield (*path, index, kind, text), value, role


def _of_answer(answer: Mapping[str, Any]) -> Iterator[_Found]:
    for at, choice in enumerate(answer.get("choices") or ()):
        text = choice.get("text")
        if isinstance(text, str) and text:
            yield ("choices", at, "text"), text, "assistant"
        for part in ("message", "delta"):
            said = choice.get(part)
            if not said:
                continue
            for name in _SAID:
                value = said.get(name)
                if isinstance(value, str) and value:
                    yield ("choices", at, part, name), value, "assistant"
                elif isinstance(value, list):  # parts, as some servers tell what was thought and what was said
                    yield from _every(("choices", at, part, name), value, "assistant")
            called = (said.get("function_call") or {}).get("arguments")
            if isinstance(called, str) and called:
                yield ("choices", at, part, "function_call", "arguments"), called, "assistant"
            yield from _calls(("choices", at, part, "tool_calls"), said.get("tool_calls"), "assistant")
