"""Bedrock's wire: signed requests, the model in the path, typed errors in a header, and streams in binary frames."""

from __future__ import annotations

import binascii
import hashlib
import hmac
import itertools
import json
import re
import struct
import urllib.parse
from collections.abc import Mapping
from typing import Any

import botocore.session
import orjson
from aiohttp import web
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from tests.standins import Fault, Heard, StandIn, Turn, serve, vector

CONVERSE = "/model/{model}/converse"
CONVERSE_STREAM = "/model/{model}/converse-stream"
INVOKE = "/model/{model}/invoke"

KEY_ID = "AKIDEXAMPLE000000000"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
REGION = "eu-central-1"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": KEY_ID,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}

SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<id>\w+)/(?P<scope>(?P<day>\d{8})/(?P<region>[a-z0-9-]+)/bedrock/aws4_request), "
    r"SignedHeaders=(?P<headers>[a-z0-9;-]+), Signature=(?P<signature>[0-9a-f]{64})"
)

KINDS = {
    400: "ValidationException",
    401: "UnauthorizedException",
    402: "PaymentRequiredException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    409: "ConflictException",
    413: "RequestEntityTooLargeException",
    422: "UnprocessableEntityException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
    504: "GatewayTimeoutException",
    529: "OverloadedException",
}
STOP_REASONS = {"stop": "end_turn", "length": "max_tokens"}

SERVICE: ServiceModel = botocore.session.get_session().get_service_model("bedrock-runtime")


def event_frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """A message of application/vnd.amazon.eventstream: two lengths and their CRC, headers, payload, the CRC of all."""
    packed = b"".join(
        struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", 7, len(value.encode())) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(packed) + len(payload), len(packed))
    message = prelude + struct.pack(">I", binascii.crc32(prelude)) + packed + payload
    return message + struct.pack(">I", binascii.crc32(message))


class Server(StandIn):
    paths = (CONVERSE, CONVERSE_STREAM, INVOKE)
    content_type = "application/vnd.amazon.eventstream"
    after_finish = 1
    alternates = True

    def __init__(self) -> None:
        super().__init__()
        self._answered = {"converse": 0, "converse-stream": 0}

    def add_routes(self, app: web.Application) -> None:
        super().add_routes(app)
        app.router.add_get("/inference-profiles", self._profiles)

    async def _profiles(self, request: web.Request) -> web.Response:
        return web.json_response({"inferenceProfileSummaries": []})

    def body(self, request: web.Request, raw: bytes) -> dict[str, Any]:
        _check_signature(request, raw)
        body = super().body(request, raw)
        operation = request.path.rpartition("/")[2]
        if operation != "invoke":
            self.check(operation, {"modelId": request.match_info["model"], **body})
        return {**body, "model": request.match_info["model"], "operation": operation}

    def check(self, operation: str, body: dict[str, Any]) -> None:
        """What Bedrock itself looks at before the model does; the SDK's own description says which fields there are."""
        _checked(operation, body)

    def heard(self, body: dict[str, Any]) -> Heard:
        system = [block["text"] for block in body.get("system") or () if "text" in block]
        turns = [Turn("system", "\n".join(system))] if system else []
        names: dict[str, str] = {}
        for message in body["messages"]:
            turns += _turns(message, names)
        config = body.get("toolConfig") or {}
        answer = self._answer_tool(body)
        shape = ((body.get("outputConfig") or {}).get("textFormat") or {}).get("structure", {}).get("jsonSchema")
        specs = [tool["toolSpec"] for tool in config.get("tools") or () if "toolSpec" in tool]
        wanted = orjson.loads(shape["schema"]) if shape else None
        for spec in specs:
            if spec["name"] == answer and spec["inputSchema"]["json"] != {"type": "object"}:
                wanted = spec["inputSchema"]["json"]
        settings = body.get("inferenceConfig") or {}
        names_of_options = {"maxTokens": "max_tokens", "topP": "top_p", "stopSequences": "stop"}
        return Heard(
            turns=tuple(turns),
            tools=tuple(_function(spec) for spec in specs if spec["name"] != answer),
            schema=wanted,
            json=answer is not None and wanted is None,
            options={names_of_options.get(name, name): value for name, value in settings.items()},
        )

    def model_list(self) -> tuple[str, dict[str, Any]]:
        kinds = {"one": ["ON_DEMAND"], "two": ["ON_DEMAND", "PROVISIONED"], "three": ["INFERENCE_PROFILE"]}
        models = [{"modelId": name, "inferenceTypesSupported": kinds[name]} for name in kinds]
        return "/foundation-models", {"modelSummaries": models}

    def key(self, headers: Mapping[str, str]) -> str | None:
        given = headers["Authorization"]
        return None if SIGNED.fullmatch(given) else given.removeprefix("Bearer ")

    def streamed(self, body: dict[str, Any]) -> bool:
        return bool(body["operation"] == "converse-stream")

    def error(self, status: int) -> Any:
        return {"type": KINDS.get(status, ""), "message": f"the reason for {status}"}

    def _refuse(self, fault: Fault) -> web.Response:
        raw, headers = fault.raw, dict(fault.headers)
        if raw is None:
            error = self.error(fault.status) if fault.error is None else fault.error
            if error["type"]:
                headers["x-amzn-ErrorType"] = (
                    f"{error['type']}:http://internal.amazon.com/coral/com.amazon.coral.service/"
                )
            raw = orjson.dumps({name: value for name, value in error.items() if name != "type"})
        return web.Response(status=fault.status, body=raw, headers=headers, content_type="application/json")

    async def _send_whole(self, request: web.Request, body: dict[str, Any], fault: Fault | None) -> web.StreamResponse:
        if fault is not None and fault.kind == "error inside":
            # An answer with status 200 is never an error here.
            return self._refuse(Fault("status", 500, error=fault.error))
        response = await super()._send_whole(request, body, fault)
        if "texts" in body and not response.prepared:
            response.headers["X-Amzn-Bedrock-Input-Token-Count"] = str(3 * len(body["texts"]))
        return response

    def frame(self, event: Any) -> bytes:
        if event is None:
            whole = self.frame({"messageStart": {"role": "assistant"}})
            return whole[:-1] + bytes([whole[-1] ^ 1])
        ((name, content),) = event.items()
        kind = "event"
        if name == "error":
            kind, name = "exception", content["type"][:1].lower() + content["type"][1:]
            content = {"message": content["message"]}
        # AWS pads each frame to hide the lengths of tokens.
        payload = orjson.dumps({**content, "p": "abcdefghijklm"})
        return event_frame({f":{kind}-type": name, ":content-type": "application/json", ":message-type": kind}, payload)

    def whole(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path.endswith("/invoke"):
            return _embedded(body)
        self._answered["converse"] += 1
        content: list[dict[str, Any]] = []
        if self.reply.reasoning:
            content.append({"reasoningContent": {"reasoningText": {"text": self.reply.reasoning, "signature": "sig"}}})
        answer = self._answer_tool(body)
        if answer is not None:
            content.append({"toolUse": {**self._use(answer, "a"), "input": orjson.loads(self.reply.text)}})
        elif self.reply.text:
            content.append({"text": self.reply.text})
        for number, (name, arguments) in enumerate(self.reply.calls):
            content.append(
                {"toolUse": {**self._use(name, f"{self._answered['converse']}_{number}"), "input": arguments}}
            )
        end = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": self._stop_reason(body)}
        return {**end, **self._metadata()}

    def frames(self, path: str, body: dict[str, Any]) -> list[bytes]:
        self._answered["converse-stream"] += 1
        events: list[dict[str, Any]] = [{"messageStart": {"role": "assistant"}}]
        blocks: list[tuple[dict[str, Any] | None, list[dict[str, Any]]]] = []
        if self.reply.reasoning:
            thoughts = [{"text": self.reply.reasoning}, {"signature": "sig"}]
            blocks.append((None, [{"reasoningContent": thought} for thought in thoughts]))
        answer = self._answer_tool(body)
        if answer is not None:
            blocks.append((self._use(answer, "a"), _inputs(orjson.loads(self.reply.text))))
        elif self.reply.text:
            blocks.append((None, [{"text": piece} for piece in self.reply.pieces()]))
        for number, (name, arguments) in enumerate(self.reply.calls):
            use = self._use(name, f"{self._answered['converse-stream']}_{number}")
            blocks.append((use, _inputs(arguments)))
        for index, (started, deltas) in enumerate(blocks):
            place = {"contentBlockIndex": index}
            if started is not None:
                events.append({"contentBlockStart": {"start": {"toolUse": started}, **place}})
            events += [{"contentBlockDelta": {"delta": delta, **place}} for delta in deltas]
            events.append({"contentBlockStop": place})
        events.append({"messageStop": {"stopReason": self._stop_reason(body)}})
        events.append({"metadata": self._metadata()})
        return [self.frame(event) for event in events]

    def _use(self, name: str, number: str) -> dict[str, Any]:
        return {"toolUseId": f"tooluse_{number}", "name": name}

    def _answer_tool(self, body: dict[str, Any]) -> str | None:
        """The tool that stands for an answer in JSON."""
        name = (((body.get("toolConfig") or {}).get("toolChoice") or {}).get("tool") or {}).get("name", "")
        return name if name.startswith("answer") else None

    def _stop_reason(self, body: dict[str, Any]) -> str:
        called = self.reply.calls or self._answer_tool(body)
        return "tool_use" if called else STOP_REASONS[self.reply.finish]

    def _metadata(self) -> dict[str, Any]:
        metadata: dict[str, Any] = {"metrics": {"latencyMs": 5}}
        if self.reply.usage is not None:
            prompt, completion = self.reply.usage
            metadata["usage"] = {
                "inputTokens": prompt,
                "outputTokens": completion,
                "totalTokens": prompt + completion,
                "cacheReadInputTokens": 0,
                "cacheWriteInputTokens": 0,
            }
        return metadata


def _inputs(arguments: Any) -> list[dict[str, Any]]:
    if not arguments:
        return [{"toolUse": {"input": ""}}]
    text = orjson.dumps(arguments).decode()
    return [{"toolUse": {"input": text[start : start + 5]}} for start in range(0, len(text), 5)]


def _turns(message: Mapping[str, Any], names: dict[str, str]) -> list[Turn]:
    turns: list[Turn] = []
    texts, images, calls = [], [], []
    for block in message["content"]:
        if "text" in block:
            texts.append(block["text"])
        elif "image" in block:
            images.append(block["image"]["source"]["bytes"])
        elif "toolUse" in block:
            use = block["toolUse"]
            names[use["toolUseId"]] = use["name"]
            calls.append((use["name"], use["input"]))
        elif "toolResult" in block:
            result = block["toolResult"]
            text = "\n".join(each["text"] for each in result["content"])
            turns.append(Turn("tool", text, tool=names[result["toolUseId"]]))
    if texts or images or calls:
        turns.append(Turn(message["role"], "\n".join(texts), tuple(images), tuple(calls)))
    return turns


def _function(spec: Mapping[str, Any]) -> dict[str, Any]:
    said = {name: spec[name] for name in ("name", "description") if name in spec}
    return {**said, "parameters": spec["inputSchema"]["json"]}


def _embedded(body: dict[str, Any]) -> dict[str, Any]:
    if "texts" in body:
        assert len(body["texts"]) <= 96 and body["input_type"]
        vectors = [vector(text, body.get("output_dimension")) for text in body["texts"]]
        return {"embeddings": {"float": vectors} if "embedding_types" in body else vectors, "id": "1"}
    return {"embedding": vector(body["inputText"], body.get("dimensions")), "inputTextTokenCount": 3}


def _refused(status: int, kind: str, message: str) -> web.HTTPException:
    refused = type(kind, (web.HTTPException,), {"status_code": status})
    return refused(headers={"x-amzn-ErrorType": kind}, text=json.dumps({"message": message}))  # type: ignore[no-any-return]


def _checked(operation: str, body: dict[str, Any]) -> None:
    name = "Converse" if operation == "converse" else "ConverseStream"
    report = ParamValidator().validate(body, SERVICE.operation_model(name).input_shape)
    wrong = report.generate_report() if report.has_errors() else ""
    messages = body["messages"]
    roles = [message["role"] for message in messages]
    blocks = [block for message in messages for block in message["content"]]
    if roles[:1] != ["user"] or any(one == other for one, other in itertools.pairwise(roles)):
        wrong = wrong or "A conversation must start with a user message, and roles must alternate."
    if any("text" in block and not block["text"].strip() for block in [*blocks, *body.get("system", ())]):
        wrong = wrong or "The text field in the ContentBlock object is blank."
    if any("toolUse" in block or "toolResult" in block for block in blocks) and "toolConfig" not in body:
        wrong = wrong or "The toolConfig field must be defined when using toolUse and toolResult content blocks."
    if wrong:
        raise _refused(400, "ValidationException", wrong)


def _check_signature(request: web.Request, raw: bytes) -> None:
    """Signature Version 4, computed again from what arrived."""
    given = request.headers.get("Authorization", "")
    if given.startswith("Bearer "):
        return
    found = SIGNED.fullmatch(given)
    if found is None:
        raise _refused(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
    if found["id"] != KEY_ID:
        raise _refused(403, "UnrecognizedClientException", "The security token included in the request is invalid.")
    signed = found["headers"].split(";")
    canonical = "\n".join(
        [
            request.method,
            urllib.parse.quote(request.raw_path.partition("?")[0], safe="/~"),
            request.query_string,
            *(f"{name}:{request.headers[name].strip()}" for name in signed),
            "",
            found["headers"],
            hashlib.sha256(raw).hexdigest(),
        ]
    )
    text = "\n".join(
        [
            "AWS4-HMAC-SHA256",
            request.headers["X-Amz-Date"],
            found["scope"],
            hashlib.sha256(canonical.encode()).hexdigest(),
        ]
    )
    key = f"AWS4{SECRET}".encode()
    for part in found["scope"].split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    if not hmac.compare_digest(hmac.new(key, text.encode(), "sha256").hexdigest(), found["signature"]):
        raise _refused(403, "InvalidSignatureException", "The request signature we calculated does not match.")
    if not {"host", "x-amz-date"} <= set(signed):
        raise _refused(403, "IncompleteSignatureException", "host and x-amz-date must be signed.")


if __name__ == "__main__":
    serve(Server)
