"""Puts back into an event what a request's placeholders stand for: a pure function of that one event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from guardrails.masking import restore, restore_json
from guardrails.texts import answer_replaced, answer_texts, is_json
from mesh.events import Event
from mesh.seal import JobSeal


@dataclass(frozen=True, slots=True)
class Masked:
    """What was hidden from the providers of one job."""

    values: Mapping[str, str] = field(default_factory=dict)  # by placeholder
    as_json: bool = False  # the answer is to be JSON, so a value goes into it as into a JSON string

    def __bool__(self) -> bool:
        return bool(self.values)

    def sealed(self, seal: JobSeal) -> bytes:
        return seal.seal("mask", orjson.dumps([self.as_json, self.values]))

    def restored(self, event: Event) -> Event:
        body = self.whole(event.body)
        return event if body is event.body else Event(event.kind, event.head, body)

    def whole(self, body: bytes) -> bytes:
        """An answer or a chunk with everything back in its place; the same object where nothing was hidden."""
        if b"<" not in body and b"&lt" not in body:
            return body
        answer: dict[str, Any] = orjson.loads(body)
        new = {}
        for text in answer_texts(answer):
            put = restore_json if self.as_json or is_json(text.place) else restore
            value = put(text.value, self.values)
            if value != text.value:
                new[text.place] = value
        return orjson.dumps(answer_replaced(answer, new)) if new else body


UNMASKED = Masked()


def opened(sealed: bytes, seal: JobSeal) -> Masked:
    """
    Raises:
        SealBroken: sealed under a master that this door does not have.
    """
    as_json, values = orjson.loads(seal.open("mask", sealed))
    return Masked(values, as_json)
