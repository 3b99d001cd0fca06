"""Requests and answers as the document shows them: each is a true one, which its test checks by its type."""

from __future__ import annotations

JOB_ID = "job-7f1c9a52e0b34d6688a1d0c2b3e4f506"
CHAT_EXAMPLE = {
    "model": "smollm2:135m",
    "messages": [
        {"role": "system", "content": "You answer in one short sentence."},
        {"role": "user", "content": "Why is a queue useful?"},
    ],
    "max_completion_tokens": 64,
}
CHAT_EXAMPLES = {
    "A question": CHAT_EXAMPLE,
    "Streamed, with usage": {**CHAT_EXAMPLE, "stream": True, "stream_options": {"include_usage": True}},
    "Private, with a limit of cost and a fallback": {
        **CHAT_EXAMPLE,
        "private": True,
        "max_cost": 0.01,
        "fallbacks": ["ollama/llama3.2:1b"],
        "timeout_ms": 20_000,
    },
    "With a tool": {
        "model": "smollm2:135m",
        "messages": [{"role": "user", "content": "What is the weather in Oslo?"}],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "weather",
                    "description": "The weather at a place, now.",
                    "parameters": {
                        "type": "object",
                        "properties": {"place": {"type": "string"}},
                        "required": ["place"],
                    },
                },
            }
        ],
    },
}
USAGE_EXAMPLE = {"prompt_tokens": 35, "completion_tokens": 10, "total_tokens": 45}
CHAT_ANSWER = {
    "id": "chatcmpl-7f1c9a52e0b34d6688a1d0c2b3e4f506",
    "object": "chat.completion",
    "created": 1737590400,
    "model": "smollm2:135m",
    "provider": "ollama",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "It keeps work in order."}, "finish_reason": "stop"}
    ],
    "usage": USAGE_EXAMPLE,
}
CHUNK_EXAMPLE = {
    "id": "chatcmpl-7f1c9a52e0b34d6688a1d0c2b3e4f506",
    "object": "chat.completion.chunk",
    "created": 1737590400,
    "model": "smollm2:135m",
    "provider": "ollama",
    "choices": [{"index": 0, "delta": {"content": "It keeps"}, "finish_reason": None}],
}
COMPLETION_ANSWER = {
    "id": "cmpl-7f1c9a52e0b34d6688a1d0c2b3e4f506",
    "object": "text_completion",
    "created": 1737590400,
    "model": "smollm2:135m",
    "provider": "ollama",
    "choices": [{"index": 0, "text": " there was a queue.", "finish_reason": "stop", "logprobs": None}],
    "usage": USAGE_EXAMPLE,
}
EMBEDDING_ANSWER = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.018, -0.042, 0.077]}],
    "model": "all-minilm-l6-v2",
    "provider": "ollama",
    "usage": {"prompt_tokens": 6, "total_tokens": 6},
}
MODEL_EXAMPLE = {
    "id": "smollm2:135m",
    "object": "model",
    "created": 1737590400,
    "owned_by": "ollama",
    "provider": "ollama",
    "gateway": {
        "context_window": 8192,
        "max_output": None,
        "input_modalities": ["text"],
        "output_modalities": ["text"],
        "tools": False,
        "json_schema": True,
        "deprecated": None,
        "price": {
            "input_usd_per_mtok": "0",
            "output_usd_per_mtok": "0",
            "cached_usd_per_mtok": "0",
            "written_usd_per_mtok": "0",
        },
    },
}
PULL_EXAMPLE = {
    "id": "pull-7f1c9a52e0b34d6688a1d0c2b3e4f506",
    "object": "model.pull",
    "provider": "ollama",
    "model": "llama3.2:1b",
    "state": "queued",
    "status": "",
    "completed_bytes": 0,
    "total_bytes": None,
    "error": None,
    "created": 1737590400,
    "started": None,
    "ended": None,
}
RUNNING_PULL = {
    **PULL_EXAMPLE,
    "state": "running",
    "status": "pulling 74701a8c35f6",
    "completed_bytes": 402653184,
    "total_bytes": 1321082688,
    "started": 1737590401,
}
JOB_EXAMPLE = {
    "id": JOB_ID,
    "object": "job",
    "endpoint": "/v1/chat/completions",
    "model": "smollm2:135m",
    "provider": "ollama",
    "state": "done",
    "created": 1737590400,
    "deadline": 1737594000,
    "position": None,
    "eta_ms": None,
    "attempts": [
        {
            "attempt": 1,
            "provider": "ollama",
            "model": "smollm2:135m",
            "outcome": "done",
            "cost_usd": "0",
            "estimated": False,
        }
    ],
    "timeline": [
        {"state": "queued", "at_ms": 1737590400000, "detail": "ollama.batch"},
        {"state": "running", "at_ms": 1737590400003, "detail": None},
        {"state": "answering", "at_ms": 1737590400120, "detail": None},
        {"state": "done", "at_ms": 1737590400460, "detail": None},
    ],
    "result": CHAT_ANSWER,
    "error": None,
    "usage": USAGE_EXAMPLE,
    "cost_usd": "0",
}
LISTED_JOB = {name: value for name, value in JOB_EXAMPLE.items() if name not in ("timeline", "result")}
CANCELLED_JOB = {
    **JOB_EXAMPLE,
    "state": "cancelled",
    "attempts": [],
    "timeline": [
        {"state": "queued", "at_ms": 1737590400000, "detail": "ollama.batch"},
        {"state": "cancelled", "at_ms": 1737590400900, "detail": "caller"},
    ],
    "result": None,
    "error": {
        "message": "The job was cancelled.",
        "type": "invalid_request_error",
        "param": None,
        "code": "job_cancelled",
    },
    "usage": None,
    "cost_usd": None,
}
_UNHARMED = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
    "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip
MODERATION_ANSWER = {
    "id": "modr-7f1c9a52e0b34d6688a1d0c2b3e4f506",
    "model": "gateway-guard",
    "results": [
        {
            "flagged": False,
            "categories": dict.fromkeys(_UNHARMED, False),
            "category_scores": dict.fromkeys(_UNHARMED, 0.01),
            "category_applied_input_types": {name: ["text"] for name in _UNHARMED},
            "gateway": {"flagged": [], "scores": {"VIOLENCE": 0.01}, "action": "allow", "category": None},
        }
    ],
}
CHECK_ANSWER = {
    "object": "guard.check",
    "stage": "request",
    "action": "mask",
    "category": "EMAIL",
    "private": False,
    "scores": {},
    "flagged": ["EMAIL"],
    "findings": [{"kind": "EMAIL", "start": 9, "end": 25, "score": 1.0, "detector": "emails"}],
    "masked": "Write to <EMAIL_1>",
}
ACCEPTED_JOB = {
    "id": JOB_ID,
    "object": "job",
    "endpoint": "/v1/chat/completions",
    "model": "smollm2:135m",
    "provider": "ollama",
    "state": "queued",
    "created": 1737590400,
    "position": 3,
    "eta_ms": 1200,
}
ROUTE_EXAMPLE = {
    "object": "route",
    "model": "smollm2:135m",
    "rule": "ordered",
    "line": "prefix smollm2",
    "targets": ["ollama/smollm2:135m"],
    "candidates": [
        {
            "provider": "ollama",
            "model": "smollm2:135m",
            "role": "route",
            "cause": None,
            "kept": True,
            "order": 0,
            "reason": None,
            "detail": None,
            "price_usd": "0",
            "wait_ms": 0,
            "service_ms": 2280,
            "eta_ms": 2280,
        }
    ],
    "error": None,
}
NEW_KEY = {
    "name": "the shop's",
    "tenant": "acme",
    "models": ["gpt-4o-mini", "claude-*"],
    "limits": {"requests_per_minute": 60, "tokens_per_minute": 100_000, "concurrent": 10},
    "budget": {"day_usd": 5, "soft_month_usd": 80},
    "tags": {"team": "shop"},
}
KEY_EXAMPLE = {
    "object": "key",
    "id": "1f0c9a52e0b3",
    "name": "the shop's",
    "tenant": "acme",
    "role": "user",
    "private": False,
    "models": ["gpt-4o-mini", "claude-*"],
    "providers": None,
    "priorities": None,
    "limits": {"requests_per_minute": 60, "tokens_per_minute": 100_000, "concurrent": 10},
    "budget": {"day_usd": "5", "month_usd": None, "soft_day_usd": None, "soft_month_usd": "80"},
    "tags": {"team": "shop"},
    "expires": None,
    "created": 1737590400,
    "used": None,
    "revoked": None,
    "rotated": None,
    "old_until": None,
}
CREATED_KEY = {**KEY_EXAMPLE, "key": "gw-1f0c9a52e0b3-" + "0" * 48}
TENANT_EXAMPLE = {
    "object": "tenant",
    "tenant": "acme",
    "limits": {"requests_per_minute": 600, "tokens_per_minute": None, "concurrent": None},
    "budget": {"day_usd": None, "month_usd": "100", "soft_day_usd": None, "soft_month_usd": None},
}
USED = {
    "requests": 3,
    "prompt_tokens": 33,
    "completion_tokens": 21,
    "cost_usd": "0.00001755",
    "unknown_attempts": 0,
}
USAGE_REPORT = {
    "object": "list",
    "first_day": "2026-11-01",
    "last_day": "2026-11-26",
    "data": [{"day": "2026-11-26", "provider": "openai", **USED}],
    "total": USED,
}
