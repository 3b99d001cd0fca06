"""Every error a caller can meet, each with its place in OpenAI's API.

    GatewayError
    ├── RequestError            400  the caller's fault; nothing was sent to a provider
    │   ├── BodyTooLarge        413
    │   ├── IdempotencyConflict 409
    │   ├── ContextTooLong      400
    │   └── ContentBlocked      400
    ├── Unauthenticated         401
    ├── Forbidden               403
    ├── NotFound                404  a path, a job, a model
    ├── MethodNotAllowed        405
    ├── Limited                 429  this caller asked for more than its share
    │   ├── LaneFull            429
    │   └── BudgetSpent         429
    ├── Overloaded              503  nobody is served better just now
    │   ├── StoreUnavailable    503
    │   └── Stopping            503
    ├── DeadlineExceeded        504
    ├── Cancelled               499
    ├── OutcomeUnknown          502  sent, and nobody knows whether it was done
    │   └── WorkerLost          502
    └── ProviderError           502
        ├── ProviderUnavailable 502  refused, reset, 5xx: nothing was done
        ├── ProviderTimeout     504  sent, and not answered in time
        │   └── ProviderUnreached 504  no connection in time: nothing was sent
        ├── ProviderLimited     429
        ├── ProviderKeyRefused  502
        ├── ProviderBrokeOff    502  the answer ended before its end
        ├── ProviderRejected    400  the provider says that the request is wrong
        └── ModelNotFound       404  the provider does not have this model

`again` says whether another try may help, and where; `unanswered`, whether the request may have been done and billed
although nobody knows. Whoever catches one of these asks the class, never the text.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, ClassVar


class Again(enum.Enum):
    """Whether the same request may be tried again."""

    NEVER = "never"  # it would fail in the same way anywhere
    HERE = "here"  # at the same target after a pause, or at another
    ELSEWHERE = "elsewhere"  # only at another target


class GatewayError(Exception):
    """The base of the tree; `message` is shown to the caller, so it never holds a secret."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: str = "internal_error"
    again: ClassVar[Again] = Again.NEVER
    unanswered: ClassVar[bool] = False

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        self.headers: Mapping[str, str] = {}  # of the answer that shows it
        if code is not None:
            self.code = code

    def body(self) -> dict[str, Any]:
        """OpenAI's four keys, always all of them."""
        return {"message": self.message, "type": self.type, "param": self.param, "code": self.code}


class RequestError(GatewayError):
    status = 400
    type = "invalid_request_error"
    code = "invalid_value"


class BodyTooLarge(RequestError):
    status = 413
    code = "request_too_large"


class IdempotencyConflict(RequestError):
    status = 409
    code = "idempotency_key_reused"


class ContextTooLong(RequestError):
    code = "context_length_exceeded"
    again = Again.ELSEWHERE


class ContentBlocked(RequestError):
    code = "content_policy_violation"


class Unauthenticated(GatewayError):
    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"


class Forbidden(GatewayError):
    status = 403
    type = "permission_error"
    code = "insufficient_permissions"


class NotFound(GatewayError):
    status = 404
    type = "invalid_request_error"
    code = "not_found"


class MethodNotAllowed(GatewayError):
    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


class Limited(GatewayError):
    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class LaneFull(Limited):
    code = "lane_full"


class BudgetSpent(Limited):
    code = "insufficient_quota"


class Overloaded(GatewayError):
    status = 503
    type = "server_error"
    code = "overloaded"


class StoreUnavailable(Overloaded):
    code = "store_unavailable"


class Stopping(Overloaded):
    code = "stopping"


class DeadlineExceeded(GatewayError):
    status = 504
    type = "timeout_error"
    code = "deadline_exceeded"


class Cancelled(GatewayError):
    status = 499
    type = "invalid_request_error"
    code = "job_cancelled"


class OutcomeUnknown(GatewayError):
    status = 502
    code = "outcome_unknown"


class WorkerLost(OutcomeUnknown):
    code = "worker_lost"


class ProviderError(GatewayError):
    status = 502
    type = "upstream_error"
    code = "provider_error"


class ProviderUnavailable(ProviderError):
    code = "provider_unavailable"
    again = Again.HERE


class ProviderTimeout(ProviderError):
    status = 504
    code = "provider_timeout"
    again = Again.ELSEWHERE
    unanswered = True


class ProviderUnreached(ProviderTimeout):
    unanswered = False


class ProviderLimited(ProviderError):
    status = 429
    type = "rate_limit_error"
    code = "provider_rate_limited"
    again = Again.HERE


class ProviderKeyRefused(ProviderError):
    code = "provider_key_refused"
    again = Again.ELSEWHERE


class ProviderBrokeOff(ProviderError):
    code = "provider_broke_off"
    again = Again.ELSEWHERE
    unanswered = True


class ProviderRejected(ProviderError):
    status = 400
    type = "invalid_request_error"
    code = "provider_rejected"


class ModelNotFound(ProviderError):
    status = 404
    type = "invalid_request_error"
    code = "model_not_found"
    again = Again.ELSEWHERE


def _tree(root: type[GatewayError]) -> dict[str, type[GatewayError]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found |= _tree(child)
    return found


BY_NAME = _tree(GatewayError)


def dump(error: GatewayError) -> dict[str, Any]:
    """What an error is on the wire between a worker and the door."""
    record = {"class": type(error).__name__, "retry_after_s": error.retry_after_s, **error.body()}
    return record | {"headers": dict(error.headers)} if error.headers else record


def load(record: dict[str, Any]) -> GatewayError:
    """The error that `dump` wrote down. An unknown class (a newer worker's) is an internal error with its message."""
    kind = BY_NAME.get(record.get("class", ""), GatewayError)
    error = kind(
        record["message"],
        param=record.get("param"),
        code=record.get("code"),
        retry_after_s=record.get("retry_after_s"),
    )
    error.headers = record.get("headers", {})
    return error


class ConfigError(Exception):
    """A configuration cannot be used; the message names the file or the variable, and the place in it."""
