"""terraform/ is written well and fits the provider, its modules, the manifests and the mesh; nothing of it is applied.

What these cannot tell, because no provider's binary is to be had from a package registry: whether AWS accepts the
values. `terraform test` with its mocked provider goes one step further where there is a network.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from mesh import lanes
from tests.deploy import hcl, modules, provider
from tests.deploy.manifests import K8S, build
from tests.deploy.tools import ROOT, run

TERRAFORM = ROOT / "terraform"
FILES = sorted(TERRAFORM.glob("*.tf"))
BLOCKS = hcl.folder(TERRAFORM)
ENVIRONMENTS = sorted((TERRAFORM / "environments").glob("*.tfvars"))
MODULES = [block for block in BLOCKS if block.kind == "module"]
OF_TERRAFORM = {"each", "path", "self", "count", "terraform"}


def variables() -> dict[str, hcl.Block]:
    return {block.labels[0]: block for block in BLOCKS if block.kind == "variable"}


def test_files_are_in_the_canonical_format() -> None:
    if shutil.which("terraform") is None:
        pytest.skip("there is no terraform, and neither Debian nor PyPI has it")
    done = run("terraform", "fmt", "-check", "-diff", "-recursive", "terraform")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_argument_is_one_that_the_provider_knows() -> None:
    found = [mistake for block in BLOCKS for mistake in provider.mistakes(block)]
    assert found == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param('resource "aws_kms_alias" "x" { nme = "alias/x" }', "unknown argument nme", id="unknown"),
        pytest.param('resource "aws_elasticache_user" "x" { engine = "valkey" }', "user_id is missing", id="missing"),
        pytest.param(
            'resource "aws_elasticache_user" "x" { authentication_mode = { type = "iam" } }',
            "authentication_mode is a block",
            id="a block with a =",
        ),
        pytest.param(
            'resource "aws_elasticache_user" "x" {\n  user_id {}\n}',
            "user_id is an argument",
            id="an argument as block",
        ),
        pytest.param(
            'resource "aws_elasticache_user" "x" {\n  authentication_mode {\n    kind = "iam"\n  }\n}',
            "authentication_mode: unknown argument kind",
            id="inside a block",
        ),
        pytest.param(
            'data "aws_iam_policy_document" "x" {\n dynamic "statement" {\n content {\n effct = "Deny"\n }\n }\n}',
            "statement: unknown argument effct",
            id="inside a dynamic block",
        ),
        pytest.param(
            'resource "aws_elasticash_user" "x" {}', "the provider has no aws_elasticash_user", id="no such kind"
        ),
    ],
)
def test_the_check_of_arguments_finds_a_mistake(text: str, said: str) -> None:
    (block,) = hcl.read(text, "x.tf")
    assert any(said in mistake for mistake in provider.mistakes(block))


@pytest.mark.parametrize("block", MODULES, ids=lambda block: block.labels[0])
def test_a_module_is_pinned_and_gets_inputs_that_it_has(block: hcl.Block) -> None:
    interface = modules.kept()[block.arguments["source"]]
    given = set(block.arguments) - {"source", "version", "for_each", "count", "depends_on", "providers"}
    assert block.arguments["version"] == interface["version"]
    assert block.blocks == ()
    assert given <= set(interface["inputs"])
    assert set(interface["required"]) <= given


def test_what_is_kept_of_the_modules_is_what_terraform_fetched() -> None:
    if not (TERRAFORM / ".terraform" / "modules" / "modules.json").exists():
        pytest.skip("`terraform init` has not run here: the modules' sources are compared where it has")
    assert modules.kept() == modules.fetched(TERRAFORM)


def test_every_name_that_is_used_is_declared_and_every_variable_is_used() -> None:
    declared = {
        "var": set(variables()),
        "local": {name for block in BLOCKS if block.kind == "locals" for name in block.arguments},
        "module": {block.labels[0] for block in MODULES},
    }
    kinds = {"resource": "", "data": "data.", "ephemeral": "ephemeral."}
    things = {kinds[block.kind] + ".".join(block.labels) for block in BLOCKS if block.kind in kinds}
    used = {(file.name, name) for file in FILES for name in hcl.references(file.read_text())}
    loop_names = {"secret", "user", "statement"}

    for file, name in sorted(used):
        first, *rest = name.split(".")
        if first in declared:
            assert rest[0] in declared[first], f"{file}: {name}"
        elif first not in OF_TERRAFORM | loop_names:
            assert any(name == thing or name.startswith(thing + ".") for thing in things), f"{file}: {name}"
    assert declared["var"] <= {name.split(".")[1] for _, name in used if name.startswith("var.")}
    assert declared["local"] <= {name.split(".")[1] for _, name in used if name.startswith("local.")}


def test_every_output_of_a_module_that_is_read_is_one_that_it_has() -> None:
    source = {block.labels[0]: block.arguments["source"] for block in MODULES}
    for file in FILES:
        for name in hcl.references(file.read_text()):
            kind, *rest = name.split(".")
            if kind == "module" and len(rest) > 1:
                assert rest[1] in modules.kept()[source[rest[0]]]["outputs"], f"{file.name}: {name}"


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.stem)
def test_an_environment_gives_what_must_be_given_and_nothing_unknown(path: Path) -> None:
    given = hcl.values(path)
    required = {name for name, block in variables().items() if "default" not in block.arguments}
    assert required <= set(given) <= set(variables())
    assert given["environment"] == path.stem
    assert (path.parent / f"{path.stem}.s3.tfbackend").exists()


def test_redis_lets_the_gateway_do_what_its_readme_says_and_keda_only_read_lanes() -> None:
    text = (TERRAFORM / "redis.tf").read_text()
    rights = dict(re.findall(r'(gw|keda) += "on (.*)"', text))
    (said,) = re.findall(r"The Redis user needs `(.*?)`", (ROOT / "README.md").read_text())
    assert set(said.split()) <= set(rights["gw"].split())
    assert f"~{lanes.PREFIX}*" in rights["keda"].split()
    assert not {"+@all", "+@write", "+@dangerous"} & set(rights["keda"].split())


def test_a_role_of_a_pod_goes_to_a_service_account_that_the_manifests_have() -> None:
    text = "".join((TERRAFORM / name).read_text() for name in ("bedrock.tf", "storage.tf"))
    wanted = set(re.findall(r'service_account += "([\w-]+)"', text))
    assert {"worker-bedrock", "web", "worker-system"} == wanted <= build("base").of("ServiceAccount").keys()


def test_the_secrets_that_the_manifests_read_are_made() -> None:
    components = K8S / "components"
    made = {"llm-api-keys", "redis", "seal", "door"}
    text = (TERRAFORM / "secrets.tf").read_text()
    assert all(f'"{name}"' in text or f"/{name}" in text for name in made)
    read = [file.read_text() for name in ("external-secrets", "elasticache") for file in (components / name).iterdir()]
    assert set(re.findall(r"key: ai-gateway/([\w-]+)", "\n".join(read))) == made


@pytest.mark.parametrize("path", sorted((TERRAFORM / "tests").glob("*.tftest.hcl")), ids=lambda path: path.stem)
def test_terraforms_own_tests_name_things_that_are_there(path: Path) -> None:
    things = {".".join(block.labels) for block in BLOCKS if block.kind == "resource"}
    outputs = {block.labels[0] for block in BLOCKS if block.kind == "output"}
    for name in hcl.references(path.read_text()):
        kind, *rest = name.split(".")
        known = {"var": set(variables()), "output": outputs, "module": {block.labels[0] for block in MODULES}}
        if kind in known:
            assert rest[0] in known[kind], name
        elif kind.startswith("aws_") or kind == "helm_release":
            assert ".".join((kind, rest[0])) in things, name


def rendered(template: Path) -> list[dict[str, Any]]:
    """A chart's template with values put in. It uses two of Helm's expressions, so this needs no Helm."""
    values = {".Values.cluster": "ai-gateway", ".Values.role": "node", "toJson .Values.capacity": '["spot"]'}
    text = re.sub(r"\{\{ (.*?) \}\}", lambda match: values[match[1]], template.read_text())
    return list(yaml.safe_load_all(text))


def test_karpenters_pools_take_their_nodes_from_classes_that_are_there() -> None:
    templates = sorted((TERRAFORM / "charts" / "karpenter-nodes" / "templates").glob("*.yaml"))
    objects = [each for template in templates for each in rendered(template)]
    classes = {each["metadata"]["name"] for each in objects if each["kind"] == "EC2NodeClass"}
    pools = {each["metadata"]["name"]: each["spec"] for each in objects if each["kind"] == "NodePool"}
    assert {pool["template"]["spec"]["nodeClassRef"]["name"] for pool in pools.values()} == classes
    assert pools["gpu"]["template"]["spec"]["taints"] == [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]
    assert set(pools["gpu"]["limits"]) == {"nvidia.com/gpu"}
