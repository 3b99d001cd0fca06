"""What the door answers, as types: for the OpenAPI document and for tests. The hot path builds plain dicts instead."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from mesh.job import State
from mesh.pull import PullState
from mesh.settings import Config

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
    state: str = Field(description="A state of the job, or `answering` when its first word has come.")
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


class ListedJob(AcceptedJob):
    """A job as a list shows it."""

    deadline: UnixSeconds = Field(description="After this moment an answer is useless.")
    attempts: list[Attempt]
    error: Error | None
    usage: JobUsage | None
    cost_usd: Usd | None


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


class RoutingSettings(BaseModel):
    provider_models: dict[str, list[str]] = Field(description="Provider to model prefixes; the longest prefix wins.")


class RedisTest(BaseModel):
    status: Literal["ok"]
    round_trip_ms: float
    used_memory_bytes: int
    maxmemory_bytes: int = Field(description="0: no limit is set.")
