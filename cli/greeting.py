"""What `gateway up` shows once it is ready: a first answer through the whole path, and how to ask for more."""

from __future__ import annotations

import json
import shlex

import aiohttp

from cli.client import Client, Document
from cli.errors import CommandError, PartFailed
from cli.parts import Plan
from cli.screen import Screen, cost

QUESTION = "Say hello in one short sentence."
LOCAL_MODEL = "smollm2:135m"


async def ask(plan: Plan, key: str, screen: Screen) -> None:
    """Send one prompt through the gateway and show its answer, its job's timeline and its cost.

    Raises:
        PartFailed: it was not answered.
    """
    model = await _free_model(plan)
    if model is None:
        screen.line("no local model, so no first prompt was sent: it might cost money")
        return
    body = {
        "model": model,
        "messages": [{"role": "user", "content": QUESTION}],
        "max_tokens": 40,
        "temperature": 0,
        "timeout_ms": 60_000,
    }
    try:
        async with Client(plan.ports.url, key) as client:
            answer, headers = await client.call("POST", "/v1/chat/completions", body)
            job, _ = await client.call("GET", f"/v1/jobs/{headers['x-gateway-job']}")
    except CommandError as error:
        raise PartFailed(f"the first prompt was not answered: {error}; the logs are in {plan.home.logs}") from error
    screen.line()
    screen.line(f"{model} was asked: {QUESTION}")
    screen.line(f"It answered: {answer['choices'][0]['message']['content'].strip()}", style="bold")
    screen.line(f"{job['id']} is {job['state']}; {cost(job)}")
    screen.timeline(job["timeline"])


def explain(plan: Plan, screen: Screen) -> None:
    """Base URL, key, and two snippets that work when pasted."""
    url, key, model = plan.ports.url, plan.home.key, _example_model(plan)
    messages = '[{"role": "user", "content": "What is a queue?"}]'
    body = f'{{"model": "{model}", "messages": {messages}, "max_tokens": 80}}'
    screen.line()
    screen.line(f"The gateway serves at {url}/v1 (providers: {', '.join(plan.live.names)})", style="bold")
    if plan.ports.metrics:
        screen.line(f"Metrics are at http://127.0.0.1:{plan.ports.metrics}/metrics")
    screen.line(f"The first API key, an admin's, lies in {key}")
    screen.line()
    screen.line(f"""curl {url}/v1/chat/completions -H "Authorization: Bearer $(cat {shlex.quote(str(key))})" \\
  -H "Content-Type: application/json" -d {shlex.quote(body)}""")
    screen.line()
    screen.line(f"""from openai import OpenAI

client = OpenAI(base_url="{url}/v1", api_key=open({json.dumps(str(key))}).read().strip())
answer = client.chat.completions.create(model="{model}", max_tokens=80, messages={messages})
print(answer.choices[0].message.content)""")
    screen.line()
    screen.line("Ctrl-C stops everything.")


async def _free_model(plan: Plan) -> str | None:
    """A model that costs nothing to ask: the embedded one, or the smallest routed one of a real Ollama."""
    if plan.live.embedded:
        return LOCAL_MODEL
    if not plan.live.real:
        return None
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        try:
            async with session.get(f"{plan.live.real}/api/tags") as response:
                models: list[Document] = (await response.json())["models"]
        except (aiohttp.ClientError, TimeoutError):
            return None
    prefixes = tuple(prefix for name in plan.live.names for prefix in plan.config.provider_models.get(name, []))
    chatting = [
        model
        for model in models
        if model["name"].startswith(prefixes) and "bert" not in (model.get("details") or {}).get("family", "")
    ]
    return min(chatting, key=lambda model: model["size"])["name"] if chatting else None


def _example_model(plan: Plan) -> str:
    if plan.live.embedded:
        return LOCAL_MODEL
    name = plan.live.names[0]
    models = plan.config.providers[name].models or plan.config.provider_models.get(name, [])
    return models[0] if models else "model"
