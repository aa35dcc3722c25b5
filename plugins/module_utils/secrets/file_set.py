# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text files with secrets in them: written with the values, shown with the values' names only."""

from __future__ import annotations

import os
import re

#: In a file's text `@@name@@` stands for the secret of that name.
PLACEHOLDER = re.compile(r"@@([a-z][a-z0-9_]*)@@")
HIDDEN = "(a line that is not shown, as it may hold a secret)"


class FileSetError(Exception):
    """A set of files cannot be made as asked. The text names the file, the cause and the next step."""


def render(path: str, text: str, secrets: dict[str, str]) -> bytes:
    """A file's bytes, its placeholders replaced by their secrets."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in secrets:
            raise FileSetError(f"{path} names the secret {match[1]}, which is not given; add it to secrets")
        return secrets[match[1]]

    return PLACEHOLDER.sub(value, text).encode("utf-8")


def show(data: bytes, text: str, wanted: bytes) -> str:
    """What a diff may show of the content that a file has, when its new content is made of `text`.

    Where the text has placeholders, only lines of the new content are shown: any other may hold a secret.
    """
    if data == wanted:
        return text
    content = data.decode("utf-8", "replace")
    if not PLACEHOLDER.search(text):
        return content
    lines = text.splitlines()
    plain = {line for line in lines if not PLACEHOLDER.search(line)}
    holes = {line: _with_holes(line) for line in lines if PLACEHOLDER.search(line)}
    rendered = set(wanted.decode("utf-8", "replace").splitlines())
    shown = []
    for line in content.splitlines():
        like = next((name for name, pattern in holes.items() if pattern.fullmatch(line)), None)
        if line in plain:
            shown.append(line)
        elif like is not None:
            shown.append(like if line in rendered else PLACEHOLDER.sub(lambda match: f"(another {match[1]})", like))
        else:
            shown.append(HIDDEN)
    return "".join(line + "\n" for line in shown)


def _with_holes(line: str) -> re.Pattern[str]:
    """An expression that a line fits whatever its secrets are."""
    parts = PLACEHOLDER.split(line)
    return re.compile("".join(".*" if place % 2 else re.escape(part) for place, part in enumerate(parts)))


def marked_files(directory: str, marker: str) -> list[str]:
    """Files in a directory and in its direct sub-directories whose first line is the marker."""
    found = []
    if not os.path.isdir(directory):
        return []
    for entry in sorted(os.listdir(directory)):
        path = os.path.join(directory, entry)
        inner = [os.path.join(path, name) for name in sorted(os.listdir(path))] if os.path.isdir(path) else [path]
        for candidate in inner:
            if os.path.isfile(candidate) and not os.path.islink(candidate) and _first_line(candidate) == marker:
                found.append(candidate)
    return found


def _first_line(path: str) -> str:
    with open(path, "rb") as handle:
        return handle.readline(1024).decode("utf-8", "replace").rstrip("\r\n")
