"""The OpenAPI 3.1 document of the door, its schemas from the types that validate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from mesh import errors
from web import answers, examples
from web.operations import OPERATIONS, JsonSchema, Operation, Parameter

REF = "#/components/schemas/{model}"
TAGS = {
    "Models at work": "What OpenAI's clients call.",
    "Guarding": "What the guard says of a text.",
    "Models": "What can be asked.",
    "Jobs": "Requests that outlive their connection: submit, watch, resume, cancel.",
    "Keys": "Who may use the gateway, and how much of it.",
    "Operation": "For who runs the gateway.",
}
ROLE_ERRORS = {"anyone": (), "user": (401,), "admin": (401, 403)}
FIGURES = {
    "x-gateway-provider": "Who answered.",
    "x-gateway-model": "The provider's own name of the model.",
    "x-gateway-queue-ms": "How long the job waited in its lane.",
    "x-gateway-overhead-ms": "The time that was not the provider's.",
    "x-gateway-cost-usd": "What it cost, in US dollars.",
    "x-gateway-attempts": "How many tries it took.",
    "x-gateway-estimated": "`true` where the provider reported no usage: the tokens, and the cost, are an estimate.",
    "x-gateway-guard": "What the guard did or warned of: `warn; VIOLENCE`, `block; WEAPONS`.",
    "x-gateway-dropped": "Unknown parameters that were left out, where the policy is `drop`.",
}
LEFT = {
    f"x-ratelimit-{what}-{unit}": f"{text} {unit} a minute, of the limit that is nearest; where there is one."
    for what, text in (
        ("limit", "How many"),
        ("remaining", "What is left of the"),
        ("reset", "When it is whole again:"),
    )
    for unit in ("requests", "tokens")
}


def document(version: str) -> dict[str, Any]:
    """The whole document, fit for JSON; costs tens of milliseconds, so ask once."""
    refs, schemas = _schemas()
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, refs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "AI gateway",
            "version": version,
            "summary": "One OpenAI-compatible API in front of every model, as a queue-backed worker mesh.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A key of the gateway, `gw-…`."}
            },
            "headers": {
                name: {"description": text, "schema": {"type": "string"}}
                for name, text in {
                    "x-request-id": "Names this request in the logs; your own, if you sent one.",
                    "x-gateway-job": "The job that the request became.",
                    "Location": "Where to look for it.",
                    "Retry-After": "Seconds until another try makes sense.",
                    **FIGURES,
                    **LEFT,
                }.items()
            },
            "responses": {f"Error{status}": _error(status) for status in _statuses()},
        },
    }


class _Schema(GenerateJsonSchema):
    """Pydantic's JSON Schema without a title for every field, which only repeats its name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _types() -> Iterator[tuple[Any, Literal["validation", "serialization"]]]:
    for operation in OPERATIONS:
        if operation.request is not None:
            yield operation.request, "validation"
        for kind in (operation.answer, operation.stream):
            if kind is not None:
                yield kind, "serialization"
    yield answers.ErrorAnswer, "serialization"


def _schemas() -> tuple[dict[Any, JsonSchema], dict[str, JsonSchema]]:
    """For each type of a body or an answer the reference to its schema, and all schemas by name."""
    inputs = [(kind, mode, TypeAdapter(kind)) for kind, mode in dict(_types()).items()]
    refs, top = TypeAdapter.json_schemas(inputs, ref_template=REF, schema_generator=_Schema)
    schemas: dict[str, JsonSchema] = top["$defs"]
    for schema in schemas.values():
        _tell_branches_apart(schema, schemas)
    return {kind: schema for (kind, _), schema in refs.items()}, schemas


def _tell_branches_apart(node: Any, schemas: Mapping[str, JsonSchema]) -> None:
    """Name the property that tells the members of a `oneOf`, where each of them has it as a constant."""
    if isinstance(node, list):
        for each in node:
            _tell_branches_apart(each, schemas)
    elif isinstance(node, dict):
        for each in node.values():
            _tell_branches_apart(each, schemas)
        refs = [branch.get("$ref", "") for branch in node.get("oneOf", ()) if isinstance(branch, dict)]
        for key in ("role", "type"):
            mapping = {
                schemas[ref.rpartition("/")[2]].get("properties", {}).get(key, {}).get("const"): ref
                for ref in refs
                if ref
            }
            if len(refs) > 1 and len(mapping) == len(refs) and None not in mapping:
                node["discriminator"] = {"propertyName": key, "mapping": mapping}


def _operation(operation: Operation, refs: Mapping[Any, JsonSchema]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "x-role": operation.role,
        "responses": _responses(operation, refs),
    }
    text = operation.description
    if operation.role == "admin":
        text = f"{text}\n\nNeeds a key with the role `admin`.".strip()
    if text:
        found["description"] = text
    if operation.role == "anyone":
        found["security"] = []
    if operation.parameters:
        found["parameters"] = [_parameter(each) for each in operation.parameters]
    if operation.request is not None:
        examples = {_slug(title): {"summary": title, "value": value} for title, value in operation.examples.items()}
        content = {"application/json": {"schema": refs[operation.request], "examples": examples}}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _parameter(each: Parameter) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": each.name,
        "in": each.where,
        "description": each.description,
        "schema": each.schema,
    }
    if each.where == "path":
        found["required"] = True
    if each.example is not None:
        found["example"] = each.example
    return found


def _responses(operation: Operation, refs: Mapping[Any, JsonSchema]) -> dict[str, Any]:
    names = ["x-request-id"]
    if operation.gateway != "none":
        names.append("x-gateway-job")
    content: dict[str, Any] = {}
    if operation.answer is not None:
        content["application/json"] = {"schema": refs[operation.answer], "example": operation.answer_example}
    if operation.stream is not None:
        content["text/event-stream"] = {"schema": refs[operation.stream], "example": operation.stream_example}
    figures = [*FIGURES, *LEFT] if operation.gateway == "figures" else []
    location = ["Location"] if operation.status == 202 else []
    text = {101: "The socket is open.", 202: "It waits."}.get(operation.status, "The answer.")
    found = {str(operation.status): _response(text, [*names, *figures, *location], content)}
    if operation.accepted:
        later = {"application/json": {"schema": refs[answers.AcceptedJob], "example": examples.ACCEPTED_JOB}}
        found["202"] = _response("It goes on as a job, because `Prefer` said so.", [*names, "Location"], later)
    statuses = {
        *operation.errors,
        *((401, 403) if operation.role == "admin" else (401,) if operation.role == "user" else ()),
    }
    if operation.role == "user":
        statuses |= {429} if operation.request is not None else set()
    for status in sorted(statuses):
        found[str(status)] = {"$ref": f"#/components/responses/Error{status}"}
    found["default"] = {"$ref": "#/components/responses/Error500"}
    return found


def _response(text: str, headers: list[str], content: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "description": text,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
    }
    return {**found, "content": content} if content else found


def _statuses() -> list[int]:
    return sorted({kind.status for kind in errors.BY_NAME.values()})


def _error(status: int) -> dict[str, Any]:
    kinds = [kind for kind in errors.BY_NAME.values() if kind.status == status]
    codes = sorted({kind.code for kind in kinds})
    headers = ["x-request-id", *(["Retry-After"] if status in (429, 503) else [])]
    example = {"error": kinds[0]("What is wrong, and what to do.").body()}
    content = {"application/json": {"schema": {"$ref": REF.format(model="ErrorAnswer")}, "example": example}}
    return _response(f"Codes: {', '.join(f'`{code}`' for code in codes)}.", headers, content)


def _slug(title: str) -> str:
    return "-".join("".join(letter if letter.isalnum() else " " for letter in title.lower()).split())
