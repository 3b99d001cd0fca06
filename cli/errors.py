"""The ways in which a command ends without having done what was asked, each with its exit code."""

from __future__ import annotations

from typing import ClassVar


class CommandError(Exception):
    """The message is a sentence for the person at the terminal."""

    exit_code: ClassVar[int] = 1


class Unable(CommandError):
    """It cannot be done here: a port in use, a folder that cannot be written, a missing package, a wrong file."""

    exit_code = 2


class PartFailed(CommandError):
    """A process that `gateway up` needs did not start, or died again and again."""

    exit_code = 3


class Unreachable(CommandError):
    """No gateway answers."""

    exit_code = 4


class Interrupted(CommandError):
    """Ctrl-C before it was done, as a shell reports it."""

    exit_code = 130


class Refused(CommandError):
    """The gateway said no."""

    exit_code = 5
