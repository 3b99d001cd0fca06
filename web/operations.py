"""What a caller can do at the door, one row an operation, with examples that work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter

from mesh.job import State
from routing.ledger import GROUPS
from web import answers, examples
from web.keys import KeySettings, NewKey, TenantSettings
from web.requests.chat import ChatRequest
from web.requests.completions import CompletionRequest
from web.requests.embeddings import EmbeddingRequest
from web.requests.gateway_fields import HEADERS, GatewayParameters
from web.requests.guard import CheckRequest, ModerationRequest
from web.requests.jobs import JobRequest
from web.requests.keys import Rotation
from web.requests.pulls import PullRequest
from web.requests.route import RouteRequest

JsonSchema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    where: Literal["path", "query", "header"]
    description: str
    schema: JsonSchema = field(default_factory=lambda: {"type": "string"})
    example: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row of the table: what a caller can do."""

    method: Literal["get", "post", "delete"]
    path: str
    name: str  # the operationId
    tag: str
    summary: str
    description: str = ""
    role: Literal["anyone", "user", "admin"] = "user"
    parameters: tuple[Parameter, ...] = ()
    request: Any = None  # the type of the body
    examples: Mapping[str, Any] = field(default_factory=dict)  # of the body, by their summaries
    status: int = 200
    answer: Any = None  # the type of the JSON answer
    answer_example: Any = None
    stream: Any = None  # the type of an event's data
    stream_example: Any = None
    gateway: Literal["none", "job", "figures"] = "none"  # which x-gateway-* headers the answer carries
    accepted: bool = False  # may answer 202 with a job instead
    errors: tuple[int, ...] = ()  # beside those that the role brings


def _gateway_parameters() -> tuple[Parameter, ...]:
    known = TypeAdapter(GatewayParameters).json_schema()["properties"]
    return tuple(
        Parameter(
            header, "header", f"{known[name]['description']} The same as `{name}` in the body.", _header(known[name])
        )
        for name, header in HEADERS.items()
    )


def _header(schema: JsonSchema) -> JsonSchema:
    value = next(branch for branch in schema["anyOf"] if branch.get("type") != "null")
    return {"type": "string", "description": "Comma-separated."} if value.get("type") == "array" else value


IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key", "header", "A repeated request with this key is answered by the first one's job.",
    {"type": "string", "maxLength": 256},
)  # fmt: skip
PREFER = Parameter(
    "Prefer", "header", "`respond-async`: answer 202 at once. `wait=N`: answer 202 if it is not done in N seconds.",
    example="wait=30",
)  # fmt: skip
JOB = Parameter("job_id", "path", "A job of your own.", {"type": "string"}, examples.JOB_ID)
ASKING = (*_gateway_parameters(), IDEMPOTENCY_KEY)
OPENAI_ERRORS = (400, 403, 404, 409, 413, 429, 499, 502, 503, 504)

WEBSOCKET = """Many conversations on one socket. Authenticate with the Authorization header or the subprotocol
`bearer.<key>`, never in the URL. Every frame is a JSON object in a text message.

Frames to the gateway:
- `{"type": "chat.create", "stream_id": "a", "body": {…}}`: a body of POST /v1/chat/completions
- `{"type": "job.resume", "stream_id": "a", "job_id": "job-…", "starting_after": 12}`
- `{"type": "job.cancel", "job_id": "job-…"}`
- `{"type": "ping"}`

Frames from it carry `stream_id`, `job_id` and `sequence_number`:
- `job.queued`: `position`, `eta_ms`
- `job.started`: `provider`, `model`, `attempt`
- `chunk`: a chat.completion.chunk in `data`
- `job.done`: `usage`, `cost_usd`, `estimated` (whether they are an estimate), `finish_reason`
- `error`: the four keys of an error in `error`, and `retry_after_s` where another try makes sense
- `pong`

Close codes: 1001 the gateway shuts down (resume elsewhere), 1009 a frame is too large, 1013 too many sockets."""

KEY = Parameter("key_id", "path", "The key's id: what stands between the first two hyphens.", example="1f0c9a52e0b3")
TENANT = Parameter("tenant", "path", "A tenant's name.", example="acme")

DATE: JsonSchema = {"type": "string", "format": "date"}

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="post", path="/v1/chat/completions", name="createChatCompletion", tag="Models at work",
        summary="Answer a conversation",
        description="OpenAI's request, with fields of the gateway's own. It waits for the answer, or streams it.",
        parameters=(*ASKING, PREFER), request=ChatRequest, examples=examples.CHAT_EXAMPLES,
        answer=answers.ChatCompletion, answer_example=examples.CHAT_ANSWER,
        stream=answers.ChatCompletionChunk, stream_example=examples.CHUNK_EXAMPLE,
        gateway="figures", accepted=True, errors=OPENAI_ERRORS,
    ),
    Operation(
        method="post", path="/v1/completions", name="createCompletion", tag="Models at work",
        summary="Continue a text",
        parameters=ASKING, request=CompletionRequest,
        examples={"A beginning": {"model": "smollm2:135m", "prompt": "Once upon a time", "max_tokens": 32}},
        answer=answers.Completion, answer_example=examples.COMPLETION_ANSWER,
        stream=answers.Completion, stream_example=examples.COMPLETION_ANSWER,
        gateway="figures", errors=OPENAI_ERRORS,
    ),
    Operation(
        method="post", path="/v1/embeddings", name="createEmbedding", tag="Models at work",
        summary="Turn texts into vectors",
        parameters=ASKING, request=EmbeddingRequest,
        examples={"Two texts": {"model": "all-minilm-l6-v2", "input": ["a queue", "a mesh"]}},
        answer=answers.EmbeddingList, answer_example=examples.EMBEDDING_ANSWER,
        gateway="figures", errors=OPENAI_ERRORS,
    ),
    Operation(
        method="post", path="/v1/moderations", name="createModeration", tag="Guarding",
        summary="Whether texts are harmful, in OpenAI's form",
        description="The guard that judges every request says so, by the caller's own rules; no model is asked.",
        request=ModerationRequest, examples={"A text": {"input": "How do I bake bread?"}},
        answer=answers.ModerationAnswer, answer_example=examples.MODERATION_ANSWER, errors=(400, 413, 503),
    ),
    Operation(
        method="post", path="/v1/guard/check", name="checkText", tag="Guarding",
        summary="What the guard would do with a text",
        description="A dry run: what is found and where, what follows, and the text as it would be masked.",
        request=CheckRequest, examples={"A text": {"text": "Write to jane@example.com"}},
        answer=answers.GuardCheck, answer_example=examples.CHECK_ANSWER, errors=(400, 413, 503),
    ),
    Operation(
        method="get", path="/v1/models", name="listModels", tag="Models",
        summary="The models that can be asked",
        answer=answers.ModelList, answer_example={"object": "list", "data": [examples.MODEL_EXAMPLE]},
    ),
    Operation(
        method="get", path="/v1/models/{model}", name="retrieveModel", tag="Models",
        summary="One model",
        parameters=(Parameter("model", "path", "Its id; slashes are allowed.", {"type": "string"}, "smollm2:135m"),),
        answer=answers.Model, answer_example=examples.MODEL_EXAMPLE, errors=(404,),
    ),
    Operation(
        method="post", path="/v1/route", name="explainRoute", tag="Models",
        summary="Where a request would go, and why",
        description="Nothing is sent. Every candidate is told: kept or dropped and why, its price and its time.",
        parameters=_gateway_parameters(), request=RouteRequest,
        examples={"A question": {"endpoint": "/v1/chat/completions", **examples.CHAT_EXAMPLE}},
        answer=answers.Route, answer_example=examples.ROUTE_EXAMPLE, errors=(400, 404, 413),
    ),
    Operation(
        method="post", path="/v1/models/pull", name="pullModel", tag="Models", role="admin",
        summary="Have a provider fetch a model",
        description="A model that is being fetched already is not asked for again: the answer is what is known of it.",
        request=PullRequest, examples={"A small model": {"provider": "ollama", "model": "llama3.2:1b"}},
        status=202, answer=answers.ModelPull, answer_example=examples.PULL_EXAMPLE, errors=(400, 413, 429, 503),
    ),
    Operation(
        method="get", path="/v1/models/pulls", name="listPulls", tag="Models", role="admin",
        summary="The models that providers fetch, or have fetched lately",
        answer=answers.ModelPullList, answer_example={"object": "list", "data": [examples.RUNNING_PULL]},
        errors=(503,),
    ),
    Operation(
        method="post", path="/v1/jobs", name="createJob", tag="Jobs",
        summary="Submit a request and come back for its answer",
        parameters=ASKING, request=JobRequest,
        examples={"A question": {"endpoint": "/v1/chat/completions", "body": examples.CHAT_EXAMPLE}},
        status=202, answer=answers.AcceptedJob, answer_example=examples.ACCEPTED_JOB, gateway="job",
        errors=(400, 404, 409, 413, 429, 503),
    ),
    Operation(
        method="get", path="/v1/jobs", name="listJobs", tag="Jobs",
        summary="Your jobs, newest first",
        parameters=(
            Parameter("state", "query", "Only jobs in this state.", {"enum": [state.value for state in State]}),
            Parameter("after", "query", "Only jobs that come after this one in the list."),
            Parameter("limit", "query", "At most so many.",
                      {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}),
        ),
        answer=answers.JobList,
        answer_example={
            "object": "list", "data": [examples.LISTED_JOB], "has_more": False,
            "first_id": examples.JOB_ID, "last_id": examples.JOB_ID,
        },
        errors=(400, 503),
    ),
    Operation(
        method="get", path="/v1/jobs/{job_id}", name="retrieveJob", tag="Jobs",
        summary="A job: its state, place in the queue, timeline and answer",
        parameters=(JOB,), answer=answers.Job, answer_example=examples.JOB_EXAMPLE, gateway="job", errors=(404, 503),
    ),
    Operation(
        method="delete", path="/v1/jobs/{job_id}", name="cancelJob", tag="Jobs",
        summary="Cancel a job",
        description="A waiting job is closed at once; a running one as soon as its worker hears of it. "
                    "A job that has ended stays as it is.",
        parameters=(JOB,), answer=answers.Job, answer_example=examples.CANCELLED_JOB,
        gateway="job", errors=(404, 503),
    ),
    Operation(
        method="get", path="/v1/jobs/{job_id}/events", name="streamJobEvents", tag="Jobs",
        summary="A job's events from any number on",
        description="The same events as the stream of the request itself, each with `id: {job}:{seq}`: "
                    "live or finished, from any replica, for several viewers at once.",
        parameters=(
            JOB,
            Parameter("starting_after", "query", "The number of the last event that was seen.",
                      {"type": "integer", "minimum": 0}),
            Parameter("Last-Event-ID", "header", "The `id` of the last event that was seen.",
                      example=f"{examples.JOB_ID}:12"),
        ),
        stream=answers.ChatCompletionChunk, stream_example=examples.CHUNK_EXAMPLE,
        gateway="job", errors=(400, 404, 503),
    ),
    Operation(
        method="get", path="/v1/shadows", name="listShadows", tag="Jobs", role="admin",
        summary="Jobs that were shadowed by another model, with both answers",
        parameters=(
            Parameter("limit", "query", "At most so many.",
                      {"type": "integer", "minimum": 1, "maximum": 20, "default": 20}),
        ),
        answer=answers.ShadowList,
        answer_example={
            "object": "list",
            "data": [
                {
                    "object": "shadow", "tenant": "default", "model": "fast", "created": 1737590400,
                    "job": examples.JOB_EXAMPLE, "shadow": None,
                }
            ],
        },
        errors=(400, 503),
    ),
    Operation(
        method="get", path="/v1/ws", name="openWebSocket", tag="Jobs",
        summary="Many conversations on one WebSocket",
        description=WEBSOCKET, status=101, errors=(400, 503),
    ),
    Operation(
        method="get", path="/health", name="health", tag="Operation", role="anyone",
        summary="Whether the gateway is well",
        answer=answers.Health,
        answer_example={"status": "ok", "redis": "ok", "providers": ["ollama"], "waiting": 0}, errors=(503,),
    ),
    Operation(
        method="get", path="/health/live", name="healthLive", tag="Operation", role="anyone",
        summary="Whether this process turns (liveness probe)",
        answer=answers.Alive, answer_example={"status": "ok"},
    ),
    Operation(
        method="get", path="/health/ready", name="healthReady", tag="Operation", role="anyone",
        summary="Whether this process takes requests (readiness probe)",
        answer=answers.Alive, answer_example={"status": "ok"}, errors=(503,),
    ),
    Operation(
        method="get", path="/providers", name="listProviders", tag="Operation",
        summary="The providers that are served",
        answer=answers.ProviderList,
        answer_example={
            "object": "list",
            "data": [
                {
                    "name": "ollama", "adapter": "ollama", "private": True, "enabled": True,
                    "prefixes": ["llama", "smollm2"], "workers": 1,
                    "lanes": {"interactive": {"waiting": 0, "running": 1}, "batch": {"waiting": 3, "running": 0}},
                    "models": ["smollm2:135m"], "pulls": True, "listed": 1737590400,
                    "last_error": {
                        "at": 1737580000, "kind": "ProviderUnavailable", "code": "provider_unavailable",
                        "message": "ollama cannot be reached, or closed the connection before it answered",
                    },
                }
            ],
        },
    ),
    Operation(
        method="get", path="/config", name="showConfig", tag="Operation", role="admin",
        summary="The running configuration, without secrets",
        answer=answers.RunningConfig,
        answer_example={
            "provider_models": {"ollama": ["llama", "smollm2"]},
            "providers": {"ollama": {"adapter": "ollama", "base_url": "http://127.0.0.1:11434", "private": True}},
            "live": ["ollama"],
        },
    ),
    Operation(
        method="get", path="/settings", name="showSettings", tag="Operation", role="admin",
        summary="The settings of routing and guarding",
        answer=answers.RoutingSettings,
        answer_example={
            "provider_models": {"ollama": ["llama", "smollm2"]},
            "aliases": {},
            "fallbacks": {"gpt-4o": {"rate_limit": ["ollama/llama3.2:1b"]}},
            "default_model": "",
            "circuit": {"enabled": True, "failures": 5},
            "file": {
                "path": "config/gateway-settings.yaml", "since": 1737590400, "loads": 1, "refusals": 0, "refused": None,
            },
            "guardrails": {
                "file": "guardrail-settings.yaml", "since": 1737590400, "loads": 1, "refused": None,
                "policy": {"categories": {"VIOLENCE": {"action": "block"}}},
            },
            "waiting_for_restart": [],
            "ill": [{"name": "openai/gpt-4o", "circuit": "open", "cooling_s": 7.5}],
        },
    ),
    Operation(
        method="get", path="/redis-test", name="testRedis", tag="Operation", role="admin",
        summary="A round trip to Redis, now",
        answer=answers.RedisTest,
        answer_example={
            "status": "ok", "round_trip_ms": 0.3, "used_memory_bytes": 1876544, "maxmemory_bytes": 0,
        }, errors=(503,),
    ),
    Operation(
        method="get", path="/v1/usage", name="getUsage", tag="Keys",
        summary="Who used what, and what it cost",
        description="A user sees its own tenant, an admin all. As CSV with `format=csv`.",
        parameters=(
            Parameter("from", "query", "The first day, by UTC; 30 days before the last.", DATE, "2026-11-01"),
            Parameter("to", "query", "The last day; today. There may be 92 days.", DATE, "2026-11-26"),
            Parameter("group_by", "query", f"Some of {', '.join(GROUPS)}; day.", example="day,provider"),
            Parameter("tenant", "query", "Only this tenant's."),
            Parameter("key", "query", "Only this key's, by its id."),
            Parameter("model", "query", "Only this model, by the provider's name."),
            Parameter("provider", "query", "Only this provider."),
            Parameter("tag", "query", "Only jobs with this tag: its name, or name=value."),
            Parameter("format", "query", "json or csv.", {"type": "string", "enum": ["json", "csv"]}),
        ),
        answer=answers.UsageReport, answer_example=examples.USAGE_REPORT, errors=(400, 403, 503),
    ),
    Operation(
        method="post", path="/v1/admin/keys", name="createKey", tag="Keys", role="admin",
        summary="Make a key", description="The key itself is told only in this answer.",
        request=NewKey, examples={"A key with limits and a budget": examples.NEW_KEY},
        status=201, answer=answers.CreatedKey, answer_example=examples.CREATED_KEY, errors=(400, 413),
    ),
    Operation(
        method="get", path="/v1/admin/keys", name="listKeys", tag="Keys", role="admin",
        summary="Every key",
        parameters=(Parameter("tenant", "query", "Only this tenant's."),),
        answer=answers.KeyList, answer_example={"object": "list", "data": [examples.KEY_EXAMPLE]},
    ),
    Operation(
        method="get", path="/v1/admin/keys/{key_id}", name="getKey", tag="Keys", role="admin",
        summary="One key", parameters=(KEY,),
        answer=answers.Key, answer_example=examples.KEY_EXAMPLE, errors=(404,),
    ),
    Operation(
        method="post", path="/v1/admin/keys/{key_id}", name="changeKey", tag="Keys", role="admin",
        summary="Change what a key allows",
        description="What is not named stays, an object is replaced as a whole. It holds everywhere within a second.",
        parameters=(KEY,), request=KeySettings, examples={"A smaller limit": {"limits": {"requests_per_minute": 10}}},
        answer=answers.Key, answer_example=examples.KEY_EXAMPLE, errors=(400, 404, 413),
    ),
    Operation(
        method="post", path="/v1/admin/keys/{key_id}/rotate", name="rotateKey", tag="Keys", role="admin",
        summary="Give a key a new secret", description="The old one is taken for a while longer.",
        parameters=(KEY,), request=Rotation, examples={"An hour's grace": {"grace_s": 3600}},
        answer=answers.CreatedKey, answer_example=examples.CREATED_KEY, errors=(400, 404, 413),
    ),
    Operation(
        method="delete", path="/v1/admin/keys/{key_id}", name="revokeKey", tag="Keys", role="admin",
        summary="Refuse a key for ever", description="On every replica within a second.",
        parameters=(KEY,), answer=answers.Key, answer_example={**examples.KEY_EXAMPLE, "revoked": 1737590500},
        errors=(404,),
    ),
    Operation(
        method="get", path="/v1/admin/tenants", name="listTenants", tag="Keys", role="admin",
        summary="Every tenant",
        answer=answers.TenantList, answer_example={"object": "list", "data": [examples.TENANT_EXAMPLE]},
    ),
    Operation(
        method="get", path="/v1/admin/tenants/{tenant}", name="getTenant", tag="Keys", role="admin",
        summary="What a tenant has of its own", parameters=(TENANT,),
        answer=answers.Tenant, answer_example=examples.TENANT_EXAMPLE,
    ),
    Operation(
        method="post", path="/v1/admin/tenants/{tenant}", name="changeTenant", tag="Keys", role="admin",
        summary="Change a tenant's limits and budget", parameters=(TENANT,),
        request=TenantSettings, examples={"A month's budget": {"budget": {"month_usd": 100}}},
        answer=answers.Tenant, answer_example=examples.TENANT_EXAMPLE, errors=(400, 413),
    ),
    Operation(
        method="get", path="/openapi.json", name="openapi", tag="Operation", role="anyone",
        summary="This document",
    ),
    Operation(
        method="get", path="/docs", name="docs", tag="Operation", role="anyone",
        summary="The page to read this document and try it",
    ),
)  # fmt: skip
