"""Every error has a place in OpenAI's API, and is the same error at the other end of the mesh."""

from __future__ import annotations

import inspect
import re

import orjson
import pytest

from mesh import errors
from mesh.errors import BY_NAME, Again, GatewayError

EVERY = sorted(BY_NAME.values(), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", EVERY)
def test_an_error_comes_back_as_it_was(kind: type[GatewayError]) -> None:
    error = kind("what is wrong", param="model", code="some_code", retry_after_s=1.5)
    error.headers = {"x-gateway-limit": "model.concurrent"}
    record = orjson.loads(orjson.dumps(errors.dump(error)))
    back = errors.load(record)
    assert type(back) is kind and back.body() == error.body()
    assert (back.status, back.retry_after_s, back.again) == (error.status, 1.5, error.again)
    assert back.headers == error.headers


@pytest.mark.parametrize("kind", EVERY)
def test_an_error_has_the_four_keys_whatever_is_left_out(kind: type[GatewayError]) -> None:
    body = kind("what is wrong").body()
    assert body == {"message": "what is wrong", "type": kind.type, "param": None, "code": kind.code}
    assert body["type"] and body["code"] and str(kind("what is wrong")) == "what is wrong"
    assert errors.load(errors.dump(kind("what is wrong"))).body() == body


@pytest.mark.parametrize("kind", EVERY)
def test_the_module_tells_each_with_its_status(kind: type[GatewayError]) -> None:
    if kind is not GatewayError:
        assert re.search(rf"\b{kind.__name__}\s+{kind.status}\b", inspect.getdoc(errors) or ""), kind.__name__


@pytest.mark.parametrize("kind", EVERY)
def test_only_a_providers_failure_is_tried_again(kind: type[GatewayError]) -> None:
    """What is the caller's own fault, or the gateway's, would fail in the same way; a context may fit elsewhere."""
    if kind.again is not Again.NEVER:
        assert issubclass(kind, errors.ProviderError) or kind is errors.ContextTooLong


@pytest.mark.parametrize("kind", EVERY)
def test_a_status_says_whose_fault_it_is(kind: type[GatewayError]) -> None:
    assert 400 <= kind.status < 600
    assert (kind.type == "rate_limit_error") == (kind.status == 429)
    if issubclass(kind, errors.RequestError):
        assert kind.status < 500 and kind.type == "invalid_request_error"


@pytest.mark.parametrize("record", [{"message": "new"}, {"class": "NotYetKnown", "message": "new"}])
def test_a_newer_workers_error_is_an_internal_one_with_its_message(record: dict[str, str]) -> None:
    error = errors.load(record)
    assert (
        type(error) is GatewayError
        and error.status == 500
        and error.message == "new"
        and error.body()["code"] == "internal_error"
    )
