# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images a bundle needs, and why: what the rendered releases name, and what the profiles add."""

from __future__ import annotations

import time

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import Reason
from ansible_collections.airgap.speech.plugins.module_utils.bundle.spec import MakerError, Making, ReleaseSpec
from ansible_collections.airgap.speech.plugins.module_utils.discovery.findings import UNDECIDED
from ansible_collections.airgap.speech.plugins.module_utils.discovery.images import (
    Discovery,
    ImageRules,
    discover,
    load_documents,
    union,
    upstream,
)
from ansible_collections.airgap.speech.plugins.module_utils.discovery.rules import merged

try:
    import yaml
except ImportError:  # the modules say so
    yaml = None  # type: ignore[assignment]


def reasons_of(making: Making) -> dict[str, list[Reason]]:
    """Reference to the reasons for it. What is not needed or could not be decided goes to the result of the run."""
    started = time.monotonic()
    spec, made = making.spec, making.made
    reasons: dict[str, list[Reason]] = {}
    rules = _rules(making)
    for release in spec.releases:
        source = "release " + release.name
        found = union(
            {
                name: _discover(making, release, text, rules)
                for name, text in {"the release's own": release.manifest, **release.manifests}.items()
            }
        )
        made.explained += [{"release": release.name, **row} for row in found.rows()]
        for item in found.found:
            reason = Reason(source, item.kind, item.name, item.path, item.found, item.needed)
            if item.required:
                reasons.setdefault(item.reference, []).append(reason)
            else:
                entry = {"reference": item.reference, "kind": item.kind, "name": item.name, "path": item.path}
                made.excluded.append({**entry, "why": "needed only " + item.needed})
    undecided = [row for row in made.explained if row["status"] == UNDECIDED]
    if undecided and spec.refuse_undecided:
        first = undecided[0]
        raise MakerError(
            f"release {first['release']}: {len(undecided)} places may name an image and nothing decides it, such as "
            f"{first['reference']} ({first['kind']} {first['name']}, {first['path']}: {first['why']}); add what is "
            "needed to bundle_extra_images, say in image rules what is none, or set bundle_undecided_images to warn"
        )
    for extra in spec.images:
        reference = upstream(extra.reference, spec.registry)
        reasons.setdefault(reference, []).append(Reason(extra.source, found="profile", needed=extra.needed))
    for build in spec.builds:
        reference = upstream(build.reference, spec.registry)
        if reference not in reasons:
            reasons[reference] = [Reason(build.source, found="profile")]
    making.step("discovery", started, f"{len(reasons)} references in {len(spec.releases)} releases")
    return reasons


def _rules(making: Making) -> ImageRules:
    """What operators name in their code, from the files of the profiles."""
    files: list[ImageRules] = []
    for path in making.spec.image_rules:
        try:
            with open(path, encoding="utf-8") as handle:
                files.append(ImageRules.load(handle.read(), path, making.spec.image_variables))
        except OSError as error:
            raise MakerError(
                f"{path}: the file of image rules cannot be read ({error.strerror}); correct the profile"
            ) from error
    return merged(files)


def _discover(making: Making, release: ReleaseSpec, manifest: str, rules: ImageRules) -> Discovery:
    try:
        documents = load_documents(manifest)
    except yaml.YAMLError as error:
        raise MakerError(
            "release {}: its rendered manifest is not YAML ({}); render it with `helm template` and "
            "correct the chart".format(release.name, " ".join(str(error).split()))
        ) from error
    if not documents:
        raise MakerError(f"release {release.name}: its rendered manifest is empty; check the chart and the values")
    return discover(documents, making.spec.registry, making.spec.platforms, rules)
