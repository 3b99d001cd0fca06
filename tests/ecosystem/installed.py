"""The clients' packages, put beside the checkout once for each lock: their versions are not ours to share."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

HERE = Path(__file__).parent
PLACE = HERE.parent.parent / ".gateway" / "ecosystem"
WITHIN_S = 500


def not_here(why: str) -> NoReturn:
    """What is missing at home is skipped; where everything must run, it fails."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def python() -> Path:
    """The interpreter of an environment with what requirements.lock names."""
    return environment(HERE / "requirements.lock", PLACE / "venv")


def environment(lock: Path, folder: Path) -> Path:
    """The interpreter of an environment in `folder` with what `lock` names."""
    interpreter = folder / "bin" / "python"
    mark = folder / "installed"
    with alone(folder):
        if not _marked(mark, lock):
            shutil.rmtree(folder, ignore_errors=True)
            _do([sys.executable, "-m", "venv", str(folder)], lock.parent)
            pip = [str(interpreter), "-m", "pip", "install", "-q", "--no-compile", "--no-deps", "--require-hashes"]
            _do([*pip, "-r", str(lock)], lock.parent)
            mark.write_text(_digest(lock))
    return interpreter


def node() -> Path:
    """A folder with what package-lock.json names, and the script."""
    return node_folder(HERE / "node", PLACE / "node")


def node_folder(source: Path, folder: Path) -> Path:
    """`folder`, with what lies in `source` and what its package-lock.json names."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        not_here("there is no node, or no npm: apt-get install nodejs npm")
    mark = folder / "installed"
    lock = source / "package-lock.json"
    with alone(folder):
        shutil.copytree(source, folder, dirs_exist_ok=True)
        if not _marked(mark, lock):
            mark.unlink(missing_ok=True)
            _do(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], folder)
            mark.write_text(_digest(lock))
    return folder


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One process at a time fills a folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _digest(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def _marked(mark: Path, lock: Path) -> bool:
    return mark.exists() and mark.read_text() == _digest(lock)


def _do(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=WITHIN_S)
    except subprocess.TimeoutExpired:
        not_here(f"`{' '.join(command[:4])} …` took longer than {WITHIN_S} s")
    else:
        if done.returncode:
            not_here(f"`{' '.join(command[:4])} …` did not install what it names: {done.stderr[-500:]}")
