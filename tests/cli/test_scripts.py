"""scripts/up and the set-up that the scripts share, with a stand-in for Python that writes down what it is asked."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
INSIDE = """#!/bin/sh
echo "$*" >>"$(dirname "$0")/asked"
case "$*" in *install*) exit "$(cat "$(dirname "$0")/code")" ;; esac
"""
COMMAND = """#!/bin/sh
echo "gateway $* in $PWD"
"""


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout whose path has a space, with a venv whose Python only notes what it is asked."""
    folder = tmp_path / "a project"
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    for name in ("requirements.lock", "pyproject.toml"):
        (folder / name).write_text(name)
    executable(folder / ".venv/bin/python", INSIDE)
    executable(folder / ".venv/bin/gateway", COMMAND)
    (folder / ".venv/bin/code").write_text("0")
    return folder


def run(project: Path, *arguments: str, path: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": f"{path}{os.path.dirname(sys.executable)}:/usr/bin:/bin"}
    command = [str(project / "scripts/up"), *arguments]
    return subprocess.run(command, env=environ, cwd=cwd or project, capture_output=True, text=True, timeout=30)


def installs(project: Path) -> int:
    asked = project / ".venv/bin/asked"
    return asked.read_text().count("pip install") if asked.exists() else 0


def test_the_first_run_installs_and_the_second_does_not(project: Path, tmp_path: Path) -> None:
    first = run(project, "--port", "81 2", cwd=tmp_path)
    assert first.stdout == f"gateway up --port 81 2 in {tmp_path}\n", first.stderr
    assert installs(project) == 2
    assert "--require-hashes -r requirements.lock" in (project / ".venv/bin/asked").read_text()
    second = run(project)
    assert (second.returncode, second.stderr) == (0, "")
    assert installs(project) == 2


def test_a_changed_lock_is_installed_again(project: Path) -> None:
    run(project)
    (project / "requirements.lock").write_text("another")
    run(project)
    assert installs(project) == 4


def test_an_install_that_fails_is_made_again(project: Path) -> None:
    (project / ".venv/bin/code").write_text("1")
    failed = run(project)
    assert failed.returncode != 0
    assert failed.stdout == ""
    (project / ".venv/bin/code").write_text("0")
    assert run(project).stdout.startswith("gateway up")
    assert installs(project) == 3


def test_a_python_without_venv_says_which_package_to_install(project: Path, tmp_path: Path) -> None:
    shutil.rmtree(project / ".venv")
    bare = f'#!/bin/sh\ncase "$*" in *ensurepip*) exit 1 ;; esac\nexec {sys.executable} "$@"\n'
    for name in ("python3.11", "python3"):
        executable(tmp_path / "bin" / name, bare)
    done = run(project, path=f"{tmp_path}/bin:")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert done.returncode == 1
    assert f"apt-get install python{version}-venv" in done.stderr


def test_an_old_python_is_a_sentence(project: Path, tmp_path: Path) -> None:
    for name in ("python3.11", "python3", "python3.12", "python3.13"):
        executable(tmp_path / "bin" / name, "#!/bin/sh\nexit 1\n")
    done = run(project, path=f"{tmp_path}/bin:")
    assert done.returncode == 1
    assert done.stderr == ("gateway: Python 3.11 or newer is needed; on Debian: apt-get install python3 python3-venv\n")


@pytest.mark.parametrize("script", ["up", "test", "check"])
def test_the_scripts_are_what_a_plain_shell_reads(script: str) -> None:
    assert subprocess.run(["sh", "-n", str(ROOT / "scripts" / script)]).returncode == 0
