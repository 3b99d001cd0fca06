"""What kustomize makes of a folder: the objects as a cluster would be handed them."""

from __future__ import annotations

import base64
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from tests.deploy.tools import ROOT, kubectl, run

K8S = ROOT / "k8s"
Object = dict[str, Any]


@dataclass(frozen=True)
class Manifests:
    objects: tuple[Object, ...]

    def of(self, kind: str) -> dict[str, Object]:
        """The objects of a kind, by name."""
        return {each["metadata"]["name"]: each for each in self.objects if each["kind"] == kind}

    def pods(self) -> dict[str, Object]:
        """Every pod's template, by the name of what makes it."""
        makers = [each for each in self.objects if each["kind"] in ("Deployment", "StatefulSet", "Job")]
        return {each["metadata"]["name"]: each["spec"]["template"] for each in makers}

    def workers(self) -> dict[str, Object]:
        """The pods of workers alone."""
        return {name: pod for name, pod in self.pods().items() if component(pod) == "worker"}

    def with_secret(self, name: str, **held: str) -> Manifests:
        """The same beside a Secret that a user made."""
        data = {key: base64.b64encode(value.encode()).decode() for key, value in held.items()}
        return Manifests((*self.objects, {"kind": "Secret", "metadata": {"name": name}, "data": data}))

    def secret(self, name: str) -> dict[str, str]:
        """What stands in a Secret; nothing if it is left to the user."""
        held = self.of("Secret").get(name, {"data": {}})
        return {key: base64.b64decode(value).decode() for key, value in held["data"].items()}


def component(pod: Object) -> str:
    return str(pod["metadata"]["labels"]["app.kubernetes.io/component"])


def containers(pod: Object) -> Iterator[Object]:
    yield from pod["spec"].get("initContainers", [])
    yield from pod["spec"]["containers"]


def lists(trigger_owner: Object) -> dict[str, str]:
    """The keys that a ScaledObject reads, by its triggers' names."""
    return {trigger["name"]: trigger["metadata"]["listName"] for trigger in trigger_owner["spec"]["triggers"]}


@functools.cache
def build(folder: str) -> Manifests:
    """
    folder: below k8s/.
    """
    return Manifests(tuple(yaml.safe_load_all(written(folder))))


def written(folder: str) -> str:
    """
    folder: below k8s/.
    """
    done = run(kubectl(), "kustomize", K8S / folder)
    assert done.returncode == 0, done.stderr
    return done.stdout
