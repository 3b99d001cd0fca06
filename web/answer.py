"""What goes back over HTTP, in the form in which both the front and Flask can give it away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from flask import Response

JSON = "application/json"


@dataclass(slots=True)
class Answer:
    body: bytes | Iterator[bytes]
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)  # beside Content-Type and Content-Length
    content_type: str = JSON

    def flask(self) -> Response:
        return Response(self.body, self.status, headers=self.headers, content_type=self.content_type)
