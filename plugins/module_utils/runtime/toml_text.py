# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Just enough of TOML to find and set single values in a file and leave the rest of it as it is.

Python 3.9 on nodes has no parser of TOML, and no parser keeps comments. Tables, dotted keys, strings of all four kinds
and values over several lines are understood; values stay text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterator, List, Optional, Tuple

Path = Tuple[str, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRINGS = re.compile(r'"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'', re.S)
_OPEN, _CLOSE = "[{", "]}"


class TomlError(Exception):
    """What a file holds is not understood."""


@dataclass(frozen=True)
class Entry:
    """One ``key = value`` with its whole path; ``start`` and ``end`` are the value's place in the text."""

    path: Path
    value: str
    start: int
    end: int


@dataclass(frozen=True)
class Table:
    """One table's header; ``end`` is the offset behind its line."""

    path: Path
    end: int


def key_path(text: str) -> Path:
    """The parts of a key such as ``plugins."io.containerd.grpc.v1.cri".registry``."""
    parts: List[str] = []
    rest = text.strip()
    while True:
        found = _BARE.match(rest) or re.match(r'"(?:\\.|[^"\\])*"|\'[^\']*\'', rest)
        if not found:
            raise TomlError(f"{text.strip()!r} is no key")
        part = found.group()
        parts.append(part[1:-1] if part[0] in "\"'" else part)
        rest = rest[found.end() :].lstrip()
        if not rest:
            return tuple(parts)
        if not rest.startswith("."):
            raise TomlError(f"{text.strip()!r} is no key")
        rest = rest[1:].lstrip()


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _value_end(text: str, at: int) -> int:
    """The offset behind a value that begins at ``at``: comments and the end of its last line do not belong to it."""
    depth, last = 0, at
    while at < len(text):
        char = text[at]
        if char in "\"'":
            found = _STRINGS.match(text, at)
            if not found:
                raise TomlError(f"a string has no end: {text[at : at + 40]!r}")
            at = last = found.end()
            continue
        if char == "#":
            at = text.find("\n", at)
            if at < 0:
                break
            continue
        if char == "\n" and depth == 0:
            break
        if char in _OPEN:
            depth += 1
        elif char in _CLOSE:
            depth -= 1
        at += 1
        if not char.isspace():
            last = at
    if depth:
        raise TomlError("an array or inline table has no end")
    return last


def scan(text: str) -> Iterator[object]:
    """Every :class:`Table` and :class:`Entry` of a text, in order."""
    at, table = 0, ()  # type: Tuple[int, Path]
    while at < len(text):
        end = _line_end(text, at)
        line = text[at:end].strip()
        if not line or line.startswith("#"):
            at = end
            continue
        if line.startswith("["):
            found = re.match(r"\[\[?(.*?)\]\]?\s*(?:#.*)?$", line)
            if not found:
                raise TomlError(f"{line!r} is no table")
            table = key_path(found.group(1))
            yield Table(table, end)
            at = end
            continue
        key = re.compile(r"\s*((?:[A-Za-z0-9_-]+|\"[^\"\n]*\"|'[^'\n]*'|[ \t]*\.[ \t]*)+?)\s*=[ \t]*").match(text, at)
        if not key:
            raise TomlError(f"{line!r} is neither a table nor a value")
        stop = _value_end(text, key.end())
        yield Entry(table + key_path(key.group(1)), text[key.end() : stop], key.end(), stop)
        at = _line_end(text, stop)


def entries(text: str) -> List[Entry]:
    return [item for item in scan(text) if isinstance(item, Entry)]


def get(text: str, path: Path) -> Optional[str]:
    """The text of a value, as it is written; None where it is not set."""
    return next((entry.value for entry in entries(text) if entry.path == path), None)


def string(value: Optional[str]) -> str:
    """What a basic or literal string of one line says; empty where there is none."""
    if not value or value[0] not in "\"'":
        return ""
    return value[1:-1] if value[0] == "'" else re.sub(r"\\(.)", r"\1", value[1:-1])


def strings(value: Optional[str]) -> List[str]:
    """The strings of an array."""
    tokens = re.compile(_STRINGS.pattern + r"|#[^\n]*", re.S)
    found = [match.group() for match in tokens.finditer(value or "")]
    return [string(item) for item in found if not item.startswith("#")]


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def set_value(text: str, path: Path, value: str, comment: str = "") -> str:
    """The text with one value set; a table that is new goes to the end, below ``comment``."""
    table, key = path[:-1], path[-1]
    found = next((entry for entry in entries(text) if entry.path == path), None)
    if found:
        return text[: found.start] + value + text[found.end :]
    if text and not text.endswith("\n"):
        text += "\n"
    if not table:
        # Before the first table, or it would belong to that.
        first = re.search(r"(?m)^[ \t]*\[", text)
        at = first.start() if first and any(isinstance(item, Table) for item in scan(text)) else len(text)
        return f"{text[:at]}{key} = {value}\n{text[at:]}"
    header = next((item for item in scan(text) if isinstance(item, Table) and item.path == table), None)
    if header:
        indent = re.match(r"[ \t]*", text[text.rfind("\n", 0, header.end - 1) + 1 : header.end])
        spaces = (indent.group() if indent else "") + "  "
        return f"{text[: header.end]}{spaces}{key} = {value}\n{text[header.end :]}"
    name = ".".join(part if _BARE.fullmatch(part) else quoted(part) for part in table)
    note = f"# {comment}\n" if comment else ""
    return f"{text}\n{note}[{name}]\n  {key} = {value}\n"
