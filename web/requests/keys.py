"""What an admin may say of a key beyond its settings."""

from __future__ import annotations

from pydantic import Field

from mesh.frozen import Frozen


class Rotation(Frozen):
    grace_s: int | None = Field(
        None, ge=0, le=31_536_000, description="How long the old secret is still taken; null: as configured."
    )
