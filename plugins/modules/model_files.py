#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: model_files
short_description: Push a model that a vendor gave as files to the private registry
version_added: "0.1.0"
description:
  - Takes files that no bundle carries, such as Deepgram's C(.dg), holds each against its sha256, and pushes them as a
    model like those of a bundle - an OCI image of plain tar layers, one file a layer.
  - Every file is verified before a byte is sent. Nothing is written on this host.
  - A second run asks the registry for one manifest and reads no file.
author:
  - Airgap Speech contributors (@airgap-speech)
extends_documentation_fragment:
  - airgap.speech.registry
attributes:
  check_mode:
    description: Verifies the files and says the digest that the model would have. Sends nothing.
    support: full
  diff_mode:
    description: Shows the digest that the version stands for before and after.
    support: full
options:
  name:
    description: Name of the model. It lies in the registry as C(models/<name>).
    type: str
    required: true
  version:
    description:
      - Version of the model, its tag in the registry. A version that the registry holds with other files is refused.
    type: str
    required: true
  directory:
    description: Directory that holds the files.
    type: path
    required: true
  files:
    description: The files of the model.
    type: list
    elements: dict
    suboptions:
      path:
        description: Path below O(directory), and below the model.
        type: str
        required: true
      digest:
        description: Its digest, C(sha256:) and 64 hex digits.
        type: str
        required: true
  digest_file:
    description:
      - File with the digests of all files, as C(sha256sum) writes it, with paths below O(directory).
    type: path
"""

EXAMPLES = r"""
- name: Add a model that came on a drive of its vendor
  airgap.speech.model_files:
    registry: registry.airgap.internal:5001
    username: airgap-push
    password_file: /home/ops/.airgap/secrets/registry-push-password
    ca_file: /home/ops/.airgap/secrets/ca/ca.crt
    name: nova-3
    version: "2026-01"
    directory: /media/vendor/nova-3
    digest_file: /media/vendor/nova-3/SHA256SUMS
"""

RETURN = r"""
model:
  description: The model as M(airgap.speech.model_preload) takes it.
  returned: success
  type: dict
  contains:
    name:
      description: Name of the model.
      type: str
    version:
      description: Version of the model.
      type: str
    digest:
      description: Digest of the model.
      type: str
    files:
      description: Its files, each with path, digest and size in bytes.
      type: list
      elements: dict
bytes_sent:
  description: Bytes that were sent. Blobs that the registry holds are not sent again.
  returned: success
  type: int
"""

from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airgap.speech.plugins.module_utils.oci.options import (
    REGISTRY_OPTIONS,
    REGISTRY_REQUIRED_BY,
    client,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.preload_add import (
    Added,
    add_model,
    given_files,
    read_sums,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.preload_model import PreloadError
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry, RegistryError


def reach(module: AnsibleModule) -> Optional[Registry]:
    """The registry; none in check mode where it, its login or its CA are not made yet."""
    try:
        registry = client(module.params)
        if module.check_mode:
            registry.ping()
        return registry
    except RegistryError as error:
        if module.check_mode and (error.not_set_up or error.absent):
            return None
        raise


def add(module: AnsibleModule) -> Added:
    """One run of the module."""
    params = module.params
    if params["digest_file"]:
        digests = read_sums(params["digest_file"])
    else:
        digests = {file["path"]: file["digest"] for file in params["files"]}
    title = f"model {params['name']}:{params['version']}"
    files = given_files(title, params["directory"], digests)
    registry = reach(module)
    try:
        return add_model(registry, params["name"], params["version"], files, check=module.check_mode)
    finally:
        if registry is not None:
            registry.close()


def main() -> None:
    """Entry of the module."""
    module = AnsibleModule(
        argument_spec={
            **REGISTRY_OPTIONS,
            "name": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
            "files": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "path": {"type": "str", "required": True},
                    "digest": {"type": "str", "required": True},
                },
            },
            "digest_file": {"type": "path"},
        },
        required_by=REGISTRY_REQUIRED_BY,
        required_one_of=[("files", "digest_file")],
        mutually_exclusive=[("files", "digest_file")],
        supports_check_mode=True,
    )
    try:
        added = add(module)
    except (PreloadError, RegistryError) as error:
        module.fail_json(msg=str(error))
    name, version = module.params["name"], module.params["version"]
    model: dict[str, Any] = {"name": name, "version": version, "digest": added.digest, "files": added.files}
    module.exit_json(
        changed=added.changed,
        model=model,
        bytes_sent=added.bytes_sent,
        diff={
            "before": f"models/{name}:{version} {added.before}\n" if added.before else "",
            "after": f"models/{name}:{version} {added.digest}\n",
        },
    )


if __name__ == "__main__":
    main()
