"""Stands before Flask and answers the three hot endpoints itself: Flask's routing and contexts cost 0.1 ms a
request. Our own worker asks it for them without WSGI; under any other server it is a WSGI application."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import Any

from web import body, errors
from web.answer import Answer
from web.door import Door
from web.http1 import HOT, Environ, status_line
from web.metrics import Requests
from web.requests import headers_in, parse
from web.respond import answer

StartResponse = Callable[..., Any]
App = Callable[[Environ, Any], Iterable[bytes]]

_REQUEST_ID = re.compile(r"[\w.:-]{1,128}")


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
        if environ["PATH_INFO"] not in HOT or environ["REQUEST_METHOD"] != "POST":
            return self._flask(environ, start_response)
        answer = self.answer(environ)
        headers = [("Content-Type", answer.content_type), *answer.headers.items()]
        if not isinstance(answer.body, bytes):
            start_response(status_line(answer.status), headers)
            return answer.body
        start_response(status_line(answer.status), [*headers, ("Content-Length", str(len(answer.body)))])
        return [answer.body]

    def answer(self, environ: Environ) -> Answer:
        """To a request at a hot endpoint; whatever goes wrong is an answer too."""
        began = self._meters.now()
        endpoint = environ["PATH_INFO"]
        try:
            answer = ask(self._door, endpoint, environ)
        except Exception as error:  # noqa: BLE001  # the last place where it can become an answer
            answer = errors.answer(errors.of(error))
        answer.headers["x-request-id"] = request_id(environ)
        self._meters.count(endpoint, answer.status, began)
        return answer
