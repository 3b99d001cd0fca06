"""Where texts stand in OpenAI's requests and answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "developer", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Text:
    """One text of a request or an answer."""

    value: str
    role: Role
    place: str  # as an error's `param` names it: messages[2].content[0].text
