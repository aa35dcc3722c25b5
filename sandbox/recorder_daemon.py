# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records every command line into a file. Run by recorder.py: `python recorder_daemon.py DIRECTORY`.

Three ways, the best that works: the kernel's audit (nothing is lost, the arguments are those of the call), the
process connector (each exec is told, its arguments are read a moment later from /proc), and looking at /proc
again and again. No import of ours: it may run as another user.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NETLINK_AUDIT, NETLINK_CONNECTOR = 9, 11
SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, SO_RCVBUFFORCE = 270, 1, 33
NLM_F_REQUEST, NLM_F_ACK, NLMSG_ERROR = 1, 4, 2
AUDIT_GET, AUDIT_SET, AUDIT_ADD_RULE, AUDIT_DEL_RULE = 1000, 1001, 1011, 1012
AUDIT_EXECVE = 1309
STATUS_ENABLED, STATUS_PID, STATUS_BACKLOG = 1, 4, 16
FILTER_EXIT, ALWAYS, FIELD_ARCH, EQUAL = 4, 2, 11, 0x40000000
# (architecture, numbers of execve and execveat): programs of 64 and of 32 bits.
CALLS = ((0xC000003E, (59, 322)), (0x40000003, (11, 358)))


class Unavailable(Exception):
    """A way that this machine does not offer, with the reason."""


class Audit:
    """The kernel's audit: rules for execve and execveat, and the records sent to us."""

    method = "audit"

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_AUDIT)
            self._socket.bind((0, 0))
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 128 << 20)
        except OSError as error:
            raise Unavailable(f"audit socket: {error}") from error
        self._sequence = 0
        self._pending: list[bytes] = []
        self._argv: dict[bytes, dict[int, Any]] = {}
        self._before = self.status()
        if self._before["pid"]:
            raise Unavailable(f"audit: process {self._before['pid']} has it")
        if self._before["enabled"] == 2:
            raise Unavailable("audit: its settings are locked")
        try:
            # No limit to what waits for us: nothing is lost.
            self._call(AUDIT_SET, self._settings(STATUS_ENABLED | STATUS_PID | STATUS_BACKLOG, 1, os.getpid(), 0))
            for rule in self._rules():
                self._call(AUDIT_ADD_RULE, rule)
        except OSError as error:
            self.close()
            raise Unavailable(f"audit: {error}") from error
        self._lost_before = self.status()["lost"]

    @staticmethod
    def _settings(mask: int, enabled: int, pid: int, backlog: int) -> bytes:
        return struct.pack("=10I", mask, enabled, 0, pid, 0, backlog, 0, 0, 0, 0)

    @staticmethod
    def _rules() -> list[bytes]:
        rules = []
        for architecture, calls in CALLS:
            mask = [0] * 64
            for number in calls:
                mask[number // 32] |= 1 << (number % 32)
            fields, values, flags = [0] * 64, [0] * 64, [0] * 64
            fields[0], values[0], flags[0] = FIELD_ARCH, architecture, EQUAL
            rules.append(struct.pack("=3I64I64I64I64II", FILTER_EXIT, ALWAYS, 1, *mask, *fields, *values, *flags, 0))
        return rules

    def _call(self, kind: int, data: bytes) -> bytes:
        """Send a request and wait for its acknowledgement; records that come between are kept."""
        self._sequence += 1
        header = struct.pack("=IHHII", 16 + len(data), kind, NLM_F_REQUEST | NLM_F_ACK, self._sequence, 0)
        self._socket.sendto(header + data, (0, 0))
        answer = b""
        while True:
            message = self._socket.recv(1 << 17)
            _length, got, _flags, sequence, _pid = struct.unpack_from("=IHHII", message)
            if got == NLMSG_ERROR and sequence == self._sequence:
                code = struct.unpack_from("=i", message, 16)[0]
                if code:
                    raise OSError(-code, os.strerror(-code))
                return answer
            if got == AUDIT_GET:
                answer = message[16:]
            else:
                self._pending.append(message)

    def status(self) -> dict[str, int]:
        try:
            data = self._call(AUDIT_GET, b"")
            if not data:  # the answer comes after its acknowledgement
                while struct.unpack_from("=H", message := self._socket.recv(1 << 17), 4)[0] != AUDIT_GET:
                    self._pending.append(message)
                data = message[16:]
        except OSError as error:
            raise Unavailable(f"audit: {error}") from error
        names = ("mask", "enabled", "failure", "pid", "rate", "limit", "lost", "backlog")
        return dict(zip(names, struct.unpack_from("=8I", data)))

    def lost(self) -> int:
        return self.status()["lost"] - self._lost_before

    def read(self, seconds: float) -> Iterator[list[str]]:
        end = time.monotonic() + seconds
        while True:
            messages, self._pending = self._pending, []
            wait = 0 if messages else max(0.0, end - time.monotonic())
            if select.select([self._socket], [], [], wait)[0]:
                messages.append(self._socket.recv(1 << 17))
            elif not messages:
                return
            for message in messages:
                if struct.unpack_from("=H", message, 4)[0] == AUDIT_EXECVE:
                    argv = self._collect(message[16:].rstrip(b"\0"))
                    if argv is not None:
                        yield argv

    def _collect(self, record: bytes) -> list[str] | None:
        """The command line, once the last record of its event is here."""
        return collect(self._argv, record)

    def pause(self) -> None:
        """Record nothing new; what waits may still be read."""
        for rule in self._rules():
            self._call(AUDIT_DEL_RULE, rule)

    def close(self) -> None:
        try:
            enabled, limit = self._before["enabled"], self._before["limit"]
            self._call(AUDIT_SET, self._settings(STATUS_ENABLED | STATUS_PID | STATUS_BACKLOG, enabled, 0, limit))
        except OSError:
            pass
        self._socket.close()


def collect(open_events: dict[bytes, dict[int, Any]], record: bytes) -> list[str] | None:
    """Put an EXECVE record to its event; the decoded command line when all arguments are whole.

    A long command line comes in several records (`a1_len=`, `a1[0]=`, `a1[1]=`); what is not plain is hexadecimal.
    """
    found = re.match(rb"audit\([\d.]+:(\d+)\): (.*)", record, re.DOTALL)
    if not found:
        return None
    serial, body = found.groups()
    event = open_events.setdefault(serial, {})
    for name, value in re.findall(rb'(?:^|\s)([a-z0-9_\[\]]+)=("[^"]*"|\S*)', body):
        if name == b"argc":
            event[-1] = int(value)
        elif match := re.fullmatch(rb"a(\d+)_len", name):
            event[int(match.group(1))] = [int(value), b""]
        elif match := re.fullmatch(rb"a(\d+)\[\d+\]", name):
            event.setdefault(int(match.group(1)), [0, b""])[1] += value.strip(b'"')
        elif match := re.fullmatch(rb"a(\d+)", name):
            event[int(match.group(1))] = decode(value)
    count = event.get(-1)
    if count is None or any(number not in event for number in range(count)):
        return None
    argv = []
    for number in range(count):
        value = event[number]
        if isinstance(value, list):
            if len(value[1]) < value[0]:
                return None
            argv.append(decode_hex(value[1]))
        else:
            argv.append(value)
    del open_events[serial]
    return argv


def decode(value: bytes) -> str:
    return value[1:-1].decode("utf-8", "replace") if value.startswith(b'"') else decode_hex(value)


def decode_hex(value: bytes) -> str:
    try:
        return bytes.fromhex(value.decode("ascii")).decode("utf-8", "replace")
    except ValueError:
        return value.decode("utf-8", "replace")


def command_line(pid: int | str) -> list[str]:
    try:
        data = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [part.decode("utf-8", "replace") for part in data.rstrip(b"\0").split(b"\0")] if data else []


class Connector:
    """The process connector: each exec is told; a process that ends at once may be gone before it is read."""

    method = "process connector"

    def __init__(self) -> None:
        self._missed = 0
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_CONNECTOR)
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
            self._socket.bind((os.getpid(), 1))
            self._listen(1)
        except OSError as error:
            raise Unavailable(f"process connector: {error}") from error

    def _listen(self, operation: int) -> None:
        body = struct.pack("=IIIIHHI", 1, 1, 0, 0, 4, 0, operation)
        self._socket.send(struct.pack("=IHHII", 16 + len(body), 3, 0, 0, os.getpid()) + body)

    def read(self, seconds: float) -> Iterator[list[str]]:
        end = time.monotonic() + seconds
        while select.select([self._socket], [], [], max(0.0, end - time.monotonic()))[0]:
            message = self._socket.recv(4096)
            what, _cpu, _time, pid = struct.unpack_from("=IIQI", message, 36)
            if what == 2:
                argv = command_line(pid)
                self._missed += not argv
                if argv:
                    yield argv

    def lost(self) -> int:
        return self._missed

    def pause(self) -> None:
        self._listen(2)

    def close(self) -> None:
        self._socket.close()


class Polling:
    """Looking at /proc again and again: what lives shorter than a round is missed."""

    method = "polling of /proc (short-lived processes are missed)"

    def __init__(self) -> None:
        self._seen: set[tuple[str, ...]] = set()

    def read(self, seconds: float) -> Iterator[list[str]]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            now = {(pid, *command_line(pid)) for pid in os.listdir("/proc") if pid.isdigit()}
            for found in now - self._seen:
                if len(found) > 1:
                    yield list(found[1:])
            self._seen = now
            time.sleep(0.01)

    def lost(self) -> int:
        return -1

    def pause(self) -> None:
        """Nothing to stop."""

    def close(self) -> None:
        """Nothing to give back."""


def best() -> tuple[Audit | Connector | Polling, list[str]]:
    reasons: list[str] = []
    for way in (Audit, Connector):
        try:
            return way(), reasons
        except Unavailable as error:
            reasons.append(str(error))
    return Polling(), reasons


def write_state(directory: Path, state: dict[str, Any]) -> None:
    partial = directory / "state.partial"
    partial.write_text(json.dumps(state))
    partial.replace(directory / "state.json")


def main() -> None:
    directory = Path(sys.argv[1])
    os.umask(0o077)
    owner = directory.stat()
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopping.append(number))
    way, reasons = best()
    state: dict[str, Any] = {"pid": os.getpid(), "method": way.method, "not_used": reasons, "commands": 0, "lost": 0}
    with open(directory / "commands.jsonl", "w", encoding="utf-8", buffering=1 << 16) as out:
        os.chown(out.fileno(), owner.st_uid, owner.st_gid)

        def keep(seconds: float) -> None:
            for argv in way.read(seconds):
                out.write(json.dumps(argv) + "\n")
                state["commands"] += 1
            out.flush()

        write_state(directory, state)
        while not stopping:
            keep(0.5)
        way.pause()
        keep(0.5)
        state["lost"] = way.lost()
        way.close()
    write_state(directory, state)
    os.chown(directory / "state.json", owner.st_uid, owner.st_gid)


if __name__ == "__main__":
    main()
