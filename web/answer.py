"""What goes back over HTTP, in the form in which both the front and Flask can give it away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

from flask import Response

JSON = "application/json"
_PRINTABLE = " !\"#$&'()*+,/:;<=>?@[\\]^`{|}~"
_LONGEST_HEADER = 1000  # characters

Push = Callable[[bytes], bool]  # writes without waiting; whether nothing is left to be written


def in_header(text: str) -> str:
    """A text of others as a header's value: what is not printable ASCII is percent-encoded."""
    text = text[:_LONGEST_HEADER]
    return text if text.isascii() and text.isprintable() else quote(text, safe=_PRINTABLE)


@dataclass(slots=True)
class Answer:
    body: bytes | Iterator[bytes]
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)  # beside Content-Type and Content-Length
    content_type: str = JSON
    # Told how parts can be written while the iteration of the body waits for one, so that they need not wake it. Under
    # WSGI, which has no such way, it is not told, and all parts come from the body.
    straight: Callable[[Push], None] | None = None

    def flask(self) -> Response:
        return Response(self.body, self.status, headers=self.headers, content_type=self.content_type)
