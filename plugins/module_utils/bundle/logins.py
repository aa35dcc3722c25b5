# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How to log in outside: what the site says about a host, else what `docker login` left, else nobody in particular."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import Reference
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry, read_password

# helper(argv, standard input) -> (exit status, standard output, standard error)
Helper = Callable[[list[str], bytes], "tuple[int, str, str]"]

# Docker Hub answers under another name than its images have, and its login is kept under a third.
ENDPOINTS = {"docker.io": "registry-1.docker.io"}
HUB = "https://index.docker.io/v1/"
_HELPER = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z")
HOST_KEYS = frozenset(("endpoint", "prefix", "ca_file", "username", "password_file", "plain_http"))


class LoginError(Exception):
    """A login that cannot be read: the thing, the cause and the next step."""


@dataclass(frozen=True)
class Login:
    """User and password."""

    username: str
    password: str = field(repr=False)


class DockerLogins:
    """What a file in the format of `~/.docker/config.json` says, its credential helpers included."""

    def __init__(self, path: str, helper: Helper) -> None:
        self.path = path
        self._helper = helper
        self._tree: Optional[dict[str, Any]] = None

    def of(self, host: str) -> Optional[Login]:
        """The login for a registry (`host[:port]`); nothing where the file knows none."""
        keys = [host, "https://" + host, "http://" + host]
        if host in ("docker.io", ENDPOINTS["docker.io"], "index.docker.io"):
            keys = [HUB, "docker.io", "index.docker.io", *keys]
        tree = self._read()
        helpers, auths = _mapping(tree.get("credHelpers")), _mapping(tree.get("auths"))
        for key in keys:
            if helpers.get(key):
                return self._ask(str(helpers[key]), key)
        entries = {key.rstrip("/"): value for key, value in auths.items()}
        for key in keys:
            for known, entry in entries.items():
                if known != key.rstrip("/") and not known.startswith(key.rstrip("/") + "/v"):
                    continue
                login = self._entry(key, _mapping(entry))
                if login is not None:
                    return login
        if tree.get("credsStore"):
            for key in keys:
                login = self._ask(str(tree["credsStore"]), key)
                if login is not None:
                    return login
        return None

    def _read(self) -> dict[str, Any]:
        if self._tree is None:
            try:
                with open(self.path, encoding="utf-8") as handle:
                    tree = json.load(handle)
            except FileNotFoundError:
                tree = {}
            except (OSError, ValueError) as error:
                raise LoginError(
                    f"{self.path}: cannot be read ({error}); run `docker login` again, or name another file in "
                    "bundle_docker_config"
                ) from error
            self._tree = _mapping(tree)
        return self._tree

    def _entry(self, key: str, entry: dict[str, Any]) -> Optional[Login]:
        if entry.get("identitytoken"):
            raise LoginError(
                f"{self.path}: the login of {key} is an identity token, which is not taken; give a user and a "
                "password_file in bundle_registry_hosts"
            )
        if entry.get("username"):
            return Login(str(entry["username"]), str(entry.get("password") or ""))
        if not entry.get("auth"):
            return None
        try:
            user, colon, password = base64.b64decode(str(entry["auth"]), validate=True).decode("utf-8").partition(":")
        except ValueError as error:
            raise LoginError(f"{self.path}: the login of {key} is not base64; run `docker login` again") from error
        if not colon:
            raise LoginError(f"{self.path}: the login of {key} has no password; run `docker login` again")
        return Login(user, password)

    def _ask(self, name: str, key: str) -> Optional[Login]:
        """A credential helper, as Docker asks it: the server on its standard input, JSON on its output."""
        program = "docker-credential-" + name
        if not _HELPER.match(name):
            raise LoginError(f"{self.path}: {name!r} is no name of a credential helper; correct the file")
        try:
            rc, out, err = self._helper([program, "get"], key.encode("utf-8"))
        except OSError as error:
            rc, out, err = 127, "", error.strerror or str(error)
        said = " ".join((err or out).split())
        if rc != 0:
            if "credentials not found" in said.lower():
                return None
            raise LoginError(
                f"{program} (named in {self.path}): gave no login for {key} ({said or f'exit status {rc}'}); install "
                "or repair it, or give a user and a password_file in bundle_registry_hosts"
            )
        try:
            answer = _mapping(json.loads(out))
        except ValueError as error:
            # What it said may hold a secret, so it is not repeated.
            raise LoginError(f"{program}: its answer for {key} is not JSON; repair it") from error
        user, secret = str(answer.get("Username") or ""), str(answer.get("Secret") or "")
        if user == "<token>":
            raise LoginError(
                f"{program}: the login of {key} is an identity token, which is not taken; give a user and a "
                "password_file in bundle_registry_hosts"
            )
        return Login(user, secret) if user else None


class Registries:
    """The registries outside, by the upstream host that images name.

    `hosts` maps such a host to C(endpoint) (where to ask in its place), C(prefix), C(ca_file), C(username),
    C(password_file) and C(plain_http), each of which may be left out.
    """

    def __init__(self, hosts: Mapping[str, Any], logins: Optional[DockerLogins] = None) -> None:
        self.hosts = hosts
        self.logins = logins
        self._open: dict[str, Registry] = {}
        for host, entry in hosts.items():
            unknown = sorted(set(entry) - HOST_KEYS) if isinstance(entry, Mapping) else ["(no mapping)"]
            if unknown:
                raise LoginError(
                    f"bundle_registry_hosts: {host} has {', '.join(unknown)}; it takes {', '.join(sorted(HOST_KEYS))}"
                )

    def registry(self, host: str) -> Registry:
        """A client for what stands for this upstream host."""
        if host not in self._open:
            entry = dict(self.hosts.get(host) or {})
            endpoint = str(entry.get("endpoint") or ENDPOINTS.get(host, host))
            login = self._login(entry, endpoint)
            ca_file = entry.get("ca_file")
            self._open[host] = Registry(
                endpoint,
                username=login.username if login else None,
                password=login.password if login else None,
                ca_file=os.path.expanduser(str(ca_file)) if ca_file else None,
                prefix=str(entry.get("prefix") or ""),
                plain_http=bool(entry.get("plain_http")),
            )
        return self._open[host]

    def of(self, reference: Reference) -> Registry:
        """A client for what holds this image."""
        return self.registry(reference.host)

    def _login(self, entry: Mapping[str, Any], endpoint: str) -> Optional[Login]:
        if entry.get("username"):
            path = entry.get("password_file")
            return Login(str(entry["username"]), read_password(os.path.expanduser(str(path))) if path else "")
        return self.logins.of(endpoint) if self.logins is not None else None

    def close(self) -> None:
        """End every connection."""
        for registry in self._open.values():
            registry.close()


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
