"""The folder of `gateway up`."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cli.errors import Unable
from cli.home import OLD_LOG, Home

ROOT = Path(__file__).resolve().parent.parent.parent
HOLD = """
import pathlib, signal, sys
from cli.home import Home
with Home(pathlib.Path(sys.argv[1])).held():
    print(flush=True)
    signal.pause()
"""


def test_secrets_are_made_once_and_only_for_their_owner(tmp_path: Path) -> None:
    home = Home(tmp_path / "state")
    with home.held():
        first = [home.seal_key.read_text(), home.door_key.read_text(), home.password]
        modes = {stat.S_IMODE(path.stat().st_mode) for path in (home.seal_key, home.door_key)}
        assert stat.S_IMODE(home.folder.stat().st_mode) == 0o700
    with home.held():
        assert [home.seal_key.read_text(), home.door_key.read_text(), home.password] == first
    assert modes == {0o600}
    name, _, digits = first[0].strip().partition(":")
    assert name
    assert len(bytes.fromhex(digits)) == 32


def test_two_cannot_hold_the_same_home(tmp_path: Path) -> None:
    with Home(tmp_path).held(), pytest.raises(Unable, match=f"process {os.getpid()}"), Home(tmp_path).held():
        pass
    with Home(tmp_path).held():
        pass


def test_a_killed_holder_leaves_the_home_free(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline()
    with pytest.raises(Unable, match=str(holder.pid)), Home(tmp_path).held():
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with Home(tmp_path).held():
        pass


def test_a_home_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sentence = r"cannot keep state in .*: Not a directory; choose another with --home"
    with pytest.raises(Unable, match=sentence), Home(tmp_path / "file" / "home").held():
        pass


def test_a_disk_without_room_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.home.ROOM", 2**62)
    with pytest.raises(Unable, match=r"only \d+ MB are free for"), Home(tmp_path).held():
        pass


def test_a_long_log_is_set_aside(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with home.held():
        log = home.log("web")
        with log.open("wb") as file:
            file.truncate(OLD_LOG + 1)
        assert home.log("web") == log
        assert not log.exists()
        assert log.with_suffix(".log.1").exists()
