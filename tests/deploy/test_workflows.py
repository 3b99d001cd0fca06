""".github/workflows: what a schema, two linters and we ourselves can tell without running them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy import hcl
from tests.deploy.tools import HERE, ROOT, run, tool
from tests.ecosystem.installed import node_folder

FILES = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
WORKFLOWS: dict[str, dict[str, Any]] = {file.stem: yaml.safe_load(file.read_text()) for file in FILES}
JOBS = [(name, key, job) for name, workflow in WORKFLOWS.items() for key, job in workflow["jobs"].items()]
STEPS = [(f"{name}.{key}", step) for name, key, job in JOBS for step in job.get("steps", [])]
PINNED = re.compile(r"uses: ([\w./-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)")
# What this actionlint is too old to know, and GitHub does.
NEWER = ('label "ubuntu-24.04" is unknown', 'unknown permission scope "attestations"', 'undefined variable "vars"')


@pytest.mark.timeout(600)  # the first time it is installed
def test_workflows_follow_githubs_schema() -> None:
    done = run(tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", *FILES)
    assert done.returncode == 0, done.stdout


@pytest.mark.timeout(600)
def test_zizmor_finds_nothing_that_is_not_explained() -> None:
    done = run(tool("zizmor"), "--offline", "--no-progress", ROOT / ".github" / "workflows")
    assert done.returncode == 0, done.stdout
    for file in FILES:
        for line in file.read_text().splitlines():
            assert "zizmor: ignore" not in line or re.search(r"ignore\[[\w-]+\] \w+", line), f"{file.name}: no reason"


@pytest.mark.timeout(600)
def test_actionlint_finds_nothing_that_is_not_merely_new_to_it(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("on: push\njobs:\n  a:\n    needs: b\n    runs-on: ubuntu-latest\n    steps: [{run: 'true'}]\n")
    folder = node_folder(HERE / "node", ROOT / ".gateway" / "deploy" / "node")
    done = subprocess.run(["node", "lint.js", *FILES, broken], cwd=folder, capture_output=True, text=True, timeout=110)
    said = [
        f"{Path(each['file']).name}:{each['line']}: {each['message']}"
        for each in json.loads(done.stdout)
        if not each["message"].startswith(NEWER)
    ]
    assert said == ['broken.yaml:3: job "a" needs job "b" which does not exist in this workflow']


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_action_is_pinned_to_a_commit_and_says_its_version(file: Path) -> None:
    for line in file.read_text().splitlines():
        if "uses:" in line and "uses: ./" not in line:
            assert PINNED.search(line), line


def test_an_action_has_one_commit_in_all_workflows() -> None:
    pins = {match for file in FILES for match in PINNED.findall(file.read_text())}
    assert len(pins) == len({action for action, _, _ in pins})


def test_rights_are_given_job_by_job_and_writing_ones_only_where_something_is_written() -> None:
    assert all(workflow["permissions"] == {} for workflow in WORKFLOWS.values())
    writes = {
        (f"{name}.{key}", right)
        for name, key, job in JOBS
        for right, how in job["permissions"].items()
        if how == "write"
    }
    pushing = {"packages", "id-token", "attestations"}
    assert writes == {
        *(("image.push", right) for right in pushing),
        *(("release.image", right) for right in pushing),  # it calls the workflow above
        ("release.release", "contents"),
    }


def test_everything_ends_and_old_runs_of_a_pull_request_make_way() -> None:
    assert all("timeout-minutes" in job for _, _, job in JOBS if "uses" not in job)
    assert all(workflow["concurrency"]["group"].endswith("${{ github.ref }}") for workflow in WORKFLOWS.values())


def test_what_a_workflow_runs_is_there() -> None:
    from_actions = {"terraform": "hashicorp/setup-terraform", "gh": ""}  # gh is on every runner
    for place, step in STEPS:
        if "run" in step:
            command = step["run"].split()[0]
            if command in from_actions:
                assert any(from_actions[command] in other.get("uses", "") for _, other in STEPS), place
            else:
                assert (ROOT / command).is_file() and (ROOT / command).stat().st_mode & 0o111, f"{place}: {command}"
            assert (ROOT / step.get("working-directory", ".")).is_dir(), place


def test_every_test_is_run_by_some_job() -> None:
    parts = WORKFLOWS["check"]["jobs"]["test"]["strategy"]["matrix"]["part"]
    (unit,) = [part["run"] for part in parts if part["name"] == "unit"]
    left_out = set(re.findall(r"--ignore=(\S+)", unit))
    elsewhere = {part["run"] for part in parts if part["name"] != "unit"} | {
        step["run"].split()[1] for _, step in STEPS if step.get("run", "").startswith("scripts/test tests/")
    }
    assert left_out == elsewhere
    assert all((ROOT / folder).is_dir() for folder in left_out)


def test_the_variables_that_the_image_is_pushed_with_are_terraforms_outputs() -> None:
    outputs = {block.labels[0] for block in hcl.folder(ROOT / "terraform") if block.kind == "output"}
    used = set(re.findall(r"vars\.(\w+)", (ROOT / ".github" / "workflows" / "image.yaml").read_text()))
    assert used == {"AWS_PUSHER_ROLE", "AWS_REGION", "ECR_REPOSITORY"}
    assert {"pusher_role_arn", "image_repository"} <= outputs


def test_an_image_has_what_its_supply_chain_asks_for() -> None:
    (build,) = [step["with"] for place, step in STEPS if place == "image.push" and step.get("id") == "build"]
    assert build["sbom"] is True and build["provenance"] == "mode=max"
    assert set(build["platforms"].split(",")) == {"linux/amd64", "linux/arm64"}
    assert WORKFLOWS["image"]["jobs"]["push"]["needs"] == "scan"


def test_the_build_context_has_all_that_the_dockerfile_and_the_package_need() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    packages = {name.rstrip("*") for name in re.findall(r'"(\w+)\*"', (ROOT / "pyproject.toml").read_text())}
    assert packages | {"config", "pyproject.toml", "README.md", "requirements.image.lock"} <= kept
    assert not {"tests", "terraform", "k8s", ".git", ".gateway"} & kept


def test_a_versions_changes_are_printed_and_an_unknown_version_stops_the_release(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "changelog", tmp_path / "scripts")
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## 1.10.0 - 2026-01-02\n\n- Tenth.\n\n## 1.1.0\n\n- First.\n  More.\n\n## 1.0.0\n"
    )

    def changelog(version: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([tmp_path / "scripts" / "changelog", version], capture_output=True, text=True, timeout=10)

    assert changelog("v1.1.0").stdout == "- First.\n  More.\n"
    assert changelog("1.10.0").stdout == "- Tenth.\n"
    for missing in ("v1.0.0", "v1.1", "v2.0.0"):
        assert changelog(missing).returncode == 1
        assert "CHANGELOG.md has no section" in changelog(missing).stderr
