#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: tls_certificate
short_description: Keep a private CA and a server certificate signed by it
version_added: "0.1.0"
description:
  - Makes a private certificate authority where there is none, and a server certificate signed by it.
  - The server certificate is made anew, with a new key, when it is missing, when its names differ from the wanted
    ones, when another CA signed it, when its key does not belong to it, or when fewer than O(renew_days) are left.
  - The CA is never replaced, as every client trusts it. Its last O(ca_warn_days) bring a warning.
  - Keys are elliptic curve keys (P-256) in files of mode 0600. They are never returned or shown.
author:
  - Airgap Speech contributors (@airgap-speech)
requirements:
  - cryptography (Python library) on the host that runs the module
attributes:
  check_mode:
    description: Can predict what would be changed, without changing it.
    support: full
  diff_mode:
    description: Shows names and validity of certificates, never keys.
    support: full
options:
  ca_certificate_file:
    description: Certificate of the CA. Made if it is missing.
    type: path
    required: true
  ca_private_key_file:
    description: Key of the CA. Needed only when a certificate must be signed.
    type: path
    required: true
  ca_common_name:
    description: Name of a CA that is made.
    type: str
    default: Airgap Speech private CA
  ca_days:
    description: Days that a CA that is made is valid.
    type: int
    default: 3650
  ca_warn_days:
    description: Warns when the CA has fewer days left.
    type: int
    default: 90
  certificate_file:
    description: The server certificate. Without it only the CA is kept.
    type: path
  private_key_file:
    description: Key of the server certificate.
    type: path
  dns_names:
    description: DNS names that the certificate is valid for.
    type: list
    elements: str
    default: []
  ip_addresses:
    description: IP addresses that the certificate is valid for.
    type: list
    elements: str
    default: []
  days:
    description: Days that a new certificate is valid. It never outlives the CA.
    type: int
    default: 730
  renew_days:
    description: Makes the certificate anew when fewer days are left.
    type: int
    default: 30
  force:
    description: Makes the server certificate anew in any case.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Keep the registry's certificate
  airgap.speech.tls_certificate:
    ca_certificate_file: ~/.airgap/secrets/ca/ca.crt
    ca_private_key_file: ~/.airgap/secrets/ca/ca.key
    certificate_file: ~/.airgap/secrets/registry/tls.crt
    private_key_file: ~/.airgap/secrets/registry/tls.key
    dns_names:
      - registry.airgap.internal
    ip_addresses:
      - 10.20.0.5
"""

RETURN = r"""
ca:
  description: The CA. In check mode, what is there now.
  returned: when there is one
  type: dict
  sample:
    fingerprint: sha256:5f0b
    not_after: "2036-11-18T12:00:00Z"
certificate:
  description: The server certificate. In check mode, what is there now.
  returned: when there is one
  type: dict
  sample:
    fingerprint: sha256:77aa
    names: [registry.airgap.internal]
    not_after: "2028-11-20T12:00:00Z"
reasons:
  description: Why the server certificate was, or would be, made anew.
  returned: success
  type: list
  elements: str
  sample: ["its names differ"]
"""

import datetime
import ipaddress
import traceback
from typing import Any, Callable, Optional, TypeVar

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.airgap.speech.plugins.module_utils.secrets.files import (
    SecretFileError,
    file_mode,
    read_bytes,
    write_file,
)
from ansible_collections.airgap.speech.plugins.module_utils.tls import certificates as tls

try:
    import cryptography  # noqa: F401 pylint: disable=unused-import
except ImportError:
    HAS_CRYPTOGRAPHY = False
    CRYPTOGRAPHY_ERROR: Optional[str] = traceback.format_exc()
else:
    HAS_CRYPTOGRAPHY = True
    CRYPTOGRAPHY_ERROR = None

T = TypeVar("T")


def load(path: str, loader: Callable[[bytes, str], T]) -> Optional[T]:
    """A key or certificate, or None if there is no such file."""
    return None if file_mode(path) is None else loader(read_bytes(path), path)


def summary(certificate: Any) -> dict[str, Any]:
    return {
        "fingerprint": tls.fingerprint(certificate),
        "names": tls.certificate_names(certificate),
        "not_before": tls.stamp(tls.not_before(certificate)),
        "not_after": tls.stamp(tls.not_after(certificate)),
    }


def addresses(texts: list[str]) -> list[str]:
    """Addresses as the certificate will spell them."""
    result = []
    for text in texts:
        try:
            result.append(str(ipaddress.ip_address(text)))
        except ValueError as err:
            raise tls.TlsError(f"{text!r} in ip_addresses is not an IP address; names belong in dns_names") from err
    return sorted(set(result))


class Keeper:
    """One run: the CA, then the server certificate."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.params = module.params
        self.now = tls.utc_now()
        self.changed = False
        self.reasons: list[str] = []
        self.before: list[str] = []
        self.after: list[str] = []

    def authority(self) -> tuple[Any, Any]:
        """The CA's certificate and its key, the latter None if it is kept elsewhere."""
        path, key_path = self.params["ca_certificate_file"], self.params["ca_private_key_file"]
        certificate = load(path, tls.load_certificate)
        key = load(key_path, tls.load_key)
        if certificate is None:
            pair = tls.make_authority(self.params["ca_common_name"], self.params["ca_days"], key, self.now)
            self.note(path, None, pair.certificate)
            if not self.module.check_mode:
                write_file(key_path, tls.key_to_pem(pair.key))
                write_file(path, tls.to_pem(pair.certificate), 0o644)
            return pair.certificate, pair.key
        if key is not None and not tls.belongs(certificate, key):
            raise tls.TlsError(
                f"{key_path} is not the key of {path}; put the right key there, or move both away for a new CA"
            )
        left = tls.not_after(certificate) - self.now
        if left <= datetime.timedelta(0):
            raise tls.TlsError(
                f"the CA {path} ended at {tls.stamp(tls.not_after(certificate))}; move it and {key_path} away, "
                "run again, and bring the new CA to every client"
            )
        if left < datetime.timedelta(days=self.params["ca_warn_days"]):
            self.module.warn(f"the CA {path} ends in {left.days} days; plan a new one, every client must learn it")
        return certificate, key

    def server(self, authority: Any, key: Any) -> Any:
        """The server certificate, made anew if there is a reason."""
        path, key_path = self.params["certificate_file"], self.params["private_key_file"]
        dns = sorted(set(self.params["dns_names"]))
        wanted = tls.Wanted((dns or self.params["ip_addresses"])[0], dns, addresses(self.params["ip_addresses"]))
        present = load(path, tls.load_certificate)
        present_key = load(key_path, tls.load_key)
        self.reasons = tls.reasons_to_renew(
            present, present_key, authority, wanted, renew_days=self.params["renew_days"], now=self.now
        ) or (["it is forced"] if self.params["force"] else [])
        if not self.reasons:
            return present
        if key is None:
            raise tls.TlsError(
                f"{path} must be made anew ({'; '.join(self.reasons)}) and the CA's key is not at "
                f"{self.params['ca_private_key_file']}; put it there for this run"
            )
        pair = tls.make_server(wanted, self.params["days"], tls.Pair(authority, key), self.now)
        self.note(path, present, pair.certificate)
        if self.module.check_mode:
            return present
        write_file(key_path, tls.key_to_pem(pair.key))
        write_file(path, tls.to_pem(pair.certificate), 0o644)
        return pair.certificate

    def note(self, path: str, before: Any, after: Any) -> None:
        self.changed = True
        self.before.append(f"{path}:\n{tls.describe(before)}")
        self.after.append(f"{path}:\n{tls.describe(after)}")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "ca_certificate_file": {"type": "path", "required": True},
            "ca_private_key_file": {"type": "path", "required": True, "no_log": False},
            "ca_common_name": {"type": "str", "default": "Airgap Speech private CA"},
            "ca_days": {"type": "int", "default": 3650},
            "ca_warn_days": {"type": "int", "default": 90},
            "certificate_file": {"type": "path"},
            "private_key_file": {"type": "path", "no_log": False},
            "dns_names": {"type": "list", "elements": "str", "default": []},
            "ip_addresses": {"type": "list", "elements": "str", "default": []},
            "days": {"type": "int", "default": 730},
            "renew_days": {"type": "int", "default": 30},
            "force": {"type": "bool", "default": False},
        },
        required_together=[("certificate_file", "private_key_file")],
        supports_check_mode=True,
    )
    if not HAS_CRYPTOGRAPHY:
        module.fail_json(msg=missing_required_lib("cryptography"), exception=CRYPTOGRAPHY_ERROR)
    if module.params["certificate_file"] and not (module.params["dns_names"] or module.params["ip_addresses"]):
        module.fail_json(msg="a server certificate needs a name; give dns_names or ip_addresses")

    keeper = Keeper(module)
    result: dict[str, Any] = {}
    try:
        authority, key = keeper.authority()
        if not module.check_mode or file_mode(module.params["ca_certificate_file"]) is not None:
            result["ca"] = summary(authority)
        if module.params["certificate_file"]:
            certificate = keeper.server(authority, key)
            if certificate is not None:
                result["certificate"] = summary(certificate)
    except (SecretFileError, tls.TlsError) as err:
        module.fail_json(msg=str(err))
    result.update(changed=keeper.changed, reasons=keeper.reasons)
    if module._diff:
        result["diff"] = {"before": "".join(keeper.before), "after": "".join(keeper.after)}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
