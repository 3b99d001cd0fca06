"""Other gateways, each installed in a venv of its own and set up as its makers advise for production."""

from __future__ import annotations

import contextlib
import sys
import venv
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import yaml

from benchmarks import wire
from benchmarks.children import answers, free_port, outcome, running, until
from benchmarks.stack import Bench, Target

_LITELLM = "1.106.2"
_KEY = "sk-bench"


@contextlib.contextmanager
def litellm(bench: Bench, upstream_port: int, models: Sequence[str]) -> Iterator[Target]:
    """LiteLLM's proxy with one worker and a master key.

    `proxy-runtime` matters: without it a failing import is tried again on every request, which halves the speed.
    """
    packages = [f"litellm[proxy,proxy-runtime]=={_LITELLM}", "httptools", "uvloop"]
    python = install(bench, "litellm", packages)
    settings = bench.folder / "litellm.yaml"
    settings.write_text(yaml.safe_dump(_litellm_settings(upstream_port, models)))
    environ = bench.child_environ(
        LITELLM_MASTER_KEY=_KEY, LITELLM_LOG="ERROR", LITELLM_MODE="PRODUCTION", LITELLM_LOCAL_MODEL_COST_MAP="True"
    )
    del environ["PYTHONPATH"]
    port = free_port()
    options = ["--config", str(settings), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    command: list[str | Path] = [python.with_name("litellm"), *options]
    with running("litellm", command, folder=bench.folder, environ=environ) as child:
        asked = wire.request(models[0], port=port, key=_KEY, stream=False)
        until(lambda: answers(port, asked), child, 90)
        yield Target("litellm", port, _KEY, {"litellm": child.process.pid})


def _litellm_settings(upstream_port: int, models: Sequence[str]) -> dict[str, object]:
    url = f"http://127.0.0.1:{upstream_port}/v1"
    return {
        "model_list": [
            {"model_name": model, "litellm_params": {"model": f"openai/{model}", "api_base": url, "api_key": "x"}}
            for model in models
        ],
        "litellm_settings": {"num_retries": 0, "request_timeout": 60},
        "general_settings": {"master_key": _KEY},
    }


def install(bench: Bench, name: str, packages: Sequence[str]) -> Path:
    """The Python of a venv under `bench.home` that holds these packages with their bytecode; made where it is missing.

    Raises:
        BenchError: pip could not install them.
    """
    home = bench.home / name
    python = home / "bin" / "python"
    wanted, noted = "\n".join(packages), home / "installed.txt"
    if noted.exists() and noted.read_text() == wanted:
        return python
    print(f"installing {packages[0]} into {home} …", file=sys.stderr, flush=True)
    venv.create(home, with_pip=True, clear=True)
    environ = {key: value for key, value in bench.environ.items() if not key.startswith("PYTHON")}
    outcome([python, "-m", "pip", "install", "--quiet", "--compile", *packages], environ=environ, seconds=900)
    noted.write_text(wanted)
    return python


PEERS: dict[str, Callable[[Bench, int, Sequence[str]], AbstractContextManager[Target]]] = {"litellm": litellm}
