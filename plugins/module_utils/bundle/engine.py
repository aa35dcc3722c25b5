# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Docker engine: what builds our images, and what holds those that exist nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils.bundle.spec import MakerError, Say

try:
    import docker
    import docker.errors
except ImportError:  # the modules say so
    docker = None

TIMEOUT = 600
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def connect(address: str = "") -> DockerEngine:
    """The engine at an address; empty: what the environment says. The package docker has to be there."""
    try:
        client = docker.DockerClient(base_url=address, timeout=TIMEOUT) if address else docker.from_env(timeout=TIMEOUT)
        client.ping()
    except docker.errors.DockerException as error:
        raise MakerError(
            f"Docker engine: does not answer ({error}); start it, or name another in bundle_docker_host"
        ) from error
    return DockerEngine(client)


class DockerEngine:
    """A Docker engine through its own Python package."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def image_id(self, reference: str) -> str | None:
        """The id of a local image, or nothing."""
        try:
            return str(self.client.images.get(reference).id)
        except docker.errors.ImageNotFound:
            return None
        except docker.errors.APIError as error:
            raise MakerError(f"Docker engine: {reference}: {error}; check its log") from error

    def build(self, context: str, containerfile: str, reference: str, args: dict[str, str], say: Say) -> str:
        """Build with the network of this machine; the last lines of a failed build go into the message."""
        lines: list[str] = []
        try:
            answer = self.client.api.build(
                path=context,
                dockerfile=containerfile,
                tag=reference,
                buildargs={key: str(value) for key, value in args.items()},
                network_mode="host",
                rm=True,
                forcerm=True,
                pull=False,
                decode=True,
            )
            for message in answer:
                text = _COLOURS.sub("", str(message.get("stream") or message.get("error") or ""))
                for line in text.splitlines():
                    if line.strip():
                        lines.append(line.rstrip())
                        say("build: " + line.rstrip())
                if message.get("error"):
                    raise MakerError(
                        "{}: the build failed ({}); correct the Containerfile and run again".format(
                            reference, " / ".join(lines[-6:])
                        )
                    )
        except docker.errors.DockerException as error:
            raise MakerError(
                f"{reference}: the build failed ({error}); correct the Containerfile and run again"
            ) from error
        image = self.image_id(reference)
        if image is None:
            raise MakerError("{}: the build left no image ({})".format(reference, " / ".join(lines[-6:])))
        return image

    def save(self, image_id: str) -> Iterable[bytes]:
        """The archive of `docker save`, in chunks."""
        try:
            yield from self.client.images.get(image_id).save(chunk_size=4 << 20)
        except docker.errors.DockerException as error:
            raise MakerError(
                f"Docker engine: {image_id}: cannot be exported ({error}); look at the engine's log and its disk"
            ) from error
