"""What a request, and whoever sends it, say about where it may go."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from mesh import errors
from mesh.lanes import Priority
from mesh.settings import Config
from routing import needs
from routing.choose import Wish
from routing.prices import DEFAULT_ANSWER_TOKENS, Most
from web.auth import Caller
from web.requests import CHAT, EMBEDDINGS, GatewayFields, Parsed

_BEGINNING = 4096  # bytes of a conversation's first messages, by which one is told from another


def wish(
    caller: Caller,
    config: Config,
    body: Mapping[str, Any],
    fields: GatewayFields,
    chars: int,
    *,
    private: bool = False,
    priority: Priority = "interactive",
) -> Wish:
    """
    chars: of the whole body.
    private: what is found in its texts may be seen only by private providers.
    priority: of the lane.
    """
    return Wish(
        model=body["model"],
        provider=fields.provider,
        fallbacks=fields.fallbacks,
        private=private or caller.private or fields.private is True,
        max_cost_usd=fields.max_cost,
        must_have_price=caller.allowance.hard and config.budgets.unknown_price == "refuse",
        most=Most(chars, _most_tokens(body), answers=_answers(body)),
        needs=needs.of(body, chars),
        allowed_models=caller.models,
        allowed_providers=caller.providers,
        priority=priority,
        conversation=lambda: _conversation(caller.tenant, body),
    )


def priority(caller: Caller, asked: Priority | None, *, later: bool) -> Priority:
    """The class of lane that the request names, or else its way of asking; the key may have only one of them.

    Raises:
        Forbidden: it names one that the key does not have.
    """
    if asked is not None and caller.priorities is not None and asked not in caller.priorities:
        raise errors.Forbidden(
            f"This key may not use the priority '{asked}'.", param="priority", code="priority_not_allowed"
        )
    usual: Priority = "batch" if later else "interactive"
    return asked or (usual if caller.priorities is None or usual in caller.priorities else caller.priorities[0])


def bounded(parsed: Parsed, *, priced: bool) -> dict[str, Any]:
    """The body; where a price is reckoned with and no length is named, it gets the length that was reckoned with."""
    if not priced or parsed.endpoint == EMBEDDINGS or _most_tokens(parsed.body):
        return parsed.body
    name = "max_completion_tokens" if parsed.endpoint == CHAT else "max_tokens"
    return parsed.body | {name: DEFAULT_ANSWER_TOKENS}


def _conversation(tenant: str, body: Mapping[str, Any]) -> bytes:
    """A digest of how the conversation begins, which stays the same when it goes on."""
    begins = (body.get("messages") or [body.get("prompt") or body.get("input")])[:2]
    return hashlib.sha256(tenant.encode() + orjson.dumps(begins)[:_BEGINNING]).digest()


def _answers(body: Mapping[str, Any]) -> int:
    """How many texts it is answered with; vectors are none."""
    return 0 if "input" in body else max(_count(body, "n"), _count(body, "best_of"), 1)


def _count(body: Mapping[str, Any], name: str) -> int:
    """A parameter that is a number where the endpoint knows it; elsewhere it was passed on unread."""
    value = body.get(name)
    return value if type(value) is int else 0


def _most_tokens(body: Mapping[str, Any]) -> int:
    return _count(body, "max_completion_tokens") or _count(body, "max_tokens")
