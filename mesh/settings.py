"""What a process is told: its environment, and the file config/gateway-settings.yaml.

This is the one place that reads the environment. Secrets come from there or from mounted files; the YAML file only
names the variable that holds one (`api_key_env`).
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from mesh.allowances import AuthSettings, BudgetSettings, LedgerSettings, LimitSettings
from mesh.errors import ConfigError
from mesh.frozen import Frozen
from mesh.routes import Cause, RuleName, circles, misnamed

_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,8}")  # no dot: it ends the id in what is sealed
_HOST = re.compile(r"\*|(?:\*\.)?(?:[A-Za-z0-9_-]+\.)+[A-Za-z][A-Za-z0-9-]*")  # what fetch.hosts may name
_Usd = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
_Modality = Literal["text", "image", "audio", "video", "file"]
HERE = Path(__file__).resolve().parent.parent
SETTINGS = "gateway-settings.yaml"


class Environment(BaseSettings):
    """The variables that a process of ours reads, all with the prefix GATEWAY_ but REDIS_URL."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", frozen=True, extra="ignore", populate_by_name=True)

    redis_url: str = Field("redis://127.0.0.1:6379/0", validation_alias="REDIS_URL")
    config: Path = HERE / "config"  # the folder of the two YAML files
    providers: str = ""  # comma-separated: only these are live; empty: those that the file enables
    seal_key: str = ""  # "id:64 hex digits", several separated by commas: the first seals, all open
    seal_key_file: Path | None = None  # the same, in a file
    door_key: str = ""  # the second master, for what only the door may read; workers are not given it
    door_key_file: Path | None = None
    slots: int = Field(64, ge=1, le=2048)  # jobs that one worker process runs at once
    grace_s: float = Field(120.0, ge=0)  # how long a worker may finish what it runs after SIGTERM
    heartbeat_file: Path | None = None  # touched by the worker's loop; its age is the liveness probe
    ready_file: Path | None = None  # there while the worker is known in Redis and takes jobs: the readiness probe
    metrics_dir: Path | None = None  # where the web processes keep their counters for the metrics port
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    allowed_origins: str = ""  # comma-separated origins that may open a WebSocket from a browser

    def live(self, config: Config) -> list[str]:
        """The providers that are served: those named in GATEWAY_PROVIDERS, or else those that the file enables."""
        named = [name.strip() for name in self.providers.split(",") if name.strip()]
        for name in named:
            if name not in config.providers:
                raise ConfigError(f"GATEWAY_PROVIDERS: {name!r} is no provider of {self.config}/gateway-settings.yaml")
        return named or [name for name, provider in config.providers.items() if provider.enabled]

    def masters(self, which: Literal["seal", "door"]) -> dict[str, bytes]:
        """The sealing masters by key id, the one that seals first.

        Raises:
            ConfigError: none is given, or one is not `id:64 hex digits`.
        """
        variable = f"GATEWAY_{which.upper()}_KEY"
        text: str = getattr(self, f"{which}_key")
        path: Path | None = getattr(self, f"{which}_key_file")
        if not text and path is not None:
            text = path.read_text()
        masters: dict[str, bytes] = {}
        for entry in text.replace("\n", ",").split(","):
            if not entry.strip():
                continue
            name, _, digits = entry.strip().partition(":")
            if name in masters:
                raise ConfigError(f"{variable}: the id {name!r} stands there twice")
            try:
                masters[name] = bytes.fromhex(digits)
            except ValueError:
                masters[name] = b""
            if len(masters[name]) != 32 or not _KEY_ID.fullmatch(name):
                raise ConfigError(f"{variable}: each key is `id:64 hex digits`, the id 1 to 8 letters, digits, - and _")
        if not masters:
            raise ConfigError(f"{variable} or {variable}_FILE is not set; `openssl rand -hex 32` makes 64 hex digits")
        return masters


def secret(variable: str, environ: Mapping[str, str] = os.environ) -> str:
    """A secret that the configuration names by its variable, or by the file that the variable with _FILE names."""
    path = environ.get(f"{variable}_FILE")
    return Path(path).read_text().strip() if path else environ.get(variable, "")


class Timeouts(Frozen):
    """How long a provider may take, in seconds; the job's own deadline holds beside them."""

    connect_s: float = Field(5.0, gt=0)
    first_token_s: float = Field(120.0, gt=0)
    silence_s: float = Field(30.0, gt=0)  # between two tokens
    total_s: float = Field(600.0, gt=0)


class ProviderConfig(Frozen):
    """An account at a service that runs models."""

    adapter: str  # a file of workers/providers/
    transport: Literal["direct", "sdk"] = "direct"
    base_url: str = ""
    base_url_env: str = ""  # this variable, where set, is used instead of base_url
    credentials_env: list[str] = []  # with any of these set, its SDK finds credentials by itself; `gateway up` looks
    api_key_env: str = ""  # the variable, or the file named by it with _FILE behind, that holds the key
    region: str = ""  # of a cloud's
    region_env: str = ""  # this variable, where set, is used instead of region
    private: bool = False  # requests never leave our own network
    enabled: bool = True
    timeouts: Timeouts = Timeouts()
    unsupported_parameters: Literal["error", "drop"] = "error"
    # What a job of the batch lane costs of the list price, where an agreement with the provider says so. The lane is
    # ours and not the provider's batch API, so by default it costs the whole.
    batch_price_share: Decimal = Field(Decimal(1), ge=0, le=1)
    # Of an answer, where a provider must be told and the request does not say.
    default_max_tokens: int = Field(4096, ge=1)
    models: list[str] = []  # shown by /v1/models beside what the provider itself lists

    def url(self, environ: Mapping[str, str] = os.environ) -> str:
        return environ.get(self.base_url_env, "") or self.base_url

    def home(self, environ: Mapping[str, str] = os.environ) -> str:
        """The region; empty: whatever the cloud's own SDK is told by its own variables and profile."""
        return environ.get(self.region_env, "") or self.region

    def key(self, environ: Mapping[str, str] = os.environ) -> str:
        """The provider's key, read afresh from its file at each call so that a rotated one is taken up."""
        if not self.api_key_env:
            return ""
        return secret(self.api_key_env, environ)


class ModelConfig(Frozen):
    """What is known of a model better than by the price list; what is not given here stays as the list has it."""

    context_window: int | None = Field(None, ge=1)  # tokens
    max_output: int | None = Field(None, ge=1)  # tokens of one answer
    input_modalities: list[_Modality] | None = None
    output_modalities: list[_Modality] | None = None
    tools: bool | None = None
    json_schema: bool | None = None  # whether it can be held to one
    # Dollars per million tokens; input and output replace the list's price, and the cache's are the input's where not
    # given.
    input_usd_per_mtok: _Usd | None = None
    output_usd_per_mtok: _Usd | None = None
    cached_usd_per_mtok: _Usd | None = None  # read from the provider's cache
    written_usd_per_mtok: _Usd | None = None  # written to it
    written_1h_usd_per_mtok: _Usd | None = None  # written to it for an hour; else it costs what any other write does
    # Beside config's own price or the list's; audio without a price of its own costs what text does.
    audio_input_usd_per_mtok: _Usd | None = None
    audio_output_usd_per_mtok: _Usd | None = None

    @model_validator(mode="after")
    def _a_price_is_whole(self) -> ModelConfig:
        if (self.input_usd_per_mtok is None) != (self.output_usd_per_mtok is None):
            raise ValueError("input_usd_per_mtok and output_usd_per_mtok are given together, or neither is")
        cache = (self.cached_usd_per_mtok, self.written_usd_per_mtok, self.written_1h_usd_per_mtok)
        if self.input_usd_per_mtok is None and cache != (None, None, None):
            raise ValueError("the cache's prices need input_usd_per_mtok and output_usd_per_mtok beside them")
        return self


class RequestLimits(Frozen):
    max_body_bytes: int = Field(4_000_000, ge=1_000, le=20_000_000)
    default_model: str = Field("", max_length=256)  # asked where a request names no model; empty: it must name one
    max_json_depth: int = Field(64, ge=4, le=200)  # orjson writes no deeper than 254
    unknown_parameters: Literal["pass", "drop", "error"] = "pass"
    timeout_ms: int = Field(300_000, ge=100)  # of a blocking or streaming request that names none
    async_timeout_ms: int = Field(3_600_000, ge=100)
    max_timeout_ms: int = Field(86_400_000, ge=1_000)
    max_websockets: int = Field(500, ge=1)  # per web process
    max_frame_bytes: int = Field(4_000_000, ge=1_000)


class LaneLimits(Frozen):
    max_waiting: int = Field(10_000, ge=1)
    memory_share: float = Field(0.8, gt=0, le=1)  # of Redis' maxmemory; above it submits get 503
    max_attempts: int = Field(3, ge=1, le=10)
    retry_base_ms: int = Field(500, ge=1)
    retry_max_ms: int = Field(30_000, ge=1)


class Retention(Frozen):
    """How long an ended job can be read, in seconds."""

    blocking_s: int = Field(3_600, ge=1)
    async_s: int = Field(86_400, ge=1)
    idempotency_s: int = Field(86_400, ge=1)


class FetchLimits(Frozen):
    """What worker-system may fetch for a provider that takes no URLs. A private request's are never fetched."""

    images: bool = False
    hosts: list[str] = []  # names; `*.example.com` is every name below example.com, `*` any public host
    max_bytes: int = Field(10_000_000, ge=1_000, le=20_000_000)  # of one image
    max_images: int = Field(8, ge=1, le=64)  # URLs of one request
    max_total_bytes: int = Field(20_000_000, ge=1_000, le=100_000_000)  # of all that one request names
    timeout_s: float = Field(10.0, gt=0, le=60)  # of one image, from its host's name to its last byte
    wait_s: float = Field(30.0, gt=0, le=300)  # of a request for all its images, their time in the queue included

    @model_validator(mode="after")
    def _hosts_are_named(self) -> FetchLimits:
        if self.images and not self.hosts:
            raise ValueError('images are fetched from the hosts listed in `hosts` only, and it is empty; "*" is any')
        for host in self.hosts:
            if not _HOST.fullmatch(host):
                raise ValueError(f"hosts: {host!r} is not a host's name, `*.` and a name, or `*`")
        return self


class GuardLimits(Frozen):
    """How much time and delay guarding may take; what is guarded stands in guardrail-settings.yaml."""

    inline_chars: int = Field(4_000, ge=0)  # of a request's texts; longer ones are judged beside the door
    processes: int = Field(1, ge=1, le=16)  # that judge long texts, per web process
    max_waiting: int = Field(64, ge=1)  # long requests per such process; more are not judged in time
    deadline_ms: int = Field(2_000, ge=10)  # for the judgement of one long request
    doubt_ms: int = Field(60, ge=1)  # for what the sentence model says of a short text in doubt, or it is done without
    sentence_ms: int = Field(18, ge=1)  # of these for the model itself; a slow machine's needs more, or is never heard
    doubts_waiting: int = Field(2, ge=0)  # such texts per process; of more it is not asked
    # A guarded stream is held back until so much has come or so much time has passed, and is judged together with what
    # came before.
    window_chars: int = Field(400, ge=1)
    delay_ms: int = Field(250, ge=1)
    overlap_chars: int = Field(400, ge=0)


# A model as a request may name it: an alias, provider/model, or what a prefix begins.
ModelName = Annotated[str, Field(min_length=1, max_length=256)]
Chains = dict[Cause, Annotated[list[ModelName], Field(min_length=1, max_length=8)]]


def _named(value: Any) -> Any:
    return {"model": value} if isinstance(value, str) else value


class AliasTarget(Frozen):
    """One of an alias's models; a bare name stands for one of weight 1."""

    model: ModelName
    weight: float = Field(1.0, gt=0, allow_inf_nan=False)


class Share(Frozen):
    """A model that gets a part of an alias's requests."""

    model: ModelName
    share: float = Field(gt=0, le=1)


class Alias(Frozen):
    """A name that callers use for several models."""

    targets: list[Annotated[AliasTarget, BeforeValidator(_named)]] = Field(min_length=1, max_length=32)
    rule: RuleName = "ordered"
    sticky: bool = False  # one conversation stays at one of those that the rule finds equal
    canary: Share | None = None  # gets its share first; the others come after it
    shadow: Share | None = None  # is asked too, later, and its answer is kept for comparison
    fallbacks: Chains = {}

    def names(self) -> Iterator[tuple[str, str]]:
        """Every model that it leads to, with its place; the fallbacks are apart."""
        for index, target in enumerate(self.targets):
            yield f"targets.{index}", target.model
        for part in ("canary", "shadow"):
            share: Share | None = getattr(self, part)
            if share is not None:
                yield part, share.model


class CircuitLimits(Frozen):
    """When a provider or a target counts as ill and is left alone."""

    enabled: bool = True
    failures: int = Field(5, ge=1)  # in a row
    ratio: float = Field(0.5, gt=0, le=1)  # of a window's outcomes, once there are `least`
    least: int = Field(20, ge=1)
    window_s: float = Field(30.0, gt=0, le=3600)
    open_s: float = Field(10.0, gt=0, le=3600)  # doubled each time that the trial after it fails
    max_open_s: float = Field(120.0, gt=0, le=86_400)


class Config(Frozen):
    """config/gateway-settings.yaml."""

    provider_models: dict[str, list[str]]
    providers: dict[str, ProviderConfig]
    requests: RequestLimits = RequestLimits()
    lanes: LaneLimits = LaneLimits()
    retention: Retention = Retention()
    fetch: FetchLimits = FetchLimits()
    limits: LimitSettings = LimitSettings()
    budgets: BudgetSettings = BudgetSettings()
    ledger: LedgerSettings = LedgerSettings()
    auth: AuthSettings = AuthSettings()
    guard: GuardLimits = GuardLimits()
    models: dict[str, ModelConfig] = {}  # by the provider's own name of the model, or by provider/model
    aliases: dict[str, Alias] = {}
    fallbacks: dict[str, Chains] = {}  # by the beginning of a model's name as it was asked for; the longest wins
    circuit: CircuitLimits = CircuitLimits()

    def model(self, provider: str, name: str) -> ModelConfig | None:
        """What config says of a provider's model; the entry that names the provider goes first."""
        return self.models.get(f"{provider}/{name}") or self.models.get(name)

    @field_validator("providers")
    @classmethod
    def _names_make_keys(cls, providers: dict[str, ProviderConfig]) -> dict[str, ProviderConfig]:
        for name in providers:
            if not name.replace("-", "").replace("_", "").isalnum() or name in {"system", "tasks"}:
                raise ValueError(
                    f"{name!r}: a provider's name is letters, digits, - and _, and not `system` or `tasks`"
                )
        return providers

    @model_validator(mode="after")
    def _limits_have_providers(self) -> Config:
        for name in self.limits.providers:
            if name not in self.providers:
                near = difflib.get_close_matches(name, self.providers, 1)
                raise ValueError(
                    f"limits.providers.{name}: no such provider{f', did you mean {near[0]}?' if near else ''}"
                )
        return self

    @model_validator(mode="after")
    def _prefixes_have_providers(self) -> Config:
        for name in self.provider_models:
            if name not in self.providers:
                near = difflib.get_close_matches(name, self.providers, 1)
                raise ValueError(
                    f"provider_models.{name}: no such provider{f', did you mean {near[0]}?' if near else ''}"
                )
        return self

    @model_validator(mode="after")
    def _routes_lead_somewhere(self) -> Config:
        prefixes = [prefix for prefixes in self.provider_models.values() for prefix in prefixes]
        odd = [name for name in self.aliases if "/" in name or name.split() != [name]]
        wrong = [f"aliases.{name}: an alias's name has no slash and no blank" for name in odd]
        wrong += misnamed(self._names(), self.aliases, self.providers, prefixes)
        wrong += circles({name: [model for _, model in alias.names()] for name, alias in self.aliases.items()})
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def _names(self) -> Iterator[tuple[str, str]]:
        """Every model that a route may lead to, with its place."""
        chains = {f"fallbacks.{name}": each for name, each in self.fallbacks.items()}
        for name, alias in self.aliases.items():
            chains[f"aliases.{name}.fallbacks"] = alias.fallbacks
            for place, model in alias.names():
                yield f"aliases.{name}.{place}", model
        for place, each in chains.items():
            for cause, models in each.items():
                yield from ((f"{place}.{cause}.{index}", model) for index, model in enumerate(models))
        if self.requests.default_model:
            yield "requests.default_model", self.requests.default_model


def _places(error: ValidationError, model: type[BaseModel]) -> str:
    lines = []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"{place}: unknown field{_suggestion(item['loc'], model)}")
        else:
            lines.append(f"{place}: {item['msg']}" if place else item["msg"])
    return "; ".join(lines)


def _suggestion(place: tuple[int | str, ...], model: type[BaseModel]) -> str:
    known: set[str] = set()
    waiting: list[type[BaseModel]] = [model]
    while waiting:
        each = waiting.pop()
        known |= set(each.model_fields)
        waiting += [kind for kind in Frozen.__subclasses__() if kind is not each and each is model]
    near = difflib.get_close_matches(str(place[-1]), known, 1)
    return f", did you mean {near[0]}?" if near else ""


def parse_config(text: str, name: str = "gateway-settings.yaml") -> Config:
    """A configuration from YAML text.

    Raises:
        ConfigError: with the file's name and each place that is wrong.
    """
    try:
        data: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not YAML: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{name}: expected a mapping with provider_models and providers")
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{name}: {_places(error, Config)}") from error


def load_config(folder: Path) -> Config:
    path = folder / SETTINGS
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    return parse_config(text, str(path))
