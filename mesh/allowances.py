"""What may be used: requests and tokens a minute, jobs at once, dollars a day and a month; and who may use it."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from mesh.frozen import Frozen

MOST_USD = 1_000_000  # nano-dollars of more are no exact numbers in a script
TENANT = re.compile(r"[A-Za-z0-9_.-]{1,64}")  # a tenant's name becomes part of other names
_Usd = Annotated[Decimal, Field(ge=0, le=MOST_USD, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1, le=1_000_000_000)]


class Limits(Frozen):
    """None: no limit."""

    requests_per_minute: _Count | None = None
    tokens_per_minute: _Count | None = None
    concurrent: _Count | None = None  # jobs that are open, waiting ones included


class Budget(Frozen):
    """Dollars that may be spent in a day and in a month, by UTC. Past a soft one only an alert is sent."""

    day_usd: _Usd | None = None
    month_usd: _Usd | None = None
    soft_day_usd: _Usd | None = None
    soft_month_usd: _Usd | None = None

    @property
    def hard(self) -> bool:
        return self.day_usd is not None or self.month_usd is not None


NO_LIMITS = Limits()
NO_BUDGET = Budget()


class LimitSettings(Frozen):
    """`limits` in the configuration. What a key or a tenant has of its own goes before `each_key` and `each_tenant`."""

    each_key: Limits = NO_LIMITS
    each_tenant: Limits = NO_LIMITS
    models: dict[str, Limits] = {}  # by the provider's own name of the model, or by provider/model
    providers: dict[str, Limits] = {}
    # What becomes of a request where a counter in Redis cannot be read, of a limit or a budget: `allow` leaves it out.
    unreadable: Literal["refuse", "allow"] = "refuse"

    @property
    def of_targets(self) -> bool:
        """Whether a model or a provider has one, and not only who asks."""
        return bool(self.models or self.providers)


class Alerts(Frozen):
    """Where and when somebody is told that a budget is being spent."""

    url: str = ""  # https; empty: nobody is told
    secret_env: str = ""  # the variable that holds the secret, whsec_…, by which the receiver knows the sender
    at: list[Annotated[float, Field(gt=0, le=10)]] = [0.8, 0.95, 1.0]  # shares of a budget

    @model_validator(mode="after")
    def _a_url_is_signed(self) -> Alerts:
        if self.url and not self.secret_env:
            raise ValueError("secret_env: an alert is signed; name the variable that holds the secret")
        if self.url and urlsplit(self.url).scheme != "https":
            raise ValueError("url: alerts are sent to https URLs only")
        return self


class BudgetSettings(Frozen):
    """`budgets` in the configuration."""

    each_key: Budget = NO_BUDGET
    each_tenant: Budget = NO_BUDGET
    unknown_price: Literal["refuse", "allow"] = "refuse"  # of a model, under a hard budget; allowed it counts nothing
    alerts: Alerts = Alerts()


class Export(Frozen):
    """Ledger rows that are moved out of Redis."""

    to: str = ""  # file:///folder or s3://bucket/prefix; empty: they stay, about a million of them
    after_s: int = Field(3_600, ge=0)  # rows that are younger stay
    most_rows: int = Field(2_000, ge=1, le=10_000)  # of one file

    @field_validator("to")
    @classmethod
    def _leads_somewhere(cls, to: str) -> str:
        parts = urlsplit(to)
        good = not to or (parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"))
        if not good and not (parts.scheme == "s3" and parts.netloc):
            raise ValueError("expected file:///a/folder or s3://bucket/prefix")
        return to.rstrip("/")


class LedgerSettings(Frozen):
    """`ledger` in the configuration."""

    export: Export = Export()
    # What an attempt costs that was sent and of which nothing came back, not even a refusal: what was reserved for it,
    # or nothing. Where its worker was killed it is always what was reserved.
    unanswered: Literal["reserved", "nothing"] = "reserved"
    keep_usage_days: int = Field(400, ge=1, le=4_000)  # what was used each day can be asked for so long


class Oidc(Frozen):
    """Tokens of an identity provider, taken beside keys."""

    issuer: str  # exactly as `iss` has it
    audience: str  # must be in `aud`
    jwks_url: str = ""  # where its public keys are; https
    jwks_file: Path | None = None  # or a file with them
    tenant_claim: str = "tenant"  # dots lead into objects: `realm_access.tenant`
    role_claim: str = ""  # with one of `admin_roles` in it the caller is an admin
    admin_roles: list[str] = []
    tenants: dict[str, str] = {}  # by the claim's value; empty: the value is the tenant's name

    @model_validator(mode="after")
    def _keys_have_a_place(self) -> Oidc:
        if bool(self.jwks_url) == (self.jwks_file is not None):
            raise ValueError("give either jwks_url or jwks_file")
        if self.jwks_url and urlsplit(self.jwks_url).scheme != "https":
            raise ValueError("jwks_url: an https URL; public keys that anybody may change on the way protect nothing")
        for tenant in self.tenants.values():
            if not TENANT.fullmatch(tenant):
                raise ValueError(f"tenants: {tenant!r} is not 1 to 64 letters, digits, _, - and .")
        return self


class AuthSettings(Frozen):
    """`auth` in the configuration."""

    oidc: Oidc | None = None
    rotation_grace_s: int = Field(86_400, ge=0, le=31_536_000)  # a rotated key's old secret is taken so long
