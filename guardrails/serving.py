"""The guard in a process of its own: `python -m guardrails.serving FD PARENT SENTENCE_MS`.

It hears one question after the other on a socket, in frames of four bytes of length and JSON, and ends with its
parent. It holds no secret and reads no file: its policy is told to it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from guardrails.build import build
from guardrails.guard import Guard
from guardrails.hiding import look
from guardrails.judging import Judgement, judge
from guardrails.policy import parse_policy
from guardrails.texts import Text
from guardrails.verdicts import Action, Finding, Stage, Verdict

LENGTH_BYTES = 4
_PR_SET_PDEATHSIG = 1


def frame(value: Any) -> bytes:
    body = orjson.dumps(value)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def dump_texts(texts: Sequence[Text]) -> list[Any]:
    return [[text.value, text.role, text.place] for text in texts]


def dump_findings(findings: Sequence[Finding]) -> list[Any]:
    return [[each.kind, each.start, each.end, each.score, each.detector] for each in findings]


def load_findings(rows: Sequence[Sequence[Any]]) -> list[Finding]:
    return [Finding(*row) for row in rows]


def dump_judgement(judgement: Judgement) -> list[Any]:
    verdict = judgement.verdict
    return [
        verdict.action.value, verdict.category, dict(verdict.scores), verdict.flagged,
        dump_findings(verdict.findings), verdict.private, judgement.place,
    ]  # fmt: skip


def load_judgement(row: Sequence[Any]) -> Judgement:
    action, category, scores, flagged, findings, private, place = row
    return Judgement(
        Verdict(Action(action), category, scores, tuple(flagged), tuple(load_findings(findings)), private), place
    )


def _judge(guard: Guard, stage: Stage, tenant: str, key: str, texts: list[Any]) -> Any:
    return dump_judgement(judge(guard, [Text(*row) for row in texts], stage, tenant=tenant, key=key))


def _personal(guard: Guard, stage: Stage, tenant: str, key: str, texts: list[Any]) -> Any:
    found = look(guard, [Text(*row) for row in texts], stage, tenant=tenant, key=key, judged=True)
    return [[dump_findings(findings) for findings in of_text] for of_text in found]


def _check(guard: Guard, stage: Stage, tenant: str, key: str, texts: list[Any]) -> Any:
    """Each text by itself; one with the role of a tool is not trusted."""
    return [
        dump_judgement(Judgement(guard.check(value, stage, tenant=tenant, key=key, untrusted=role == "tool"), place))
        for value, role, place in texts
    ]


_QUESTIONS: Mapping[str, Callable[[Guard, Stage, str, str, list[Any]], Any]] = {
    "judge": _judge,
    "check": _check,
    "personal": _personal,
}


def _answer(guard: Guard, question: Sequence[Any]) -> dict[str, Any]:
    number, kind, stage, tenant, key, texts = question
    try:
        return {"number": number, "answer": _QUESTIONS[kind](guard, Stage(stage), tenant, key, texts)}
    except Exception as error:  # noqa: BLE001  # one text that breaks a detector must not end the process
        return {"number": number, "error": type(error).__name__}


def _read(connection: socket.socket, count: int) -> bytes | None:
    """So many bytes; None when the parent has gone."""
    pieces = []
    while count:
        piece = connection.recv(min(count, 1 << 20))
        if not piece:
            return None
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def serve(connection: socket.socket, sentence_s: float) -> None:
    """Answer until the parent has gone. A frame that is a string is a policy, which holds from then on.

    sentence_s: how long the sentence model may take for a text.
    """
    guard: Guard | None = None
    while (head := _read(connection, LENGTH_BYTES)) is not None:
        body = _read(connection, int.from_bytes(head, "big"))
        if body is None:
            return
        heard = orjson.loads(body)
        if isinstance(heard, str):
            guard = build(parse_policy(heard, "the policy"), sentences=True, deadline_s=sentence_s)
        elif guard is not None:
            connection.sendall(frame(_answer(guard, heard)))


def _tie_to(parent: int) -> None:
    """End when the parent does, even by SIGKILL and even in the middle of a text."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent had gone before the start")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for the parent


if __name__ == "__main__":
    _tie_to(int(sys.argv[2]))
    with socket.socket(fileno=int(sys.argv[1])) as connected:
        connected.setblocking(True)  # the parent's end of the pair is not, and they share that
        serve(connected, int(sys.argv[3]) / 1000)
