"""The hot endpoints' requests and answers as HTTP/1.1, between gunicorn's parser and the front.

WSGI in between would cost a sixth of what the door costs: an environment of thirty entries, an answer's headers looked
at one by one. It is imported before gevent patches the standard library, so nothing here may import ssl.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Generator
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

Environ = dict[str, Any]

HOT = frozenset(("/v1/chat/completions", "/v1/completions", "/v1/embeddings"))
_STATUSES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


def is_hot(request: Any) -> bool:
    """
    request: gunicorn's. What waits for a 100, and what is older than HTTP/1.1, goes the long way.
    """
    return (
        request.path in HOT
        and request.method == "POST"
        and request.version >= (1, 1)
        and not request._expected_100_continue
    )


def status_line(status: int) -> str:
    return _STATUSES.get(status) or f"{status} Unknown"


def environ(request: Any, client: Any) -> Environ:
    """What the front looks at of a WSGI environment.

    request: gunicorn's, which has refused what could be read in two ways.
    """
    found: Environ = {
        "REQUEST_METHOD": request.method,
        "PATH_INFO": request.path,
        "wsgi.input": request.body,
        "gunicorn.socket": client,
    }
    for name, value in request.headers:
        key = "CONTENT_LENGTH" if name == "CONTENT-LENGTH" else "HTTP_" + name.replace("-", "_")
        found[key] = f"{found[key]},{value}" if key in found else value
    return found


def send(client: Any, answer: Any, *, close: bool) -> None:
    """Write a `web.answer.Answer`; its head leaves with the first bytes of its body.

    close: the connection ends with it.
    """
    body = answer.body
    if isinstance(body, bytes):
        client.sendall(_head(answer, f"Content-Length: {len(body)}", close=close) + body)
        return
    held = _head(answer, "Transfer-Encoding: chunked", close=close)
    try:
        for part in body:
            if part:  # an empty chunk would end the answer
                client.sendall(b"%b%x\r\n%b\r\n" % (held, len(part), part))
                held = b""
        client.sendall(held + b"0\r\n\r\n")
    finally:
        if isinstance(body, Generator):
            body.close()


def _head(answer: Any, framing: str, *, close: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {status_line(answer.status)}",
        f"Date: {_date(int(time.time()))}",
        f"Content-Type: {answer.content_type}",
        framing,
        *[f"{name}: {value}" for name, value in answer.headers.items()],
        "Connection: close" if close else "Connection: keep-alive",
        "\r\n",
    ]
    head = "\r\n".join(lines)
    if head.count("\n") != len(lines) or head.count("\r") != len(lines):
        raise ValueError("a header's value has a line break in it")
    return head.encode("latin-1")


@functools.lru_cache(maxsize=1)
def _date(now_s: int) -> str:
    return formatdate(now_s, usegmt=True)
