"""What the door answers, as types: for the OpenAPI document and for tests. The hot path builds plain dicts instead."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from mesh.allowances import Budget, Limits
from mesh.job import State
from mesh.pull import PullState
from mesh.routes import RuleName
from mesh.settings import Alias, Chains, CircuitLimits, Config
from routing.choose import Role
from routing.filters import Reason
from web.keys import KeySettings

Usd = Annotated[str, Field(pattern=r"^\d+(\.\d+)?$", description="US dollars, as a decimal number in a string.")]
UnixSeconds = Annotated[int, Field(description="Unix time in seconds.")]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


class Error(BaseModel):
    message: str = Field(description="What is wrong and what to do, for a person.")
    type: str = Field(description="The kind of error, as OpenAI names it.")
    param: str | None = Field(description="The parameter that is wrong, as a path: `messages[0].content`.")
    code: str | None = Field(description="The reason, for a program.")


class ErrorAnswer(BaseModel):
    """Every error of the gateway, with all four keys."""

    error: Error


class PromptTokensDetails(BaseModel):
    """Parts of the prompt's tokens; those that a provider does not tell apart are absent."""

    cached_tokens: int | None = Field(None, description="Read from the provider's cache.")
    cache_write_tokens: int | None = Field(None, description="Written to it.")
    audio_tokens: int | None = None
    image_tokens: int | None = None
    text_tokens: int | None = None


class CompletionTokensDetails(BaseModel):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    text_tokens: int | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None


class Usage(BaseModel):
    """Tokens as the provider billed them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None


class Counted(BaseModel):
    """Only where the provider reported no usage."""

    estimated: Literal[True] = Field(description="The usage is an estimate of the gateway's: a token for four bytes.")


class CalledFunction(BaseModel):
    name: str
    arguments: str = Field(description="JSON, as the model wrote it: not always valid.")


class CalledCustom(BaseModel):
    name: str
    input: str


class AnsweredFunctionCall(BaseModel):
    id: str
    type: Literal["function"]
    function: CalledFunction


class AnsweredCustomCall(BaseModel):
    id: str
    type: Literal["custom"]
    custom: CalledCustom


class UrlCitation(BaseModel):
    url: str
    title: str
    start_index: int
    end_index: int


class Annotation(BaseModel):
    type: Literal["url_citation"]
    url_citation: UrlCitation


class SpokenAnswer(BaseModel):
    id: str
    data: str = Field(description="Base64.")
    expires_at: UnixSeconds
    transcript: str


class AnswerMessage(BaseModel):
    role: Literal["assistant"]
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[Annotated[AnsweredFunctionCall | AnsweredCustomCall, Field(discriminator="type")]] | None = None
    annotations: list[Annotation] | None = None
    audio: SpokenAnswer | None = None
    function_call: CalledFunction | None = Field(None, deprecated=True)


class TopLogprob(BaseModel):
    token: str
    logprob: float
    bytes: list[int] | None = None


class TokenLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class Logprobs(BaseModel):
    content: list[TokenLogprob] | None = None
    refusal: list[TokenLogprob] | None = None


class Choice(BaseModel):
    index: int
    message: AnswerMessage
    finish_reason: FinishReason
    logprobs: Logprobs | None = None


class ChatCompletion(BaseModel):
    id: str
    object: Literal["chat.completion"]
    created: UnixSeconds
    model: str
    provider: str = Field(description="Who answered.")
    choices: list[Choice]
    usage: Usage | None = None
    gateway: Counted | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None


class PieceOfFunction(BaseModel):
    name: str | None = None
    arguments: str | None = None


class PieceOfToolCall(BaseModel):
    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: PieceOfFunction | None = None


class Delta(BaseModel):
    role: Literal["assistant"] | None = None
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[PieceOfToolCall] | None = None
    function_call: PieceOfFunction | None = Field(None, deprecated=True)


class ChunkChoice(BaseModel):
    index: int
    delta: Delta
    finish_reason: FinishReason | None = None
    logprobs: Logprobs | None = None


class GatewayFigures(BaseModel):
    """What a blocking answer says in its headers, in the last chunk of a stream that was asked for its usage."""

    job: str
    provider: str | None
    model: str | None = Field(description="The provider's own name of the model.")
    queue_ms: int | None = Field(description="How long the job waited in its lane.")
    overhead_ms: float = Field(description="The time that was not the provider's.")
    attempts: int | None
    cost_usd: Usd | None
    estimated: bool = Field(
        False, description="The provider reported no usage: the tokens, and the cost, are our estimate."
    )
    guard: str | None = Field(None, description="What the guard did or warned of.")


class ChatCompletionChunk(BaseModel):
    """The data of one event; `data: [DONE]` ends the stream, and an error is `data: {"error": …}` before it."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: UnixSeconds
    model: str
    provider: str | None = None
    choices: list[ChunkChoice] = Field(description="Empty in the last chunk of a stream that was asked for its usage.")
    usage: Usage | None = None
    gateway: GatewayFigures | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None


class CompletionLogprobs(BaseModel):
    tokens: list[str] | None = None
    token_logprobs: list[float] | None = None
    top_logprobs: list[dict[str, float]] | None = None
    text_offset: list[int] | None = None


class CompletionChoice(BaseModel):
    index: int
    text: str
    finish_reason: Literal["stop", "length", "content_filter"]
    logprobs: CompletionLogprobs | None = None


class Completion(BaseModel):
    id: str
    object: Literal["text_completion"]
    created: UnixSeconds
    model: str
    provider: str = Field(description="Who answered.")
    choices: list[CompletionChoice]
    usage: Usage | None = None
    gateway: GatewayFigures | Counted | None = None
    system_fingerprint: str | None = None


class Embedding(BaseModel):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str = Field(description="Numbers, or with `encoding_format: base64` float32 in base64.")


class EmbeddingUsage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    object: Literal["list"]
    data: list[Embedding]
    model: str
    provider: str | None = Field(None, description="Who answered.")
    usage: EmbeddingUsage
    gateway: Counted | None = None


class Prices(BaseModel):
    """US dollars per million tokens; where the price rises with the prompt's length, that of a short prompt."""

    input_usd_per_mtok: Usd | None
    output_usd_per_mtok: Usd | None
    cached_usd_per_mtok: Usd | None = Field(description="Of tokens read from the provider's cache.")
    written_usd_per_mtok: Usd | None = Field(description="Of tokens written to it.")


class ModelFacts(BaseModel):
    """What is known of a model, from config and an offline list; null is not known, and never a guess."""

    context_window: int | None = Field(description="Tokens, of prompt and answer together.")
    max_output: int | None = Field(description="Tokens of one answer at most.")
    input_modalities: list[str] | None
    output_modalities: list[str] | None
    tools: bool | None = Field(description="Whether it can call tools.")
    json_schema: bool | None = Field(description="Whether it can be held to a JSON schema.")
    deprecated: bool | None
    price: Prices | None


class Model(BaseModel):
    id: str
    object: Literal["model"]
    created: UnixSeconds
    owned_by: str = Field(description="The provider that serves it.")
    provider: str | None = Field(None, description="The same.")
    gateway: ModelFacts | None = None


class ModelList(BaseModel):
    object: Literal["list"]
    data: list[Model]


class GuardSays(BaseModel):
    """Of one text, by the gateway's own names."""

    flagged: list[str]
    scores: dict[str, float]
    action: str
    category: str | None = Field(description="The one that decides.")


class Moderation(BaseModel):
    flagged: bool
    categories: dict[str, bool] = Field(description="By OpenAI's names.")
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[Literal["text", "image"]]]
    gateway: GuardSays


class ModerationAnswer(BaseModel):
    id: str
    model: str
    results: list[Moderation] = Field(description="One a text; the parts of a message are one.")


class GuardFinding(BaseModel):
    kind: str = Field(description="A category, or a type of personal data.")
    start: int = Field(description="In code points, from 0.")
    end: int = Field(description="The first that is no longer part of it.")
    score: float
    detector: str


class GuardCheck(BaseModel):
    object: Literal["guard.check"]
    stage: Literal["request", "response"]
    action: Literal["allow", "log", "warn", "mask", "redact", "block"]
    category: str | None = Field(description="The kind that decides.")
    private: bool = Field(description="Only private providers may see it.")
    scores: dict[str, float]
    flagged: list[str]
    findings: list[GuardFinding]
    masked: str = Field(description="The text as a provider would see it that is not private.")


class ModelPull(BaseModel):
    """A provider fetches a model. A model has one pull: the last one."""

    id: str = Field(pattern="^pull-[0-9a-f]{32}$")
    object: Literal["model.pull"]
    provider: str
    model: str = Field(description="The provider's own name of it.")
    state: PullState
    status: str = Field(description="What the provider is at, in its own words.")
    completed_bytes: int
    total_bytes: int | None = Field(description="Of the files that the provider has named so far; null: of none.")
    error: Error | None
    created: UnixSeconds
    started: UnixSeconds | None
    ended: UnixSeconds | None


class ModelPullList(BaseModel):
    object: Literal["list"]
    data: list[ModelPull] = Field(description="Newest first, those of the last 24 hours.")


class TimelineStep(BaseModel):
    state: str = Field(
        description="A state of the job; `routed` where its route was chosen; `answering` when its first word has come."
    )
    at_ms: int = Field(description="Unix time in milliseconds.")
    detail: str | None = Field(None, description="The lane, the worker's reason, and so on.")


class Attempt(BaseModel):
    """One try at a target."""

    attempt: int
    provider: str
    model: str
    outcome: str = Field(
        description="`done`, `failed`, `released` (not sent), `unknown` (sent, and nobody knows whether it was done), "
        "or the state in which the job ended."
    )
    error: str | None = Field(None, description="The code of what went wrong.")
    provider_ms: int | None = Field(None, description="How long the provider took.")
    first_token_ms: int | None = None
    cost_usd: Usd | None = None
    estimated: bool = Field(
        False,
        description="The cost is what was reserved, or that of tokens which we estimated, not what was billed.",
    )


class JobUsage(BaseModel):
    prompt_tokens: int
    completion_tokens: int | None = Field(None, description="Absent for embeddings.")
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None
    estimated: bool = Field(False, description="The provider reported none, and these are the gateway's estimate.")


class AcceptedJob(BaseModel):
    """A request on its way through the mesh, as it is when it is accepted."""

    id: str = Field(pattern="^job-[0-9a-f]{32}$")
    object: Literal["job"]
    endpoint: str
    model: str
    provider: str
    state: State
    created: UnixSeconds
    position: int | None = Field(description="How many jobs of its lane come first; null when it does not wait.")
    eta_ms: int | None = Field(description="How long it will still wait at the lane's present pace; null if not known.")
    guard: str | None = Field(None, description="What the guard did or warned of: `warn; VIOLENCE`.")


class ListedJob(AcceptedJob):
    """A job as a list shows it."""

    deadline: UnixSeconds = Field(description="After this moment an answer is useless.")
    attempts: list[Attempt]
    error: Error | None
    usage: JobUsage | None
    cost_usd: Usd | None
    shadow: str | None = Field(None, description="The job that asked another model the same, for comparison.")
    shadow_of: str | None = Field(None, description="The job whose shadow this one is.")


class Job(ListedJob):
    """A job with all that is known of it."""

    timeline: list[TimelineStep]
    result: dict[str, Any] | None = Field(description="The answer that the endpoint would have given.")


class JobList(BaseModel):
    object: Literal["list"]
    data: list[ListedJob] = Field(description="Newest first.")
    has_more: bool
    first_id: str | None
    last_id: str | None = Field(description="Give it as `after` to read on.")


class Shadow(BaseModel):
    """A job and the one that asked another model the same; null is what is no longer kept."""

    object: Literal["shadow"]
    tenant: str
    model: str = Field(description="As the caller named it.")
    created: UnixSeconds
    job: Job | None
    shadow: Job | None


class ShadowList(BaseModel):
    object: Literal["list"]
    data: list[Shadow] = Field(description="Newest first.")


class Alive(BaseModel):
    status: Literal["ok"]


class Health(BaseModel):
    status: Literal["ok", "degraded"]
    redis: Literal["ok", "unreachable"]
    providers: list[str] | None = Field(None, description="Those that are served.")
    waiting: int | None = Field(None, description="Requests that this process waits for.")


class LaneLoad(BaseModel):
    waiting: int
    running: int


class ProviderFault(BaseModel):
    """Why a provider did not tell its models."""

    at: UnixSeconds
    kind: str = Field(description="ProviderUnavailable, ProviderKeyRefused, ProviderTimeout and so on.")
    message: str
    code: str


class Provider(BaseModel):
    name: str
    adapter: str
    private: bool = Field(description="Requests to it never leave our own network.")
    enabled: bool
    prefixes: list[str] = Field(description="Models that begin so go to it.")
    workers: int = Field(description="Worker processes that serve it now.")
    lanes: dict[Literal["interactive", "batch"], LaneLoad]
    models: list[str] = Field(description="What it says that it has.")
    pulls: bool | None = Field(description="Whether it fetches models when it is told to; null: no worker has said.")
    listed: UnixSeconds | None = Field(
        description="When it last told its workers its models; they ask each minute. Null: never."
    )
    last_error: ProviderFault | None = Field(description="What came of it the last time that it did not.")


class ProviderList(BaseModel):
    object: Literal["list"]
    data: list[Provider]


class RunningConfig(Config):
    """The running configuration; its file names the variables that hold secrets, and holds none."""

    live: list[str] = Field(description="The providers that are served.")


class GuardSettings(BaseModel):
    file: str
    since: UnixSeconds = Field(description="Since when its content is in force.")
    loads: int = Field(description="How often a new content came into force.")
    refused: str | None = Field(description="Why the newest edit is not in force, with its place.")
    policy: dict[str, Any] = Field(description="What is in force.")


class SettingsFile(BaseModel):
    path: str
    since: UnixSeconds = Field(description="When what is in force was read.")
    loads: int = Field(description="Contents that came into force in this process.")
    refusals: int = Field(description="Edits that were refused.")
    refused: str | None = Field(description="Why the newest edit is not in force, with each place that is wrong.")


class Illness(BaseModel):
    name: str = Field(description="A provider, or provider/model.")
    circuit: Literal["open", "half-open", "closed"]
    cooling_s: float = Field(description="For so long it is left alone.")


class RoutingSettings(BaseModel):
    provider_models: dict[str, list[str]] = Field(description="Provider to model prefixes; the longest prefix wins.")
    guardrails: GuardSettings
    aliases: dict[str, Alias]
    fallbacks: dict[str, Chains] = Field(description="By the beginning of a model's name: where a failure leads.")
    default_model: str
    circuit: CircuitLimits
    file: SettingsFile
    waiting_for_restart: list[str] = Field(description="What has changed and cannot be taken up by what runs.")
    ill: list[Illness] = Field(
        description="Providers and targets that are left alone now, or were until they are tried."
    )


class RouteCandidate(BaseModel):
    provider: str
    model: str = Field(description="The provider's own name of it.")
    role: Role
    cause: str | None = Field(description="Of a chain: the failure that leads to it.")
    kept: bool
    order: int | None = Field(description="From 0; null where it was dropped.")
    reason: Reason | None = Field(description="Why it was dropped, or what speaks against it although it is kept.")
    detail: str | None
    price_usd: Usd | None = Field(description="What the request may cost there at most; null where nobody knows.")
    wait_ms: int = Field(description="In its lane, at the present pace.")
    service_ms: int = Field(description="From its measured pace; a middling figure where it was not measured.")
    eta_ms: int = Field(description="Both together.")


class Route(BaseModel):
    """What would become of a request; nothing was sent."""

    object: Literal["route"]
    model: str
    rule: RuleName
    line: str = Field(description="As the job's timeline would say it.")
    targets: list[str] = Field(description="The route: `provider/model`, in the order in which they are tried.")
    candidates: list[RouteCandidate]
    error: Error | None = Field(description="The refusal that the request would get.")


class RedisTest(BaseModel):
    status: Literal["ok"]
    round_trip_ms: float
    used_memory_bytes: int
    maxmemory_bytes: int = Field(description="0: no limit is set.")


class Key(KeySettings):
    """An API key without its secret."""

    object: Literal["key"]
    id: str
    tenant: str
    created: UnixSeconds
    used: int | None = Field(None, description="When it was last seen, to the minute.")
    revoked: int | None = Field(None, description="Since then it is refused.")
    rotated: int | None = Field(None, description="When it got its present secret, if not at first.")
    old_until: int | None = Field(None, description="Until then the secret before the last rotation is taken too.")


class CreatedKey(Key):
    key: str = Field(description="The key itself; it is told only here.")


class KeyList(BaseModel):
    object: Literal["list"]
    data: list[Key] = Field(description="Newest first; revoked and expired ones too.")


class Tenant(BaseModel):
    object: Literal["tenant"]
    tenant: str
    limits: Limits
    budget: Budget


class TenantList(BaseModel):
    object: Literal["list"]
    data: list[Tenant] = Field(description="Those that have a key, or something of their own.")


class UsageSums(BaseModel):
    requests: int = Field(description="Jobs that have ended.")
    prompt_tokens: int
    completion_tokens: int
    cost_usd: Usd = Field(description="Of all attempts; of one that nobody knows of, what was reserved.")
    unknown_attempts: int = Field(description="Attempts of which nobody knows whether they were billed.")


class UsageRow(UsageSums):
    """One sum; of what it is, as `group_by` asked."""

    day: str | None = None
    tenant: str | None = None
    key: str | None = Field(None, description="The key's id.")
    model: str | None = Field(None, description="The provider's own name of the model.")
    provider: str | None = None
    tag: str | None = Field(None, description="`name=value`, or empty; a job with several tags counts under each.")


class UsageReport(BaseModel):
    object: Literal["list"]
    first_day: str = Field(description="By UTC.")
    last_day: str
    data: list[UsageRow]
    total: UsageSums
