"""What a request demands of a model, read from its body in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CHARS_PER_TOKEN = 4  # as English has them; code and other languages have fewer, so a count is on the low side

# The type of a message's part → what a model must take to read it.
_MODALITIES = {"image_url": "image", "input_audio": "audio", "file": "file", "video_url": "video"}


@dataclass(frozen=True, slots=True)
class Needs:
    tools: bool = False
    json_schema: bool = False
    inputs: frozenset[str] = frozenset()  # modalities beside text
    outputs: frozenset[str] = frozenset()
    prompt_tokens: int = 0  # estimated by the prompt's characters


NO_NEEDS = Needs()


def of(body: Mapping[str, Any], chars: int) -> Needs:
    """
    chars: of the whole request; what is no text (a picture's bytes) is taken off.
    """
    inputs: set[str] = set()
    for message in body.get("messages") or ():
        content = message.get("content")
        if not isinstance(content, list):
            continue
        for part in content:
            kind = part.get("type") if isinstance(part, dict) else None
            if kind in _MODALITIES:
                inputs.add(_MODALITIES[kind])
                chars -= len(str(part.get(kind)))
    form = body.get("response_format")
    outputs = frozenset(body.get("modalities") or ()) - {"text"}
    schema = isinstance(form, dict) and form.get("type") == "json_schema"
    return Needs(bool(body.get("tools")), schema, frozenset(inputs), outputs, max(0, chars) // CHARS_PER_TOKEN)
