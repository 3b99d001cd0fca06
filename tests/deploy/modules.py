"""The inputs and outputs of the community modules that terraform/ uses, as their own sources declare them.

modules.json beside this file holds them, because the modules come from a place that not every machine reaches. Written
anew, after `terraform init` has brought the sources, by `python -m tests.deploy.modules terraform`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TypedDict

from tests.deploy import hcl

KEPT = Path(__file__).with_name("modules.json")


class Interface(TypedDict):
    version: str
    inputs: list[str]
    required: list[str]
    outputs: list[str]


def kept() -> dict[str, Interface]:
    """By the module's source."""
    interfaces: dict[str, Interface] = json.loads(KEPT.read_text())
    return interfaces


def fetched(terraform: Path) -> dict[str, Interface]:
    """Of what `terraform init` has brought."""
    entries = json.loads((terraform / ".terraform" / "modules" / "modules.json").read_text())["Modules"]
    return {
        entry["Source"].removeprefix("registry.terraform.io/"): _interface(terraform / entry["Dir"], entry["Version"])
        for entry in entries
        if entry.get("Version") and "." not in entry["Key"]
    }


def _interface(folder: Path, version: str) -> Interface:
    blocks = hcl.folder(folder)
    inputs = {block.labels[0]: block for block in blocks if block.kind == "variable"}
    return {
        "version": version,
        "inputs": sorted(inputs),
        "required": sorted(name for name, block in inputs.items() if "default" not in block.arguments),
        "outputs": sorted(block.labels[0] for block in blocks if block.kind == "output"),
    }


if __name__ == "__main__":
    KEPT.write_text(hcl.dump(fetched(Path(sys.argv[1]))))
