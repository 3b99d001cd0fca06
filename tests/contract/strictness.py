"""What an answer has that OpenAI's own types do not know, at any depth."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

OURS = {"": {"provider", "gateway"}, "message": {"reasoning_content"}, "delta": {"reasoning_content"}}


def read(kind: type[BaseModel], answer: dict[str, Any]) -> list[str]:
    """The places of unknown fields; it fails where a field is missing, or is of another type."""
    return unknown(kind.model_validate(answer, strict=True))


def unknown(model: BaseModel, place: str = "") -> list[str]:
    found = [
        f"{place}.{name}" for name in model.model_extra or {} if name not in OURS.get(place.rpartition(".")[2], ())
    ]
    for name in type(model).model_fields:
        value = getattr(model, name)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, BaseModel):
                found += unknown(each, f"{place}.{name}")
    return found
