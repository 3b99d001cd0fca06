"""Checkov over terraform/ and the built manifests.

What it finds and we accept is explained where it stands, or in a .checkov.yaml beside what it holds for.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.deploy.manifests import written
from tests.deploy.tools import ROOT, run, tool

CONFIGS = [ROOT / folder / ".checkov.yaml" for folder in ("terraform", "k8s")]


@pytest.mark.timeout(600)  # the first time it is installed
def test_checkov_finds_nothing_that_is_not_explained(tmp_path: Path) -> None:
    for overlay in ("dev", "prod"):
        (tmp_path / f"{overlay}.yaml").write_text(written(f"overlays/{overlay}"))
    left_out = [check for path in CONFIGS for check in yaml.safe_load(path.read_text())["skip-check"]]
    asked = ["--framework", "terraform", "kubernetes", "--skip-download", "--skip-check", ",".join(left_out)]
    for file in (ROOT / "terraform").glob("*.tf"):
        shutil.copy(file, tmp_path)
    done = run(tool("checkov"), "-d", tmp_path, *asked, "-o", "json", within_s=500)
    said = json.loads(done.stdout)
    for report in said if isinstance(said, list) else [said]:
        failed = [f"{each['check_id']} {each['resource']}" for each in report["results"]["failed_checks"]]
        assert failed == [], report["check_type"]
        assert report["summary"]["passed"] > 40, report["check_type"]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.parent.name)
def test_every_check_that_is_left_out_has_its_reason_above_it(path: Path) -> None:
    above = ""
    for line in path.read_text().splitlines():
        if line.strip().startswith("- CKV"):
            assert above.strip().startswith("# ") and len(above.split()) > 5, line
        above = line


def test_every_finding_that_is_accepted_in_terraform_says_why() -> None:
    text = "".join(file.read_text() for file in (ROOT / "terraform").glob("*.tf"))
    reasons = re.findall(r"checkov:skip=CKV\w+:?(.*)", text)
    assert len(reasons) == text.count("checkov:skip")
    assert all(reason == "As above" or len(reason.split()) > 5 for reason in reasons)
