"""The description of the API, and the page that shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from flask import Flask
from flask.testing import FlaskClient
from openai.types import Completion, CreateEmbeddingResponse
from openai.types import Model as OpenAIModel
from openai.types.chat import ChatCompletion, ChatCompletionChunk, completion_create_params
from openai.types.completion_create_params import CompletionCreateParams
from openai.types.embedding_create_params import EmbeddingCreateParams
from pydantic import TypeAdapter

from mesh import errors
from mesh.settings import RequestLimits
from web import answers
from web.endpoints.docs import PAGE, blueprint, content_security_policy
from web.openapi import document
from web.operations import OPERATIONS, Operation
from web.requests import CHAT, COMPLETIONS, EMBEDDINGS, parse
from web.requests.gateway_fields import HEADERS, NAMES

DOCUMENT = document("1.2.3")
OPENAI_REQUESTS: dict[str, Any] = {
    CHAT: completion_create_params.CompletionCreateParams,
    COMPLETIONS: CompletionCreateParams,
    EMBEDDINGS: EmbeddingCreateParams,
}
OPENAI_ANSWERS: dict[Any, Any] = {
    answers.ChatCompletion: ChatCompletion,
    answers.ChatCompletionChunk: ChatCompletionChunk,
    answers.Completion: Completion,
    answers.EmbeddingList: CreateEmbeddingResponse,
    answers.Model: OpenAIModel,
}


@pytest.fixture
def client() -> FlaskClient:
    app = Flask(__name__)
    app.register_blueprint(blueprint("1.2.3"))
    return app.test_client()


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for each in node.values():
            yield from nodes(each)
    elif isinstance(node, list):
        for each in node:
            yield from nodes(each)


def test_the_document_is_plain_json_of_version_3_1() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["info"]["version"] == "1.2.3"
    assert orjson.loads(orjson.dumps(DOCUMENT)) == DOCUMENT


def test_every_reference_leads_somewhere_and_every_component_is_used() -> None:
    refs = {node["$ref"] for node in nodes(DOCUMENT) if "$ref" in node}
    for ref in refs:
        place: Any = DOCUMENT
        for step in ref.removeprefix("#/").split("/"):
            place = place[step]
    for kind in ("schemas", "headers"):
        assert {f"#/components/{kind}/{name}" for name in DOCUMENT["components"][kind]} <= refs


def test_names_are_unique_and_fit() -> None:
    names = [operation.name for operation in OPERATIONS]
    assert len(names) == len(set(names))
    for kind, components in DOCUMENT["components"].items():
        assert all(re.fullmatch(r"[a-zA-Z0-9._-]+", name) for name in components), kind
    assert len({(operation.method, operation.path) for operation in OPERATIONS}) == len(OPERATIONS)
    assert {operation.tag for operation in OPERATIONS} == {tag["name"] for tag in DOCUMENT["tags"]}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_path_declares_the_parameters_that_it_has(operation: Operation) -> None:
    declared = {parameter.name for parameter in operation.parameters if parameter.where == "path"}
    assert declared == set(re.findall(r"{(\w+)}", operation.path))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_an_operation_tells_who_may_call_it_and_how_it_fails(operation: Operation) -> None:
    described = DOCUMENT["paths"][operation.path][operation.method]
    assert (described.get("security") == []) == (operation.role == "anyone")
    assert ("401" in described["responses"]) == (operation.role != "anyone")
    assert ("403" in described["responses"]) == (operation.role == "admin")
    for status, response in described["responses"].items():
        if status[0] in "45d":
            response = DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]]
            assert response["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/ErrorAnswer"}
        assert "x-request-id" in response["headers"]


def test_every_error_of_the_gateway_is_told_with_its_status_and_four_keys() -> None:
    for kind in errors.BY_NAME.values():
        response = DOCUMENT["components"]["responses"][f"Error{kind.status}"]
        assert f"`{kind.code}`" in response["description"]
        assert ("Retry-After" in response["headers"]) == (kind.status in (429, 503))
        example = response["content"]["application/json"]["example"]
        assert set(example["error"]) == {"message", "type", "param", "code"}
        TypeAdapter(answers.ErrorAnswer).validate_python(example)


def requests(role: str) -> Iterator[Any]:
    for operation in (each for each in OPERATIONS if each.role == role):
        for title, example in operation.examples.items():
            yield pytest.param(operation, example, id=f"{operation.name}: {title}")


@pytest.mark.parametrize(("operation", "example"), list(requests("admin")))
def test_an_example_of_what_an_admin_says_is_valid(operation: Operation, example: Any) -> None:
    TypeAdapter(operation.request).validate_python(example)


@pytest.mark.parametrize(("operation", "example"), list(requests("user")))
def test_an_example_of_a_request_is_one_that_the_door_and_openai_take(operation: Operation, example: Any) -> None:
    strict = RequestLimits(unknown_parameters="error")
    found = parse(operation.path, orjson.dumps(example), strict, {})
    theirs = TypeAdapter(OPENAI_REQUESTS[found.endpoint]).validate_python(found.body)
    assert set(theirs) == set(found.body)


def replies() -> Iterator[Any]:
    for operation in OPERATIONS:
        if operation.answer is not None:
            yield pytest.param(operation.answer, operation.answer_example, id=f"{operation.name}: answer")
        if operation.stream is not None:
            yield pytest.param(operation.stream, operation.stream_example, id=f"{operation.name}: event")


@pytest.mark.parametrize(("kind", "example"), list(replies()))
def test_an_example_of_an_answer_is_valid_and_readable_by_openais_client(kind: Any, example: Any) -> None:
    read = TypeAdapter(kind).validate_json(orjson.dumps(example), strict=True)
    assert TypeAdapter(kind).dump_python(read, mode="json", exclude_unset=True) == example
    if kind in OPENAI_ANSWERS:
        TypeAdapter(OPENAI_ANSWERS[kind]).validate_python(example)
    if kind is answers.ModelList:
        TypeAdapter(list[OpenAIModel]).validate_python(example["data"])


def test_the_gateways_fields_are_told_in_the_body_and_as_headers() -> None:
    for path in (CHAT, COMPLETIONS, EMBEDDINGS):
        operation = DOCUMENT["paths"][path]["post"]
        headers = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "header"}
        assert set(HEADERS.values()) <= headers
        ref = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        assert set(DOCUMENT["components"]["schemas"][ref.rpartition("/")[2]]["properties"]) > NAMES


def test_messages_and_parts_are_told_apart_by_a_property() -> None:
    message = DOCUMENT["components"]["schemas"]["ChatRequest"]["properties"]["messages"]["items"]
    assert message["discriminator"]["propertyName"] == "role"
    assert set(message["discriminator"]["mapping"]) == {
        "system", "developer", "user", "assistant", "tool", "function",
    }  # fmt: skip
    assert all("discriminator" in node for node in nodes(DOCUMENT["components"]["schemas"]) if "oneOf" in node)


def test_the_document_is_served_and_a_browser_may_keep_it(client: FlaskClient) -> None:
    answer = client.get("/openapi.json")
    assert answer.content_type == "application/json"
    assert answer.get_json() == DOCUMENT
    again = client.get("/openapi.json", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_the_page_runs_nothing_but_its_own_script(client: FlaskClient) -> None:
    answer = client.get("/docs")
    assert answer.content_type == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy and "*" not in policy
    assert policy == content_security_policy(answer.data)
    assert policy != content_security_policy(answer.data.replace(b'"use strict";', b"alert(1);"))


def test_the_page_needs_nothing_from_elsewhere_and_reads_nothing_as_html() -> None:
    page = PAGE.read_text()
    assert not re.search(r"https?://|//cdn|@import|url\(|\ssrc=", page)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser", page
    )
    assert not re.search(r"<[^>]+\s(on\w+|style)=", page)
    assert page.count("<script>") == page.count("<style>") == 1
