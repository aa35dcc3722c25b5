# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logins: what a registry asks for, and where user and password come from."""

from __future__ import annotations

import binascii
import json
import re
from typing import Optional

from ansible_collections.airgap.speech.plugins.module_utils.oci.errors import RegistryError


def parse_challenge(header: str) -> tuple[str, dict[str, str]]:
    """Split a C(WWW-Authenticate) header into its scheme and its parameters."""
    scheme, _blank, rest = header.strip().partition(" ")
    values = {
        match.group(1).lower(): match.group(2) if match.group(2) is not None else match.group(3)
        for match in re.finditer(r'([A-Za-z_]+)\s*=\s*(?:"([^"]*)"|([^\s,]+))', rest)
    }
    return scheme.lower(), values


def credentials_of(path: str, endpoint: str) -> tuple[Optional[str], Optional[str]]:
    """User and password for a registry out of a file in the format of C(~/.docker/config.json)."""
    try:
        with open(path, encoding="utf-8") as stream:
            document = json.load(stream)
    except OSError as error:
        raise RegistryError(
            path, f"cannot be read ({error.strerror})", "name the file with the registry's login"
        ) from error
    except ValueError as error:
        raise RegistryError(path, "is not JSON", "write it as docker login does") from error
    auths = document.get("auths") if isinstance(document, dict) else None
    for key, entry in (auths or {}).items():
        host = re.sub(r"^https?://", "", key).split("/", 1)[0]
        if host != endpoint or not isinstance(entry, dict):
            continue
        if entry.get("username"):
            return str(entry["username"]), str(entry.get("password", ""))
        if entry.get("auth"):
            try:
                user, _colon, password = binascii.a2b_base64(str(entry["auth"])).decode().partition(":")
            except ValueError as error:
                raise RegistryError(path, f"the entry of {endpoint} is not base64", "run the login again") from error
            return user, password
    return None, None


def read_password(path: str) -> str:
    """The password in a file, without the line end."""
    try:
        with open(path, encoding="utf-8") as stream:
            password = stream.read().rstrip("\r\n")
    except FileNotFoundError as error:
        raise RegistryError(
            f"password file {path}", "it is missing", "make it, or name another file", "secret_missing"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise RegistryError(
            f"password file {path}", f"it cannot be read ({error})", "make it readable for this user", "secret"
        ) from error
    if not password:
        raise RegistryError(f"password file {path}", "it is empty", "write the password into it", "secret")
    return password
