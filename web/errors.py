"""Every failure leaves the door in OpenAI's shape."""

from __future__ import annotations

import math

import orjson
import structlog
from flask import Flask, Response
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.routing.exceptions import WebsocketMismatch

from mesh import errors
from mesh.errors import GatewayError
from mesh.logs import frames
from mesh.seal import SealBroken
from mesh.wire import Refused
from web.answer import Answer
from web.replies import HungUp

log = structlog.get_logger()


def body(error: GatewayError) -> bytes:
    return orjson.dumps({"error": error.body()})


def answer(error: GatewayError) -> Answer:
    """An error as an HTTP answer."""
    answer = Answer(body(error), error.status, dict(error.headers))
    if error.retry_after_s is not None or error.status in (429, 503):
        answer.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s or 1)))
    if error.status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def _of_http(error: HTTPException) -> GatewayError:
    if isinstance(error, RequestEntityTooLarge):
        return errors.BodyTooLarge("The request's body is larger than this gateway takes.")
    if isinstance(error, WebsocketMismatch):
        return errors.RequestError(
            "/v1/ws takes WebSockets only, and every other path plain HTTP.", code="websocket_mismatch"
        )
    match error.code:
        case 404:
            return errors.NotFound("There is nothing at this path.")
        case 405:
            return errors.MethodNotAllowed("This path does not take this method.")
        case _:
            return errors.RequestError(error.description or error.name)


def of(error: Exception) -> GatewayError:
    """The error that a caller is shown for whatever was raised."""
    if isinstance(error, GatewayError):
        return error
    if isinstance(error, HTTPException):
        return _of_http(error)
    if isinstance(error, HungUp):
        return errors.Cancelled("The client has gone.", code="client_closed_request")
    log.error("request_broke", why=type(error).__name__, frames=frames(error))
    if isinstance(error, SealBroken):
        return GatewayError(
            "What was stored could not be opened: it was sealed under a key that this process does not have."
        )
    if isinstance(error, Refused):
        return errors.StoreUnavailable("Redis refused a command; the gateway's log has the reason.", retry_after_s=5)
    return GatewayError("The gateway failed at this request; its log has the reason.")


def handle(error: Exception) -> Response:
    response = answer(of(error)).flask()
    if isinstance(error, HTTPException) and error.code == 405:
        for name, value in error.get_headers():
            if name == "Allow":
                response.headers[name] = value
    return response


def register(app: Flask) -> None:
    app.register_error_handler(Exception, handle)
