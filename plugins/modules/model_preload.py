#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: model_preload
short_description: Place models from the private registry in a directory of a node
version_added: "0.1.0"
description:
  - A model is an OCI image of plain tar layers, one file a layer, in the private registry.
  - Each file is streamed from the registry straight to its place, verified while it is written, and written once.
    When all files of a model are on disk, the link C(<directory>/<name>) is switched to them in one step, so that
    no reader ever sees a part of a model.
  - The link is relative, so it holds wherever the directory is mounted.
  - Where several versions of a model are wanted, each has a link C(<directory>/<name>@<version>) as well, and
    C(<directory>/<name>) stands for the first of them.
  - A run that was killed is gone on with, also inside a file.
  - Runs with Python 3.9 or newer and its standard library.
author:
  - Airgap Speech contributors (@airgap-speech)
extends_documentation_fragment:
  - airgap.speech.registry
attributes:
  check_mode:
    description:
      - Says which files and how many bytes would be written. No registry is asked where O(models[].files) is given.
    support: full
  diff_mode:
    description: Shows the digest of each model before and after, with the files and bytes to write.
    support: full
options:
  password:
    description:
      - Password of O(username), where it does not lie in a file on the host.
    type: str
  ca_pem:
    description:
      - The CA of the registry as text, where it does not lie in a file on the host.
    type: str
  models:
    description:
      - The models that are wanted. Models that are not named are left alone.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the model, and of its link.
        type: str
        required: true
      version:
        description: Version of the model.
        type: str
        required: true
      digest:
        description: Digest of the model's image.
        type: str
        required: true
      files:
        description:
          - The files of the model, as the bundle's lock has them. Where given, paths and sizes are held against them.
        type: list
        elements: dict
        default: []
        suboptions:
          path:
            description: Path of the file below the model.
            type: str
            required: true
          digest:
            description: Digest of the file.
            type: str
            required: true
          size:
            description: Size of the file in bytes.
            type: int
            required: true
  directory:
    description:
      - Where the models are to lie. Made if it is missing.
    type: path
    required: true
  owner:
    description:
      - Number of the user that the files are to belong to. As they are made if not given.
    type: int
  group:
    description:
      - Number of the group that the files are to belong to. As they are made if not given.
    type: int
  mode:
    description:
      - Mode of the files, as an octal number in quotes. Directories can be entered by whoever can read the files.
    type: str
    default: "0644"
  selinux_type:
    description:
      - Type of the SELinux context that files and directories are to have, where SELinux runs. C(container_file_t) lets
        containers read them. As they are made if empty.
    type: str
    default: ""
  keep:
    description:
      - How many earlier versions of a model stay beside the one in use.
    type: int
    default: 1
  verify:
    description:
      - V(size) compares the record of a placed model with the sizes of its files; V(full) reads every byte.
    type: str
    choices: [size, full]
    default: size
"""

EXAMPLES = r"""
- name: Place the models in a directory of the node
  airgap.speech.model_preload:
    registry: registry.airgap.internal:5000
    username: airgap-pull
    password: "{{ lookup('ansible.builtin.file', '/home/ops/.airgap/secrets/registry-pull-password') }}"
    ca_pem: "{{ lookup('ansible.builtin.file', '/home/ops/.airgap/secrets/ca/ca.crt') }}"
    directory: /var/lib/airgap-speech/models
    models:
      - name: faster-whisper-tiny.en
        version: 1.0.0
        digest: sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
"""

RETURN = r"""
models:
  description: What happened to each model.
  returned: success
  type: list
  elements: dict
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
    status:
      description:
        - V(present) where it was right, V(written) where files were written, V(switched) where only the link was wrong.
      type: str
    files:
      description: How many files were written. In check mode, would be.
      type: int
    bytes:
      description: Bytes of those files.
      type: int
files_written:
  description: How many files were written in all. In check mode, would be.
  returned: success
  type: int
bytes_written:
  description: Bytes of those files.
  returned: success
  type: int
summary:
  description: The run in one line.
  returned: success
  type: str
  sample: Placed 3 models, 11 files, 152.1 MiB in 4.0 s, 0 already there
pruned:
  description: Versions that were removed, as paths below the directory. In check mode, would be.
  returned: success
  type: list
  elements: str
seconds:
  description: Time that the work took.
  returned: success
  type: float
"""

from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airgap.speech.plugins.module_utils.oci.options import (
    REGISTRY_OPTIONS,
    REGISTRY_REQUIRED_BY,
    client,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.preload import (
    Model,
    Owner,
    Preloader,
    PreloadError,
    PreloadResult,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry, RegistryError


def diff_of(result: PreloadResult) -> dict[str, str]:
    """Digests before and after, with what is written."""
    before = "".join(f"{name} {digest}\n" for name, digest in sorted(result.before.items()))
    amounts = {
        model.digest: f" ({model.files} files, {model.bytes} bytes written)" for model in result.models if model.files
    }
    after = "".join(f"{name} {digest}{amounts.get(digest, '')}\n" for name, digest in sorted(result.after.items()))
    return {"before": before, "after": after}


def reach(module: AnsibleModule) -> Optional[Registry]:
    """The registry; none in check mode where its login or CA are not made yet."""
    try:
        return client(module.params)
    except RegistryError as error:
        if module.check_mode and error.not_set_up:
            return None
        raise


def preload(module: AnsibleModule) -> dict[str, Any]:
    """One run of the module."""
    params = module.params
    try:
        mode = int(params["mode"], 8)
    except ValueError:
        module.fail_json(msg=f'mode {params["mode"]!r}: it is no octal number; write it like "0644"')
    owner = Owner(
        uid=-1 if params["owner"] is None else params["owner"],
        gid=-1 if params["group"] is None else params["group"],
        mode=mode,
        selinux_type=params["selinux_type"],
    )
    registry = reach(module)
    preloader = Preloader(
        registry, params["directory"], owner=owner, keep=max(0, params["keep"]), full=params["verify"] == "full"
    )
    try:
        result = preloader.run([Model.read(raw) for raw in params["models"]], check=module.check_mode)
    finally:
        if registry is not None:
            registry.close()
    return {**result.as_dict(), "summary": result.summary(module.check_mode), "diff": diff_of(result)}


def main() -> None:
    """Entry of the module."""
    module = AnsibleModule(
        argument_spec={
            **REGISTRY_OPTIONS,
            "password": {"type": "str", "no_log": True},
            "ca_pem": {"type": "str"},
            "models": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "version": {"type": "str", "required": True},
                    "digest": {"type": "str", "required": True},
                    "files": {
                        "type": "list",
                        "elements": "dict",
                        "default": [],
                        "options": {
                            "path": {"type": "str", "required": True},
                            "digest": {"type": "str", "required": True},
                            "size": {"type": "int", "required": True},
                        },
                    },
                },
            },
            "directory": {"type": "path", "required": True},
            "owner": {"type": "int"},
            "group": {"type": "int"},
            "mode": {"type": "str", "default": "0644"},
            "selinux_type": {"type": "str", "default": ""},
            "keep": {"type": "int", "default": 1},
            "verify": {"type": "str", "choices": ["size", "full"], "default": "size"},
        },
        mutually_exclusive=[("password", "password_file"), ("ca_file", "ca_pem")],
        required_by={**REGISTRY_REQUIRED_BY, "password": "username"},
        supports_check_mode=True,
    )
    try:
        result = preload(module)
    except (PreloadError, RegistryError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"directory {module.params['directory']}: {error}; look at the volume, then run again: it goes on here"
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
