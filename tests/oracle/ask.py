# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts cases to the real scheduler (sandbox/go/oracle) and to ours, and compares what they say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from tests.oracle.draft import Document

CHECKOUT = Path(__file__).resolve().parents[2]
for path in (CHECKOUT / "build" / "collections", CHECKOUT):
    if str(path) not in sys.path:
        sys.path.append(str(path))

from ansible_collections.airgap.speech.plugins.module_utils.kube import capacity
from ansible_collections.airgap.speech.plugins.module_utils.kube.scheduling import DOES_NOT_FIT, FITS, ORDER_DEPENDENT

FALSE_FIT = "false_fit"
FALSE_REFUSAL = "false_refusal"
NEEDLESS_DOUBT = "needless_doubt"
CRASH = "crash"
_ONE_POD = re.compile(r'pods "[^"]*" is forbidden')
# The newest Kubernetes minor, the oldest that the collection supports, and the tool that is the oracle of each.
TOOLS = {36: "oracle", 31: "oracle-oldest"}
NEWEST, OLDEST = max(TOOLS), min(TOOLS)


class OracleError(Exception):
    """The oracle could not answer."""


class Oracle:
    """A process that answers line by line."""

    def __init__(self, program: Path, *arguments: str) -> None:
        # What takes turns runs fastest on one thread.
        environment = {**os.environ, "GOMAXPROCS": "1"}
        self._process = subprocess.Popen(
            [str(program), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )

    def send(self, question: Any) -> None:
        if self._process.stdin is None:
            raise OracleError("the oracle has no input")
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        self._process.stdin.flush()

    def receive(self) -> Any:
        if self._process.stdout is None:
            raise OracleError("the oracle has no output")
        line = self._process.stdout.readline()
        if not line:
            raise OracleError(f"the oracle ended with {self._process.wait()}; what it printed last says why")
        return json.loads(line)

    def ask(self, question: Any) -> Any:
        self.send(question)
        return self.receive()

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


@dataclass
class Ours:
    """What ours says. `verdict` is empty where it failed with an error that is not about the objects."""

    verdict: str
    messages: list[str] = field(default_factory=list)
    not_modelled: list[str] = field(default_factory=list)
    error: str = ""


@dataclass
class Answer:
    """Both answers to a case, and how they disagree: None where they do not."""

    ours: Ours
    fitting: int
    runs: int
    oracle: Any
    kind: Optional[str] = None


def judge(case: Document) -> Ours:
    """Our verdict on a case; an object that is refused with an error is a refusal."""
    try:
        found = capacity.judge(case["cluster"], case["manifest"], case["namespace"], case["minor"], brief=True)
    except ValueError as error:
        return Ours(DOES_NOT_FIT, [str(error)], error=str(error))
    except Exception as error:
        return Ours("", error=f"{type(error).__name__}: {error}")
    return Ours(found["verdict"], [item["message"] for item in found["shortfalls"]], list(found["not_modelled"]))


def judge_eviction(case: Document) -> Ours:
    """Our verdict on a case in which pods of lower priority may be evicted."""
    try:
        found = capacity.judge(
            case["cluster"], case["manifest"], case["namespace"], case["minor"], brief=True, questions=["evict"]
        )
    except ValueError as error:
        return Ours(DOES_NOT_FIT, [str(error)], error=str(error))
    except Exception as error:
        return Ours("", error=f"{type(error).__name__}: {error}")
    return Ours(found["answers"]["evict"]["verdict"])


def fits(case: Document) -> bool:
    return judge(case).verdict == FITS


def question_of(case: Document) -> Document:
    """What the oracle reads of a case."""
    return {key: case[key] for key in ("id", "runs", "cluster", "manifest", "namespace")}


def compare(ours: Ours, reply: Any) -> Answer:
    runs = reply.get("runs") or []
    refused = bool(reply.get("error") or reply.get("rejected"))
    fitting = 0 if refused else sum(not run.get("pending") for run in runs)
    answer = Answer(ours, fitting, max(1, len(runs)), reply)
    if not ours.verdict:
        answer.kind = CRASH
    elif ours.verdict == FITS and fitting < answer.runs:
        answer.kind = FALSE_FIT
    elif ours.verdict == DOES_NOT_FIT and fitting > 0:
        answer.kind = FALSE_REFUSAL
    elif ours.verdict == ORDER_DEPENDENT and fitting in (0, answer.runs):
        answer.kind = NEEDLESS_DOUBT
    return answer


def check(case: Document, oracle: Oracle, evict: bool = False) -> Answer:
    """Put a case to both."""
    oracle.send(question_of(case) | ({"preemption": True} if evict else {}))
    ours = judge_eviction(case) if evict else judge(case)
    return compare(ours, oracle.receive())


def what_the_scheduler_said(reply: Any) -> list[str]:
    """Every message about a pod that some run left pending, or that was refused before."""
    found = {message for run in reply.get("runs") or [] for message in (run.get("pending") or {}).values()}
    found |= set((reply.get("rejected") or {}).values())
    if reply.get("error"):
        found.add(reply["error"])
    return sorted(found)


def same_words(ours: list[str], scheduler: list[str]) -> bool:
    """Whether a refusal of ours is, in all its words, one of the scheduler's or of admission's.

    Ours speaks of a workload's pods; the API server names one. What follows the reasons is about eviction.
    """
    theirs = [_ONE_POD.sub("pods are forbidden", said) for said in scheduler]
    return any(said.startswith(message.rstrip(".")) or said in message for message in ours for said in theirs)
