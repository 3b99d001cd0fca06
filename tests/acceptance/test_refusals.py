"""What is wrong with a request is said by status, code and the parameter's name, and nothing reaches a provider."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.acceptance.gateway import CHAT, FOUR_KEYS, SETTINGS, Gateway, asked, chat, eventually, refused
from tests.stack import Process

GOOD = chat("gpt-4-refused")


def body(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (GOOD | changes).items() if value is not ...}


def deep(levels: int) -> bytes:
    return b'{"model": "gpt-4", "messages": ' + b"[" * levels + b"]" * levels + b"}"


BODIES = [
    pytest.param(b"", 400, "invalid_json", None, id="an empty body"),
    pytest.param(b"hello", 400, "invalid_json", None, id="not JSON"),
    pytest.param(b'{"model": "gpt-4", ', 400, "invalid_json", None, id="half a JSON"),
    pytest.param(b'{"model": NaN}', 400, "invalid_json", None, id="NaN"),
    pytest.param(b"\xff\xfe\x00", 400, "invalid_json", None, id="not UTF-8"),
    pytest.param(b"[]", 400, "invalid_type", None, id="an array"),
    pytest.param(b"null", 400, "invalid_type", None, id="null"),
    pytest.param(deep(65), 400, "json_too_deep", None, id="65 levels"),
    pytest.param(deep(100_000), 400, "json_too_deep", None, id="100,000 levels"),
    pytest.param(b"{" + b" " * 10_000_000 + b"}", 413, "request_too_large", None, id="10 MB"),
    pytest.param(body(model=...), 400, "missing_required_parameter", "model", id="no model"),
    pytest.param(body(model=7), 400, "invalid_type", "model", id="a number for a model"),
    pytest.param(body(model=""), 400, "empty_string", "model", id="an empty model"),
    pytest.param(body(messages=...), 400, "missing_required_parameter", "messages", id="no messages"),
    pytest.param(body(messages=[]), 400, "empty_array", "messages", id="empty messages"),
    pytest.param(body(messages="Hi"), 400, "invalid_type", "messages", id="a string for messages"),
    pytest.param(
        body(messages=[{"role": "user"}]), 400, "missing_required_parameter", "messages[0].content", id="no content"
    ),
    pytest.param(
        body(messages=[{"role": "boss", "content": ""}]), 400, "invalid_value", "messages[0].role", id="an unknown role"
    ),
    pytest.param(
        body(messages=[{"role": "user", "content": 5}]),
        400,
        "invalid_type",
        "messages[0].content",
        id="a number for content",
    ),
    pytest.param(body(temperature="hot"), 400, "invalid_type", "temperature", id="a string for temperature"),
    pytest.param(body(temperature=3), 400, "decimal_above_max_value", "temperature", id="too hot"),
    pytest.param(body(stream="yes"), 400, "invalid_type", "stream", id="a string for stream"),
    pytest.param(body(stream_options={}), 400, "invalid_value", "stream_options", id="stream options without a stream"),
    pytest.param(body(model="no-such-model"), 404, "model_not_found", "model", id="an unknown model"),
    pytest.param(body(model="closed-1"), 404, "model_not_found", "model", id="a model whose provider is not enabled"),
    pytest.param(body(provider="closed"), 400, "provider_disabled", "provider", id="a provider that is not enabled"),
    pytest.param(body(provider="nobody"), 400, "provider_not_found", "provider", id="an unknown provider"),
    pytest.param(body(fallbacks=["no-such-model"]), 404, "model_not_found", "fallbacks", id="an unknown fallback"),
    pytest.param(body(private=True), 400, "no_private_target", "private", id="private, to a provider that is not"),
    pytest.param(body(model="gpt-4o-mini", max_cost=1e-9), 400, "max_cost_exceeded", "max_cost", id="too little money"),
    pytest.param(body(max_cost=1), 400, "max_cost_exceeded", "max_cost", id="nobody knows the price"),
    pytest.param(body(max_cost=-1), 400, "decimal_below_min_value", "max_cost", id="less than no money"),
    pytest.param(body(timeout_ms=0), 400, "integer_below_min_value", "timeout_ms", id="no time"),
    pytest.param(body(timeout_ms=10**9), 400, "integer_above_max_value", "timeout_ms", id="too much time"),
    pytest.param(body(priority="urgent"), 400, "invalid_value", "priority", id="an unknown priority"),
    pytest.param(body(disconnect="maybe"), 400, "invalid_value", "disconnect", id="an unknown disconnect"),
]


@pytest.mark.parametrize(("sent", "status", "code", "param"), BODIES)
def test_a_bad_body_is_refused_by_name(
    http: httpx.Client, sent: Any, status: int, code: str, param: str | None
) -> None:
    response = http.post(CHAT, content=sent) if isinstance(sent, bytes) else http.post(CHAT, json=sent)
    error = refused(response, status)
    assert (error["code"], error["param"], error["type"]) == (code, param, "invalid_request_error")


OTHERS = [
    pytest.param(
        "/v1/completions", {"model": "gpt-4"}, "missing_required_parameter", "prompt", id="completions without a prompt"
    ),
    pytest.param(
        "/v1/embeddings", {"model": "gpt-4"}, "missing_required_parameter", "input", id="embeddings without input"
    ),
    pytest.param(
        "/v1/embeddings", {"model": "gpt-4", "input": ""}, "empty_string", "input", id="embeddings of nothing"
    ),
    pytest.param("/v1/jobs", {"body": GOOD}, "missing_required_parameter", "endpoint", id="a job without an endpoint"),
    pytest.param(
        "/v1/jobs",
        {"endpoint": "/v1/images", "body": GOOD},
        "invalid_value",
        "endpoint",
        id="a job for an unknown endpoint",
    ),
    pytest.param("/v1/jobs", {"endpoint": CHAT}, "missing_required_parameter", "body", id="a job without a body"),
    pytest.param(
        "/v1/jobs",
        {"endpoint": CHAT, "body": body(messages=[])},
        "empty_array",
        "body.messages",
        id="a job with empty messages",
    ),
    pytest.param(
        "/v1/jobs", {"endpoint": CHAT, "body": GOOD, "x": 1}, "unknown_parameter", "x", id="a job with more than that"
    ),
]


@pytest.mark.parametrize(("path", "sent", "code", "param"), OTHERS)
def test_a_bad_body_for_another_endpoint_is_refused_by_name(
    http: httpx.Client, path: str, sent: Any, code: str, param: str
) -> None:
    error = refused(http.post(path, json=sent), 400)
    assert (error["code"], error["param"]) == (code, param)


HEADERS = [
    pytest.param({"X-Gateway-Private": "perhaps"}, {}, "invalid_type", "private", id="not a boolean"),
    pytest.param({"X-Gateway-Timeout-Ms": "soon"}, {}, "invalid_type", "timeout_ms", id="not a number"),
    pytest.param(
        {"X-Gateway-Priority": "batch"},
        {"priority": "interactive"},
        "conflicting_values",
        "priority",
        id="unlike the body",
    ),
    pytest.param(
        {"X-Gateway-Provider": "closed"}, {}, "provider_disabled", "provider", id="a provider that is not enabled"
    ),
    pytest.param(
        {"Idempotency-Key": "k" * 256}, {}, "invalid_value", "Idempotency-Key", id="too long an idempotency key"
    ),
]


@pytest.mark.parametrize("path", [CHAT, "/v1/jobs"])
@pytest.mark.parametrize(("headers", "more", "code", "param"), HEADERS)
def test_a_bad_header_is_refused_by_name(
    http: httpx.Client, path: str, headers: dict[str, str], more: dict[str, Any], code: str, param: str
) -> None:
    sent = GOOD | more if path == CHAT else {"endpoint": CHAT, "body": GOOD | more}
    error = refused(http.post(path, json=sent, headers=headers), 400)
    assert error["code"] == code
    assert error["param"] in (param, f"body.{param}")


KEYS = [
    pytest.param({}, "missing_api_key", id="no key"),
    pytest.param({"Authorization": ""}, "missing_api_key", id="an empty header"),
    pytest.param({"Authorization": "Bearer"}, "missing_api_key", id="an empty key"),
    pytest.param({"Authorization": "Basic Z3c6Z3c="}, "missing_api_key", id="another scheme"),
    pytest.param({"Authorization": "Bearer sk-123"}, "invalid_api_key", id="another's key"),
    pytest.param({"Authorization": "Bearer gw-0-0"}, "invalid_api_key", id="an unknown id"),
    pytest.param({"Authorization": "Bearer gw-*-x"}, "invalid_api_key", id="an id that is none"),
    pytest.param({"Authorization": "Bearer " + "x" * 5000}, "invalid_api_key", id="a long one"),
]
GUARDED = [
    ("POST", CHAT), ("POST", "/v1/completions"), ("POST", "/v1/embeddings"), ("POST", "/v1/jobs"), ("GET", "/v1/jobs"),
    ("GET", "/v1/jobs/job-1"), ("DELETE", "/v1/jobs/job-1"), ("GET", "/v1/jobs/job-1/events"), ("GET", "/v1/models"),
    ("GET", "/v1/models/x"), ("GET", "/providers"), ("GET", "/config"), ("GET", "/settings"), ("GET", "/redis-test"),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "code"), KEYS)
def test_without_a_good_key_nothing_is_said(gateway: Gateway, headers: dict[str, str], code: str) -> None:
    with gateway.http("") as http:
        for method, path in GUARDED:
            response = http.request(method, path, headers=headers, content=b"not JSON" if method == "POST" else None)
            assert refused(response, 401)["code"] == code, (method, path)
            assert response.headers["www-authenticate"] == "Bearer"


def test_the_end_of_a_key_counts(gateway: Gateway) -> None:
    with gateway.http(gateway.key[:-1] + ("0" if gateway.key[-1] != "0" else "1")) as http:
        refused(http.get("/v1/models"), 401)


def test_an_administrators_pages_need_an_administrators_key(gateway: Gateway) -> None:
    with gateway.http() as user, gateway.http(gateway.admin_key) as admin:
        for path in ("/config", "/settings", "/redis-test"):
            error = refused(user.get(path), 403)
            assert (error["type"], error["code"]) == ("permission_error", "insufficient_permissions")
            asked(admin.get(path))


NO_JOBS = ["job-1", "job-" + "0" * 32, "%00", "..%2f..", "job-" + "é" * 8, "x" * 2000]


@pytest.mark.parametrize("job_id", NO_JOBS)
def test_there_is_no_such_job(http: httpx.Client, job_id: str) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/events")):
        assert refused(http.request(method, f"/v1/jobs/{job_id}{path}"), 404)["code"] in ("job_not_found", "not_found")


@pytest.fixture
def finished(gateway: Gateway, http: httpx.Client) -> str:
    response = http.post("/v1/jobs", json={"endpoint": CHAT, "body": chat(gateway.model()[0], stream=True)})
    job_id: str = asked(response, 202)["id"]
    gateway.ended(job_id)
    return job_id


def test_another_tenants_job_is_as_if_it_were_not_there(gateway: Gateway, finished: str) -> None:
    with gateway.http(gateway.other_key) as other:
        for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/events"), ("GET", "/events?starting_after=1")):
            error = refused(other.request(method, f"/v1/jobs/{finished}{path}"), 404)
            assert (error["code"], error["param"]) == ("job_not_found", "job_id")
        assert refused(other.get("/v1/jobs", params={"after": finished}), 400)["param"] == "after"
        assert finished not in [job["id"] for job in asked(other.get("/v1/jobs?limit=100"))["data"]]
    assert gateway.job(finished)["state"] == "done"


CURSORS = [
    pytest.param({"params": {"starting_after": "99999"}}, "cursor_out_of_range", id="past the end"),
    pytest.param({"params": {"starting_after": "-1"}}, "invalid_value", id="negative"),
    pytest.param({"params": {"starting_after": "x"}}, "invalid_value", id="a word"),
    pytest.param({"params": {"starting_after": ""}}, "invalid_value", id="empty"),
    pytest.param({"params": {"starting_after": "9" * 30}}, "invalid_value", id="enormous"),
    pytest.param({"params": {"starting_after": "²"}}, "invalid_value", id="not a digit in ASCII"),
    pytest.param({"headers": {"Last-Event-ID": "99999"}}, "cursor_out_of_range", id="a header past the end"),
    pytest.param({"headers": {"Last-Event-ID": "job-1:x"}}, "invalid_value", id="a header that is no number"),
]


@pytest.mark.parametrize(("where", "code"), CURSORS)
def test_a_bad_cursor_is_refused(http: httpx.Client, finished: str, where: dict[str, Any], code: str) -> None:
    error = refused(http.get(f"/v1/jobs/{finished}/events", **where), 400)
    assert (error["code"], error["param"]) == (code, "starting_after")


LISTS = [
    pytest.param({"limit": "0"}, "limit", id="limit 0"),
    pytest.param({"limit": "101"}, "limit", id="limit 101"),
    pytest.param({"limit": "-5"}, "limit", id="limit -5"),
    pytest.param({"limit": "ten"}, "limit", id="limit ten"),
    pytest.param({"limit": ""}, "limit", id="no limit"),
    pytest.param({"limit": "1" * 3000}, "limit", id="a long limit"),
    pytest.param({"state": "sleeping"}, "state", id="an unknown state"),
    pytest.param({"after": "job-0"}, "after", id="after no job"),
]


@pytest.mark.parametrize(("params", "param"), LISTS)
def test_a_bad_page_is_refused(http: httpx.Client, params: dict[str, str], param: str) -> None:
    assert refused(http.get("/v1/jobs", params=params), 400)["param"] == param


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v1/chat", "/v1/chat/completions/", "/v1/images/generations", "/../etc/passwd", "/%00", "/v1//jobs"],
)
def test_there_is_nothing_at_other_paths(http: httpx.Client, path: str) -> None:
    assert refused(http.get(path), 404)["code"] == "not_found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", CHAT, "POST"),
        ("PUT", "/v1/jobs", "GET"),
        ("POST", "/v1/models", "GET"),
        ("PATCH", "/v1/jobs/job-1", "DELETE"),
    ],
)
def test_another_method_is_refused(http: httpx.Client, method: str, path: str, allowed: str) -> None:
    response = http.request(method, path)
    assert refused(response, 405)["code"] == "method_not_allowed"
    assert allowed in response.headers["allow"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc-123", True), ("a" * 128, True), ("a" * 129, False), ("two words", False), ("<script>", False), ("", False)],
)
def test_a_request_id_is_kept_when_it_looks_like_one(http: httpx.Client, given: str, kept: bool) -> None:
    response = http.get("/health/live", headers={"x-request-id": given})
    assert (response.headers["x-request-id"] == given) is kept
    assert response.headers["x-request-id"]


def raw(gateway: Gateway, text: bytes) -> bytes:
    """Everything that the gateway says to these bytes until it closes."""
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    ("text", "status"),
    [
        pytest.param(b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n", 414, id="too long a path"),
        pytest.param(b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", 431, id="too long a header"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n", 400, id="a length that is no number"
        ),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, id="TLS to a plain port"),
    ],
)
def test_what_is_no_request_is_refused_in_the_same_shape(gateway: Gateway, text: bytes, status: int) -> None:
    head, _, told = raw(gateway, text).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"content-type: application/json" in head.lower() and b"x-request-id: " in head.lower()
    assert orjson.loads(told)["error"].keys() == FOUR_KEYS


def test_a_body_of_unknown_length_is_read_and_bounded_too(gateway: Gateway) -> None:
    model, part = gateway.model()
    sent = orjson.dumps(chat(model, "y" * 300_000))
    pieces = [sent[at : at + 50_000] for at in range(0, len(sent), 50_000)]
    with gateway.http() as client:
        asked(client.post(CHAT, content=iter(pieces)))
        assert part.asked == [orjson.loads(sent)]
        assert refused(client.post(CHAT, content=iter(pieces * 20)), 413)["code"] == "request_too_large"


def test_a_client_that_asks_whether_to_send_its_body_is_told_to(gateway: Gateway) -> None:
    model, part = gateway.model()
    sent = orjson.dumps(chat(model))
    head = [f"POST {CHAT} HTTP/1.1", "Host: x", f"Authorization: Bearer {gateway.key}", f"Content-Length: {len(sent)}"]
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall("\r\n".join([*head, "Expect: 100-continue", "Connection: close", "", ""]).encode())
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(sent)
        assert b"".join(iter(lambda: connection.recv(65536), b"")).startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(part.asked) == 1


@pytest.mark.parametrize(
    ("method", "whole"),
    [pytest.param("GET", b'{"status":"ok"}', id="with a body"), pytest.param("HEAD", b"\r\n\r\n", id="a head alone")],
)
def test_an_answer_leaves_in_one_piece(gateway: Gateway, method: str, whole: bytes) -> None:
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        for _ in range(2):  # the connection is kept
            connection.sendall(f"{method} /health/live HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answer = connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(whole)


def test_a_body_that_ends_too_soon_is_no_request(gateway: Gateway) -> None:
    model, part = gateway.model()
    sent = orjson.dumps(chat(model))
    head = [
        f"POST {CHAT} HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {gateway.key}",
        f"Content-Length: {len(sent) + 9}",
    ]
    assert b" 200 " not in raw(gateway, "\r\n".join([*head, "", ""]).encode() + sent) and not part.asked


def test_what_follows_a_body_that_was_not_read_is_the_next_request(gateway: Gateway) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer nobody\r\nContent-Length: 400000\r\n\r\n".encode()
    inside = b"GET /config HTTP/1.1\r\nHost: x\r\n\r\n"
    said = raw(
        gateway,
        head
        + inside
        + b" " * (400_000 - len(inside))
        + b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    assert [line.split()[1] for line in said.split(b"\r\n") if line.startswith(b"HTTP/1.1")] in (
        [b"401", b"200"],
        [b"401"],
    )


def test_plain_http_is_no_websocket(http: httpx.Client) -> None:
    assert refused(http.get("/v1/ws"), 400)["code"] == "websocket_mismatch"


def test_an_unknown_parameter_goes_through(http: httpx.Client, gateway: Gateway) -> None:
    model, part = gateway.model()
    asked(http.post(CHAT, json=chat(model, sparkle=5)))
    assert part.asked[0]["sparkle"] == 5


@pytest.mark.parametrize("policy", ["drop", "error"])
def test_an_unknown_parameter_does_not_go_through_where_the_config_says_so(
    gateway: Gateway, tmp_path: Path, policy: str
) -> None:
    model, part = gateway.model()
    web = _web(gateway, tmp_path, f"unknown_parameters: {policy}")
    sent = chat(model, sparkle=5, shine=6)
    with gateway.http(url=web.url) as client:
        answers = [
            client.post(CHAT, json=sent),
            client.post(CHAT, json=sent | {"stream": True}),
            client.post(CHAT, json=sent, headers={"Prefer": "respond-async"}),
            client.post("/v1/jobs", json={"endpoint": CHAT, "body": sent}),
        ]
    assert web.terminate() == 0
    if policy == "error":
        named = [(error["code"], error["param"]) for error in (refused(answer, 400) for answer in answers)]
        assert (
            named == [("unknown_parameter", "sparkle")] * 3 + [("unknown_parameter", "body.sparkle")] and not part.asked
        )
        return
    assert [answer.status_code for answer in answers] == [200, 200, 202, 202]
    assert {answer.headers["x-gateway-dropped"] for answer in answers} == {"sparkle, shine"}
    for answer in answers:
        gateway.ended(answer.headers["x-gateway-job"])
    assert len(part.asked) == 4 and not any("sparkle" in body or "shine" in body for body in part.asked)


def test_a_full_lane_is_a_503_and_a_crowded_memory_too(gateway: Gateway, tmp_path: Path) -> None:
    model, _ = gateway.model("idle-")
    settings = SETTINGS.replace("lanes: {", "lanes: {max_waiting: 2, memory_share: 0.5, ")
    web = _web(gateway, tmp_path, settings=settings)
    job = {"endpoint": CHAT, "body": chat(model, priority="interactive")}
    admin = gateway.stack.redis.admin()
    with gateway.http(url=web.url) as client:
        ids = [asked(client.post("/v1/jobs", json=job), 202)["id"] for _ in range(2)]
        assert refused(client.post("/v1/jobs", json=job), 503)["code"] == "overloaded"
        for job_id in ids:
            client.delete(f"/v1/jobs/{job_id}")
        ids = [asked(client.post("/v1/jobs", json=job), 202)["id"]]
        used: int = admin.info("memory")["used_memory"]
        admin.config_set("maxmemory", int(used * 1.9))
        try:
            eventually(lambda: client.post("/v1/jobs", json=job), lambda response: response.status_code == 503, 10)
            asked(client.get(f"/v1/jobs/{ids[0]}"))  # what is there can still be asked for, and ended
            asked(client.delete(f"/v1/jobs/{ids[0]}"))
        finally:
            admin.config_set("maxmemory", 0)
    assert web.terminate() == 0


def _web(gateway: Gateway, folder: Path, requests: str = "", settings: str = SETTINGS) -> Process:
    """Another web process beside the gateway's, with other limits."""
    (folder / "gateway-settings.yaml").write_text(
        settings.replace("requests: {", f"requests: {{{requests}, " if requests else "requests: {")
    )
    return gateway.stack.start_web(GATEWAY_CONFIG=str(folder))
