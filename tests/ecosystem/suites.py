"""A client's own suite, run against the gateway, and the list of what in it cannot pass."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from xml.etree import ElementTree

from tests.ecosystem.gateway import PROVIDERS

WITHIN_S = 90
CLIENTS = Path(__file__).parent / "clients"

# The clients keep their connections from test to test, so there is one event loop.
LOOP = ("--asyncio-mode=auto", "-o", "asyncio_default_test_loop_scope=session")


@dataclass(frozen=True, kw_only=True)
class Cannot:
    """Tests that cannot pass. Each of them must fail, or be skipped, with these words."""

    tests: str  # a pattern of names
    words: str
    why: str
    providers: tuple[str, ...] = PROVIDERS


def judge(found: Mapping[str, str], provider: str, known: Iterable[Cannot]) -> None:
    """Fails if a test failed that may not, or passed that cannot."""
    assert found, "no test was run"
    rows = [row for row in known if provider in row.providers]
    wrong = [
        f"{row.tests}: there is no such test" for row in rows if not any(fnmatchcase(name, row.tests) for name in found)
    ]
    for name, said in found.items():
        row = next((row for row in rows if fnmatchcase(name, row.tests)), None)
        if said and (row is None or row.words not in said):
            wrong.append(f"{name}: {said}")
        elif row is not None and not said:
            wrong.append(f"{name}: passes, though it is listed: {row.why}")
    assert not wrong, "\n\n".join(wrong)


def of_python(python: Path, suite: str, environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """What became of each test of a file in clients/: nothing if it passed, else what was said."""
    results = folder / "results.xml"
    alone = ["-c", os.devnull, "--rootdir", str(CLIENTS), "--confcutdir", str(CLIENTS), "-p", "no:cacheprovider"]
    command = [str(python), "-m", "pytest", *alone, *LOOP, "--tb=line", f"--junitxml={results}", str(CLIENTS / suite)]
    return _outcomes(command, results, environment, folder)


def of_node(node: Path, suite: str, environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Likewise, of a file in node/."""
    results = folder / "results.xml"
    command = ["node", "--test-reporter=junit", f"--test-reporter-destination={results}", str(node / suite)]
    return _outcomes(command, results, environment, folder)


def _outcomes(command: list[str], results: Path, environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=WITHIN_S)
    assert results.exists(), f"{done.stdout}\n{done.stderr}"
    found = {}
    for case in ElementTree.parse(results).getroot().iter("testcase"):
        said = [part for part in case if part.tag in ("failure", "error", "skipped")]
        name = f"{case.attrib['classname'].rpartition('.')[2]}.{case.attrib['name']}"
        found[name] = "\n".join(f"{part.tag}: {part.get('message')}\n{part.text}" for part in said)
    return found
