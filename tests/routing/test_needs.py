"""What a request demands of a model, read from its body."""

from __future__ import annotations

from typing import Any

import pytest

from routing import needs
from routing.needs import NO_NEEDS, Needs


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


TEXT = {"type": "text", "text": "Hello"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 40_000}}
CASES = [
    pytest.param({"messages": [{"role": "user", "content": "Hello"}]}, NO_NEEDS, id="a text"),
    pytest.param(user(TEXT), NO_NEEDS, id="a part of text"),
    pytest.param(user(TEXT, IMAGE), Needs(inputs=frozenset({"image"})), id="a picture"),
    pytest.param(user({"type": "input_audio", "input_audio": {}}), Needs(inputs=frozenset({"audio"})), id="speech"),
    pytest.param(user({"type": "file", "file": {}}), Needs(inputs=frozenset({"file"})), id="a file"),
    pytest.param({"messages": [{"role": "assistant", "tool_calls": []}]}, NO_NEEDS, id="no content"),
    pytest.param({"tools": [{}]}, Needs(tools=True), id="tools"),
    pytest.param({"tools": []}, NO_NEEDS, id="an empty list of tools"),
    pytest.param({"response_format": {"type": "json_schema"}}, Needs(json_schema=True), id="a schema"),
    pytest.param({"response_format": {"type": "json_object"}}, NO_NEEDS, id="JSON without a schema"),
    pytest.param({"modalities": ["text", "audio"]}, Needs(outputs=frozenset({"audio"})), id="a spoken answer"),
    pytest.param({"input": "text"}, NO_NEEDS, id="an embedding"),
]


@pytest.mark.parametrize(("body", "expected"), CASES)
def test_a_body_tells_what_it_needs(body: dict[str, Any], expected: Needs) -> None:
    assert needs.of(body, 0) == expected


def test_tokens_are_estimated_by_characters_without_a_pictures_bytes() -> None:
    assert needs.of({}, 4000).prompt_tokens == 1000
    assert needs.of(user(TEXT, IMAGE), 44_000).prompt_tokens <= 1000
