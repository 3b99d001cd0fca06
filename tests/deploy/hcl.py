"""Terraform files as plain data: blocks, their arguments, and what they refer to."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hcl2

_MARKS = {"__is_block__", "__comments__", "__inline_comments__"}
_REFERENCE = re.compile(r"(?<![\w.\"-])((?:ephemeral\.|data\.)?[a-z][a-z0-9_]*(?:\.[a-zA-Z_][\w-]*)+)")


@dataclass(frozen=True)
class Block:
    """`kind "label" "label" { … }`; blocks inside it are in `blocks`, everything with a `=` in `arguments`."""

    kind: str
    labels: tuple[str, ...]
    arguments: Mapping[str, Any]
    blocks: tuple[Block, ...] = ()
    file: str = field(default="", compare=False)

    @property
    def place(self) -> str:
        return f"{self.file}: {' '.join((self.kind, *self.labels))}"


def read(text: str, file: str = "") -> list[Block]:
    return [_dressed(kind, body, file) for kind, bodies in _tree(text).items() for body in bodies]


def folder(path: Path) -> list[Block]:
    return [block for file in sorted(path.glob("*.tf")) for block in read(file.read_text(), file.name)]


def values(path: Path) -> dict[str, Any]:
    """A .tfvars file's, or a backend's, arguments."""
    return {name: _bare(value) for name, value in _tree(path.read_text()).items()}


def references(text: str) -> set[str]:
    """What a file's expressions name, with the dots: var.region, module.vpc.vpc_id, aws_kms_key.rest.arn."""
    return set(_REFERENCE.findall(_expressions(text)))


def _tree(text: str) -> dict[str, Any]:
    tree: dict[str, Any] = hcl2.loads(text)
    return {name: value for name, value in tree.items() if name not in _MARKS}


def _dressed(kind: str, body: Mapping[str, Any], file: str, labels: tuple[str, ...] = ()) -> Block:
    while "__is_block__" not in body:
        ((label, body),) = body.items()
        labels += (label.strip('"'),)
    inside = {name: value for name, value in body.items() if name not in _MARKS}
    blocks = {name: value for name, value in inside.items() if _are_blocks(value)}
    return Block(
        kind,
        labels,
        {name: _bare(value) for name, value in inside.items() if name not in blocks},
        tuple(_dressed(name, each, file) for name, several in blocks.items() for each in several),
        file,
    )


def _are_blocks(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_block(each) for each in value)


def _is_block(value: object) -> bool:
    while isinstance(value, dict) and "__is_block__" not in value and len(value) == 1:
        (value,) = value.values()
    return isinstance(value, dict) and "__is_block__" in value


def _bare(value: Any) -> Any:
    """Without the quotes that the parser leaves around strings."""
    if isinstance(value, str) and value.startswith('"'):
        return value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if isinstance(value, list):
        return [_bare(each) for each in value]
    if isinstance(value, dict):
        return {name.strip('"'): _bare(each) for name, each in value.items() if name not in _MARKS}
    return value


def _expressions(text: str) -> str:
    """A file without its comments and the text of its strings, but with what stands in `${…}` in them."""
    kept: list[str] = []
    open_braces = [0]  # one entry a nesting of code in a string in code …
    in_string = False
    at = 0
    while at < len(text):
        char, pair = text[at], text[at : at + 2]
        step = 1
        if in_string:
            if pair == "${":
                in_string, step = False, 2
                open_braces.append(0)
            elif char == "\\":
                step = 2
            elif char == '"':
                in_string = False
            kept.append(" ")
        elif char == "#":
            step = text.find("\n", at) - at
        elif char == '"':
            in_string = True
        elif char == "}" and open_braces[-1] == 0 and len(open_braces) > 1:
            open_braces.pop()
            in_string = True
        else:
            open_braces[-1] += (char == "{") - (char == "}")
            kept.append(char)
        at += step
    return "".join(kept)


def dump(data: object) -> str:
    return json.dumps(data, indent=1, sort_keys=True) + "\n"
