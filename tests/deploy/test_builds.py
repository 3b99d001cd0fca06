"""Every kustomization builds, and every object is what the cluster's schemas say."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy import tools
from tests.deploy.manifests import K8S, Manifests, Object, build

pytestmark = pytest.mark.timeout(600)  # the first test of all puts in place what reads manifests

WHOLE = ("base", "overlays/dev", "overlays/prod", "argocd")
_OURS = ("", "apps", "autoscaling", "batch", "networking.k8s.io", "policy", "rbac.authorization.k8s.io")


def group(object_: Object) -> str:
    return str(object_["apiVersion"]).rpartition("/")[0]


def of_others(objects: tuple[Object, ...]) -> list[Object]:
    return [each for each in objects if group(each) not in _OURS]


def check_kubernetes(objects: list[Object], folder: Path) -> str:
    """What Kubernetes' own schemas have against the objects; unknown fields too."""
    path = folder / "objects.yaml"
    path.write_text(yaml.safe_dump_all(objects))
    command = [str(tools.python()), "-m", "kubernetes_validate", "--strict", "--quiet", "-k", "1.37", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert not done.stderr
    return done.stdout


def check_others(objects: list[Object]) -> list[str]:
    """What KEDA, Argo CD, External Secrets, cert-manager and Prometheus' operator have against theirs."""
    folder = tools.kinds()
    done = subprocess.run(
        ["node", "check.js"], cwd=folder, input=json.dumps(objects), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def named(folder: str, field: str) -> set[str]:
    """The last parts of the paths that a folder's kustomization names."""
    return {Path(each).name for each in yaml.safe_load((K8S / folder / "kustomization.yaml").read_text())[field]}


@pytest.fixture(scope="session")
def spare(tmp_path_factory: pytest.TempPathFactory) -> Manifests:
    """The base with every component that no overlay takes."""
    home = tmp_path_factory.mktemp("spare")
    taken = named("overlays/dev", "components") | named("overlays/prod", "components")
    left = sorted(path for path in (K8S / "components").iterdir() if path.name not in taken)
    kustomization = {
        "kind": "Kustomization",
        "resources": [os.path.relpath(K8S / "base", home)],
        "components": [os.path.relpath(each, home) for each in left],
    }
    (home / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return build(str(home))


@pytest.fixture(scope="session")
def every_object(spare: Manifests) -> tuple[Object, ...]:
    """All that is made anywhere, each object once."""
    made = [spare, *(build(each) for each in WHOLE)]
    return tuple({json.dumps(each, sort_keys=True): each for manifests in made for each in manifests.objects}.values())


@pytest.mark.parametrize("folder", WHOLE)
def test_a_kustomization_builds(folder: str) -> None:
    assert build(folder).objects


def test_every_overlay_takes_components_and_the_rest_go_together(spare: Manifests) -> None:
    doors = spare.of("Deployment")
    assert doors["web"]["spec"]["selector"] != doors["web-green"]["spec"]["selector"]
    assert spare.of("Service")["web"]["spec"]["selector"] == {"app.kubernetes.io/name": "web"}
    assert spare.of("Service")["web-green"]["spec"]["selector"] == doors["web-green"]["spec"]["selector"]["matchLabels"]
    assert spare.of("HorizontalPodAutoscaler")["web-green"]["spec"]["scaleTargetRef"]["name"] == "web-green"
    assert spare.of("Ingress")["web"]["spec"]["tls"]


def spoilt(kind: str, name: str, *place: str | int, field: str, value: Any) -> Object:
    """An object of the base with one wrong field, under a name that says so."""
    object_ = copy.deepcopy(build("base").of(kind)[name])
    inner: Any = object_
    for step in place:
        inner = inner[step]
    inner[field] = value
    object_["metadata"]["name"] = f"spoilt-{field}".lower()
    return object_


def test_the_objects_of_kubernetes_own_kinds_are_strictly_valid(
    every_object: tuple[Object, ...], tmp_path: Path
) -> None:
    container = ("spec", "template", "spec", "containers", 0)
    wrong = [
        spoilt("Deployment", "web", *container, field="livenesProbe", value={}),
        spoilt("Deployment", "web", "spec", field="minReadySeconds", value="soon"),
    ]
    ours = [each for each in every_object if group(each) in _OURS]
    assert len(ours) > 60
    faults = check_kubernetes([*ours, *wrong], tmp_path)
    assert re.findall(r"resource (\S+)", faults) == [
        "deployment/spoilt-livenesprobe",
        "deployment/spoilt-minreadyseconds",
    ]


def test_the_objects_of_other_peoples_kinds_are_strictly_valid(every_object: tuple[Object, ...]) -> None:
    wrong = [
        spoilt("ScaledObject", "ollama", "spec", "scaleTargetRef", field="nmae", value="ollama"),
        spoilt("ScaledObject", "ollama", "spec", "fallback", field="behavior", value="hope"),
    ]
    faults = check_others([*of_others(every_object), *wrong])
    assert {fault.partition(":")[0] for fault in faults} == {"ScaledObject/spoilt-nmae", "ScaledObject/spoilt-behavior"}


def test_every_file_of_the_folder_is_built_into_something() -> None:
    told: set[Path] = set()
    for path in K8S.rglob("kustomization.yaml"):
        text = path.read_text()
        told |= {path, *(each for each in path.parent.iterdir() if each.is_file() and each.name in text)}
    assert {path for path in K8S.rglob("*") if path.is_file()} - told <= {K8S / "README.md", K8S / ".checkov.yaml"}
    listed = named("base", "resources") | {"worker", "lane-scaler"}
    assert {path.name for path in (K8S / "base").iterdir()} <= listed | {"kustomization.yaml"}
