"""The body of POST /v1/models/pull."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from web.requests.documents import read_object
from web.requests.refusals import refuse


class PullRequest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    provider: str = Field(min_length=1, description="Who is to fetch it.")
    model: str = Field(min_length=1, max_length=256, pattern=r"^[!-~]+$", description="The provider's own name of it.")


def parse_pull(raw: bytes, max_depth: int) -> PullRequest:
    """
    Raises:
        RequestError: with OpenAI's code and the path of the parameter.
    """
    try:
        return PullRequest.model_validate(read_object(raw, max_depth))
    except ValidationError as error:
        raise refuse(error) from None
