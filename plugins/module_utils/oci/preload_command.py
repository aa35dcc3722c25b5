# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The preload as a command: what the Job of the role C(model_preload) runs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any, Optional

from ansible_collections.airgap.speech.plugins.module_utils.oci.preload import Model, Owner, Preloader, PreloadError
from ansible_collections.airgap.speech.plugins.module_utils.oci.preload_model import PreloadResult
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import ReferenceInvalid, split_registry
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import (
    Registry,
    RegistryError,
    connect,
    credentials_of,
    human_bytes,
)


def _read_text(path: str, what: str) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read().rstrip("\n")
    except OSError as error:
        raise PreloadError(f"{what} {path}: cannot be read ({error.strerror}); mount it here") from error


def _registry(arguments: argparse.Namespace, config: dict[str, Any]) -> Registry:
    username, password = arguments.username, None
    endpoint = split_registry(config["registry"])[0]
    if arguments.password_file:
        password = _read_text(arguments.password_file, "password file")
    elif arguments.docker_config:
        username, password = credentials_of(arguments.docker_config, endpoint)
        if username is None:
            raise PreloadError(
                f"login {arguments.docker_config}: none for {endpoint} is in it; make the pull secret for this registry"
            )
    return connect(
        config["registry"],
        username=username,
        password=password,
        ca_file=arguments.ca_file,
        plain_http=bool(config.get("plain_http")),
    )


def _missing(result: PreloadResult) -> str:
    wrong = ", ".join(f"{model.name}:{model.version}" for model in result.models if model.status != "present")
    return (
        f"the volume is read-only and does not hold {wrong} ({human_bytes(result.bytes_written)} missing or damaged); "
        "place the models through a claim that can be written (model_preload_pvc_writer), then run again"
    )


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Place models as a JSON file says; the last line, and the result file (a pod's termination log), is JSON."""
    parser = argparse.ArgumentParser(prog="preload", description="Place models from a registry on a volume.")
    parser.add_argument("--config", required=True, help="JSON: registry, models, owner, group, mode, keep, verify")
    parser.add_argument("--directory", required=True, help="where the models are to lie")
    parser.add_argument("--docker-config", help="file with the registry's login, as docker login writes it")
    parser.add_argument("--username", help="user of the registry, with --password-file")
    parser.add_argument("--password-file", help="file with the password of that user")
    parser.add_argument("--ca-file", help="PEM file with the CA of the registry")
    parser.add_argument("--result-file", help="where the result is written as JSON")
    parser.add_argument("--read-only", action="store_true", help="only see that the models are there")
    arguments = parser.parse_args(argv)

    def say(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    result: dict[str, Any]
    try:
        config = json.loads(_read_text(arguments.config, "configuration"))
        preloader = Preloader(
            _registry(arguments, config),
            arguments.directory,
            owner=Owner(int(config.get("owner", -1)), int(config.get("group", -1)), int(config.get("mode", "0644"), 8)),
            keep=int(config.get("keep", 1)),
            full=config.get("verify") == "full",
            say=say,
        )
        placed = preloader.run([Model.read(raw) for raw in config["models"]], check=arguments.read_only)
        if arguments.read_only and any(model.status != "present" for model in placed.models):
            raise PreloadError(f"directory {arguments.directory}: {_missing(placed)}")
        say(placed.summary())
        result = {key: value for key, value in placed.as_dict().items() if key not in ("models", "pruned")}
        if arguments.read_only:
            result["changed"] = False
        result["summary"] = placed.summary()
    except (PreloadError, RegistryError, ReferenceInvalid) as error:
        say(f"error: {error}")
        result = {"error": str(error)[:3000]}
    except OSError as error:
        say(f"error: {arguments.directory}: {error}; look at the volume, then run again: it goes on here")
        result = {"error": str(error)}
    text = json.dumps(result, sort_keys=True)
    say(text)
    if arguments.result_file:
        with open(arguments.result_file, "w", encoding="utf-8") as stream:
            stream.write(text)
    return 1 if "error" in result else 0
