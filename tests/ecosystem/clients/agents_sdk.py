"""The OpenAI Agents SDK over chat completions; run by a Python that has it, told of the gateway by its environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import pytest
from agents import Agent, ModelSettings, Runner, function_tool, set_default_openai_api, set_tracing_disabled
from agents.items import TResponseInputItem
from agents.result import RunResultBase
from openai.types.responses import ResponseTextDeltaEvent
from pydantic import BaseModel

set_default_openai_api("chat_completions")
set_tracing_disabled(True)

DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"


class Step(BaseModel):
    text: str
    minutes: int


class Recipe(BaseModel):
    name: str
    servings: int
    steps: list[Step]


RECIPE = Recipe(name="Dal", servings=4, steps=[Step(text="a text", minutes=20)])


@dataclass
class Seen:
    """What the tools were asked."""

    cities: list[str] = field(default_factory=list)
    times: int = 0


@pytest.fixture
def seen() -> Seen:
    return Seen()


def agent(seen: Seen, **more: object) -> Agent[None]:
    @function_tool
    def weather(city: str) -> str:
        seen.cities.append(city)
        return f"sunny in {city}"

    @function_tool
    def clock() -> str:
        seen.times += 1
        return "noon"

    settings = ModelSettings(include_usage=True, temperature=0)
    given = {"tools": [weather, clock], "model_settings": settings, "instructions": "Be brief.", **more}
    return Agent(name="Guide", model=os.environ["MODEL"], **given)  # type: ignore[arg-type]


async def run(agent: Agent[None], said: str | list[TResponseInputItem], stream: bool) -> tuple[RunResultBase, str]:
    """What came of it, and the text as it was streamed."""
    if not stream:
        return await Runner.run(agent, said, max_turns=3), ""
    result = Runner.run_streamed(agent, said, max_turns=3)
    pieces = []
    async for event in result.stream_events():
        if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent):
            pieces.append(event.data.delta)
    return result, "".join(pieces)


def tokens(result: RunResultBase) -> tuple[int, int, int, int]:
    usage = result.context_wrapper.usage
    return usage.requests, usage.input_tokens, usage.output_tokens, usage.total_tokens


both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@both
async def test_an_agent_answers(seen: Seen, stream: bool) -> None:
    result, streamed = await run(agent(seen, tools=[]), "Hello 🏯", stream)
    assert result.final_output == "You said: Hello 🏯"
    assert streamed == (result.final_output if stream else "")
    assert tokens(result) == (1, 11, 7, 18)


@both
async def test_an_agent_calls_a_tool(seen: Seen, stream: bool) -> None:
    result, streamed = await run(agent(seen), "Ask weather about 'Ōsaka 🏯'", stream)
    assert seen == Seen(["Ōsaka 🏯"], 0)
    assert result.final_output == "weather says: sunny in Ōsaka 🏯"
    assert streamed == (result.final_output if stream else "")
    assert tokens(result) == (2, 22, 14, 36)


@both
async def test_an_agent_calls_two_tools_at_once(seen: Seen, stream: bool) -> None:
    result, _ = await run(agent(seen), "Ask weather about 'Oslo', and clock", stream)
    assert seen == Seen(["Oslo"], 1)
    assert result.final_output == "clock says: noon"
    assert tokens(result)[0] == 2


@both
async def test_an_agent_must_call_a_tool(seen: Seen, stream: bool) -> None:
    settings = ModelSettings(tool_choice="clock", include_usage=True)
    result, _ = await run(agent(seen, model_settings=settings), "Hello", stream)
    assert seen == Seen([], 1)
    assert result.final_output == "clock says: noon"


@both
async def test_an_agent_calls_one_tool_at_a_time(seen: Seen, stream: bool) -> None:
    settings = ModelSettings(parallel_tool_calls=False)
    result, _ = await run(agent(seen, model_settings=settings), "clock", stream)
    assert seen == Seen([], 1)
    assert result.final_output == "clock says: noon"


@both
async def test_an_agent_fills_a_type(seen: Seen, stream: bool) -> None:
    result, streamed = await run(agent(seen, tools=[], output_type=Recipe), "'Dal' for 4 in 20 minutes", stream)
    assert result.final_output == RECIPE
    assert not stream or Recipe.model_validate_json(streamed) == RECIPE


@both
async def test_an_agent_fills_a_type_after_a_tool(seen: Seen, stream: bool) -> None:
    result, _ = await run(agent(seen, output_type=Recipe), "clock", stream)
    assert seen == Seen([], 1)
    assert isinstance(result.final_output, Recipe)


@both
async def test_an_agent_hands_over(seen: Seen, stream: bool) -> None:
    clerk = agent(seen, tools=[]).clone(name="Clerk")
    result, _ = await run(agent(seen, tools=[], handoffs=[clerk]), "To the clerk, please", stream)
    assert result.last_agent is clerk
    assert "transfer_to_clerk says" in str(result.final_output)


@both
async def test_an_agent_without_tools_takes_over_after_one_with(seen: Seen, stream: bool) -> None:
    first, _ = await run(agent(seen), "Ask weather about 'Oslo', and clock", stream)
    said: list[TResponseInputItem] = [*first.to_input_list(), {"role": "user", "content": "Thanks"}]
    second, _ = await run(agent(seen, tools=[]), said, stream)
    assert second.final_output == "You said: Thanks"


async def test_an_agent_sees_an_image(seen: Seen) -> None:
    said: list[TResponseInputItem] = [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "image_url": f"data:image/png;base64,{DOT}", "detail": "auto"},
            ],
        }
    ]
    result, _ = await run(agent(seen, tools=[]), said, False)
    assert result.final_output == "You said: What is this? (and 1 images)"
