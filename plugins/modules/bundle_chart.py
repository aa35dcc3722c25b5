#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_chart
version_added: "0.1.0"
short_description: Fetch a chart of a repository or a registry into the cache of bundles
description:
  - A release is rendered before its bundle is made. Where a profile names its chart by a repository or a registry, this
    module fetches it, with the logins, mirrors and digests that M(airgap.speech.bundle) works with. That module then
    finds it in the cache.
author:
  - Airgap Speech contributors (@airgap-speech)
attributes:
  check_mode:
    support: full
    description: Fetches nothing. A chart that is not in the cache is an error, since nothing can be rendered from it.
  diff_mode:
    support: none
    description: Only the cache is filled, so there is no difference to show.
options:
  name:
    description: The name of the chart.
    type: str
    required: true
  version:
    description: Its version.
    type: str
    required: true
  repository:
    description: A repository with an C(index.yaml), as C(https://...), or a registry as C(oci://host/path).
    type: str
    required: true
  digest:
    description: The sha256 of the package, or of the manifest where it comes of a registry.
    type: str
  cache:
    description: The cache that M(airgap.speech.bundle) uses.
    type: path
    required: true
  registry_hosts:
    description: As of M(airgap.speech.bundle).
    type: dict
    default: {}
  docker_config:
    description: As of M(airgap.speech.bundle).
    type: path
"""

EXAMPLES = r"""
- name: Fetch the chart of the profile
  airgap.speech.bundle_chart:
    name: app
    version: 1.2.3
    repository: oci://registry.example.com/charts
    digest: sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
    cache: ~/.cache/airgap-speech/bundle
  register: chart

- name: Render it
  ansible.builtin.command:
    argv: [helm, template, app, "{{ chart.path }}"]
"""

RETURN = r"""
path:
  description: The package of the chart, a file of the cache that helm takes as it is.
  returned: success
  type: str
  sample: /srv/cache/oci/blobs/sha256/2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
digest:
  description: The digest of the chart as the lock will have it, that of its manifest.
  returned: success
  type: str
  sample: sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
"""

import traceback
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airgap.speech.plugins.module_utils.bundle import spec as making
from ansible_collections.airgap.speech.plugins.module_utils.bundle.archive import ArchiveError
from ansible_collections.airgap.speech.plugins.module_utils.bundle.artifacts import CHART_CONTENT, ArtifactError
from ansible_collections.airgap.speech.plugins.module_utils.bundle.cache import Cache
from ansible_collections.airgap.speech.plugins.module_utils.bundle.charts import Charts
from ansible_collections.airgap.speech.plugins.module_utils.bundle.fetch import FetchError
from ansible_collections.airgap.speech.plugins.module_utils.bundle.logins import DockerLogins, LoginError, Registries
from ansible_collections.airgap.speech.plugins.module_utils.bundle.maker import Maker
from ansible_collections.airgap.speech.plugins.module_utils.bundle.web import Web
from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import DigestError
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import LayoutError
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import ReferenceInvalid
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import RegistryError

EXPECTED = (
    ArchiveError,
    ArtifactError,
    DigestError,
    FetchError,
    LayoutError,
    LoginError,
    ReferenceInvalid,
    RegistryError,
    making.MakerError,
)


def no_engine() -> making.Engine:
    """A chart is never built."""
    raise making.MakerError("bundle_chart: a Docker engine was asked for; report this as a fault of the collection")


def fetch(module: AnsibleModule) -> dict[str, Any]:
    """One run of the module."""
    params = module.params

    def run(argv: list[str], stdin: Any) -> tuple[int, str, str]:
        rc, out, err = module.run_command(argv, data=stdin, binary_data=True)
        return rc, out, err

    told: list[str] = []
    logins = DockerLogins(params["docker_config"], run) if params["docker_config"] else None
    wanted = making.ChartSpec(
        params["name"],
        params["version"],
        "bundle_chart",
        repository=params["repository"],
        digest=params["digest"] or "",
    )
    maker = Maker(
        making.Spec(dest=params["cache"], collection="", charts=[wanted]),
        Cache(params["cache"]),
        module.run_command,
        no_engine,
        Registries(params["registry_hosts"], logins),
        told.append,
        dry=module.check_mode,
        web=Web(params["registry_hosts"]),
    )
    layout = maker.making.layout
    with maker.making.cache.held():
        maker.making.cache.folder("partial")
        before = {path.name for path in layout.blobs.iterdir()} if layout.blobs.is_dir() else set()
        found = Charts(maker.making).gather()
        if not found:
            raise making.MakerError(
                f"chart {wanted.name} {wanted.version}: is not in the cache {params['cache']}, and check mode fetches "
                "nothing; run once without check mode"
            )
        descriptor, _chart = next(iter(found.values()))
        layers = layout.read_json(descriptor.digest).get("layers") or []
        package = next((str(each["digest"]) for each in layers if each.get("mediaType") == CHART_CONTENT), "")
        if not package:
            raise making.MakerError(
                f"chart {wanted.name} {wanted.version}: {params['repository']} has a manifest that names no package; "
                "correct the repository"
            )
    path = layout.blob_path(package)
    return {"changed": path.name not in before, "path": str(path), "digest": descriptor.digest}


def main() -> None:
    """Entry of the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "repository": {"type": "str", "required": True},
            "digest": {"type": "str"},
            "cache": {"type": "path", "required": True},
            "registry_hosts": {"type": "dict", "default": {}},
            "docker_config": {"type": "path"},
        },
        supports_check_mode=True,
    )
    try:
        result = fetch(module)
    except EXPECTED as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"chart {module.params['name']}: {error}; make {module.params['cache']} writable and give it room",
            exception=traceback.format_exc(),
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
