"""Stands before Flask and answers the three hot endpoints itself: Flask's routing and contexts cost 0.1 ms a
request."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any

from web import body, errors
from web.answer import Answer
from web.door import Door
from web.metrics import Requests
from web.requests import CHAT, COMPLETIONS, EMBEDDINGS, headers_in, parse
from web.respond import answer

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, Any], Iterable[bytes]]

HOT = frozenset((CHAT, COMPLETIONS, EMBEDDINGS))
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}")
_STATUSES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


def request_id(environ: Environ) -> str:
    """The caller's own id of the request, if it is a sane one, or a new one."""
    given: str = environ.get("HTTP_X_REQUEST_ID", "")
    return given if given and _REQUEST_ID.fullmatch(given) else os.urandom(16).hex()


def ask(door: Door, endpoint: str, environ: Environ) -> Answer:
    """A request to a hot endpoint, from its key to its answer; raises what is to be shown."""
    limits = door.config.requests
    caller = door.gatekeeper.caller(environ.get("HTTP_AUTHORIZATION", ""))
    parsed = parse(endpoint, body.read(environ, limits.max_body_bytes), limits, headers_in(environ))
    return answer(door, caller, parsed, environ)


class Front:
    def __init__(self, door: Door, flask: App, meters: Requests) -> None:
        self._door = door
        self._flask = flask
        self._meters = meters

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        endpoint = environ["PATH_INFO"]
        if endpoint not in HOT or environ["REQUEST_METHOD"] != "POST":
            return self._flask(environ, start_response)
        began = self._meters.now()
        try:
            answer = ask(self._door, endpoint, environ)
        except Exception as error:  # noqa: BLE001  # the last place where it can become an answer
            answer = errors.answer(errors.of(error))
        headers = [
            ("Content-Type", answer.content_type),
            *answer.headers.items(),
            ("x-request-id", request_id(environ)),
        ]
        given: Iterable[bytes] | Iterator[bytes] = answer.body if not isinstance(answer.body, bytes) else [answer.body]
        if isinstance(answer.body, bytes):
            headers.append(("Content-Length", str(len(answer.body))))
        start_response(_STATUSES.get(answer.status) or f"{answer.status} Unknown", headers)
        self._meters.count(endpoint, answer.status, began)
        return given
