"""What the AWS provider knows of a resource, read from the classes that were generated from its schema.

Those are in a wheel of 59 MB (requirements in provider.lock); it is downloaded once and read in place, never imported.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.deploy.hcl import Block
from tests.ecosystem.installed import not_here

HERE = Path(__file__).parent
PLACE = HERE.parent.parent / ".gateway" / "deploy" / "provider"
_META = {"count", "for_each", "provider", "depends_on", "lifecycle", "connection", "provisioner", "provisioners"}
_PARAMETER = re.compile(r":param (\w+): (.*?)(?=:param |$)", re.S)
_ANCHOR = re.compile(r"#(\w+) ")


@dataclass(frozen=True)
class Argument:
    required: bool
    block: bool
    inside: str  # the class of what stands in it; empty where it is a plain value


@dataclass(frozen=True)
class Kind:
    """A resource or data source: the arguments of each class of its module, the outermost first."""

    outermost: str
    classes: dict[str, dict[str, Argument]]


def wheel() -> Path:
    for file in PLACE.glob("*.whl"):
        return file
    PLACE.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--require-hashes"]
    done = subprocess.run(
        [*pip, "-r", HERE / "provider.lock", "-d", PLACE], capture_output=True, text=True, timeout=500
    )
    if done.returncode:
        not_here(f"the provider's schema could not be downloaded: {done.stderr[-300:]}")
    return next(PLACE.glob("*.whl"))


@cache
def kind_of(block_kind: str, name: str) -> Kind | None:
    """The schema of `resource "aws_x"` or `data "aws_x"`; None when the provider has none of that name."""
    module = ("data_" if block_kind == "data" else "") + name
    short = module.replace("aws_", "", 1) if block_kind == "resource" else module
    with zipfile.ZipFile(wheel()) as archive:
        for folder in (short, module):
            path = f"cdktf_cdktf_provider_aws/{folder}/__init__.py"
            if path in archive.namelist():
                return _kind(ast.parse(archive.read(path)))
    return None


def mistakes(block: Block) -> list[str]:
    """What is wrong with one resource or data block, a sentence each with its place.

    Stricter than Terraform in one thing: what may be an argument or a block is to be given with a `=`.
    """
    if block.kind not in {"resource", "data"} or not block.labels[0].startswith("aws_"):
        return []
    kind = kind_of(block.kind, block.labels[0])
    if kind is None:
        return [f"{block.place}: the provider has no {block.labels[0]}"]
    return list(_mistakes(block, kind, kind.outermost, block.place))


def _mistakes(block: Block, kind: Kind, name: str, place: str) -> Iterator[str]:
    known = kind.classes[name]
    given = {*block.arguments, *(_name(each) for each in block.blocks)} - _META
    for each in sorted(given - set(known)):
        yield f"{place}: unknown argument {each}"
    for each, argument in known.items():
        if argument.required and each not in given:
            yield f"{place}: {each} is missing"
        if argument.block and each in block.arguments:
            yield f"{place}: {each} is a block, and stands there with a ="
    for each in block.blocks:
        argument = known.get(_name(each))
        if argument is None:
            continue
        if not argument.block:
            yield f"{place}: {_name(each)} is an argument, and stands there as a block"
        elif each.kind == "dynamic":
            content = next(inner for inner in each.blocks if inner.kind == "content")
            yield from _mistakes(content, kind, argument.inside, f"{place}.{_name(each)}")
        else:
            yield from _mistakes(each, kind, argument.inside, f"{place}.{_name(each)}")


def _name(block: Block) -> str:
    return block.labels[0] if block.kind == "dynamic" else block.kind


def _kind(tree: ast.Module) -> Kind:
    nodes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    outermost = next(name for name, node in nodes.items() if _takes_meta_arguments(node))
    return Kind(outermost, {name: _arguments(node, set(nodes)) for name, node in nodes.items()})


def _takes_meta_arguments(node: ast.ClassDef) -> bool:
    return any("TerraformMetaArguments" in ast.unparse(base) for base in node.bases)


def _arguments(node: ast.ClassDef, classes: set[str]) -> dict[str, Argument]:
    init = next((each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), None)
    if init is None or init.args.args[1:]:
        return {}
    said = dict(_PARAMETER.findall(ast.get_docstring(init) or ""))
    found = {}
    for argument, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True):
        text = said.get(argument.arg, "")
        anchor = _ANCHOR.search(text)
        if anchor is not None:
            words = re.findall(r"\w+", ast.unparse(argument.annotation) if argument.annotation else "")
            inside = next((word for word in words if word in classes), "")
            found[anchor[1]] = Argument(default is None, f"{anchor[1]} block." in text, inside)
    return found
