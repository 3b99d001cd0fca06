"""HTTP statuses as errors of ours: what every provider means by them."""

from __future__ import annotations

from mesh.errors import (
    GatewayError,
    ModelNotFound,
    ProviderKeyRefused,
    ProviderLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)

LONGEST_MESSAGE = 2000  # characters of a provider's own words that are shown


def error_of(
    status: int,
    message: str,
    *,
    name: str,
    code: str | None = None,
    param: str | None = None,
    retry_after_s: float | None = None,
) -> GatewayError:
    """The error that a status is. `message` is the provider's own; where it has none, ours says what happened."""
    message = message[:LONGEST_MESSAGE] or f"{name} answered with status {status} and no reason"
    match status:
        case 401 | 403:
            # The provider's own words often hold part of the key.
            return ProviderKeyRefused(f"{name} refuses the key that the gateway presents (status {status})")
        case 404:
            return ModelNotFound(message, param="model")
        case 408 | 504:
            return ProviderTimeout(message, retry_after_s=retry_after_s)
        case 402 | 429:
            return ProviderLimited(message, retry_after_s=retry_after_s)
        case 409:
            return ProviderUnavailable(message, retry_after_s=retry_after_s)
        case _ if 400 <= status < 500:
            return ProviderRejected(message, code=code, param=param)
        case _ if 300 <= status < 400:
            return ProviderUnavailable(f"{name} redirects to another place (status {status}); correct its base_url")
        case _:
            return ProviderUnavailable(message, retry_after_s=retry_after_s)
