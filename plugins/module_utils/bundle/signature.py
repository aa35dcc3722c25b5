# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sign the lock of a bundle and verify it, with ssh-keygen and an allowed_signers file."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import struct
import tempfile
from typing import Callable, Optional

NAMESPACE = "airgap-speech-bundle"
PRINCIPAL = "airgap-speech-bundle"

# run(argv, stdin) -> (exit status, standard output, standard error)
Run = Callable[[list[str], Optional[bytes]], "tuple[int, str, str]"]


class SignatureError(Exception):
    """The signature is absent, wrong, or by nobody that the operator trusts."""


def sign(run: Run, lock_path: str, key_path: str) -> str:
    """Sign the lock with a private key file that needs no passphrase; returns the path of the signature."""
    if not os.path.isfile(key_path):
        raise SignatureError(
            f"{key_path}: there is no signing key; make one with `ssh-keygen -t ed25519 -N '' -f {key_path}`, "
            "or name another in bundle_signing_key"
        )
    signature = lock_path + ".sig"
    with tempfile.TemporaryDirectory(dir=os.path.dirname(lock_path) or ".", prefix=".sign-") as folder:
        copy = os.path.join(folder, os.path.basename(lock_path))
        with open(lock_path, "rb") as source, open(copy, "wb") as target:
            target.write(source.read())
        argv = ["ssh-keygen", "-q", "-Y", "sign", "-f", key_path, "-n", NAMESPACE, copy]
        rc, _out, err = run(argv, b"")
        if rc != 0 or not os.path.exists(copy + ".sig"):
            raise SignatureError(
                "{}: ssh-keygen could not sign with it ({}); check that the key has no passphrase and mode 0600".format(
                    key_path, err.strip() or f"exit status {rc}"
                )
            )
        os.chmod(copy + ".sig", 0o644)
        os.replace(copy + ".sig", signature)
    return signature


def verify(run: Run, lock_path: str, signers_path: str) -> str:
    """The principal that signed the lock, after the signature proved right; raises otherwise."""
    signature = lock_path + ".sig"
    if not os.path.isfile(signature):
        raise SignatureError(
            f"{signature}: there is no signature, so nobody vouches for this bundle; copy the bundle again, "
            "or sign it on the connected side"
        )
    if not signers_path or not os.path.isfile(signers_path):
        raise SignatureError(
            (
                "{}: there is no allowed_signers file; put the line that the connected side printed into it "
                "(never take it from the bundle)"
            ).format(signers_path or "airgap_bundle_signers")
        )
    rc, out, err = run(["ssh-keygen", "-Y", "find-principals", "-s", signature, "-f", signers_path], b"")
    principals = [line.strip() for line in out.splitlines() if line.strip()]
    if rc != 0 or not principals:
        raise SignatureError(
            f"{signature}: was made by {_signer(signature)}, which {signers_path} does not "
            f"trust{_because(err)}; check who made the bundle, and add the line "
            "of that signer only if it was handed over separately"
        )
    with open(lock_path, "rb") as handle:
        content = handle.read()
    failure = ""
    for principal in principals:
        argv = ["ssh-keygen", "-Y", "verify", "-f", signers_path, "-I", principal, "-n", NAMESPACE, "-s", signature]
        rc, out, err = run(argv, content)
        if rc == 0:
            return principal
        failure = err or out
    raise SignatureError(
        f"{lock_path}: does not match its signature{_because(failure)}; the lock was altered after it was "
        f"signed: copy the bundle again"
    )


def verify_fingerprint(run: Run, lock_path: str, fingerprint: str) -> str:
    """Verify against a fingerprint that the operator holds; returns the principal."""
    key = public_key(lock_path + ".sig")
    compare_fingerprint(key, fingerprint, lock_path + ".sig")
    with tempfile.TemporaryDirectory(prefix="airgap-signers-") as folder:
        signers = os.path.join(folder, "allowed_signers")
        with open(signers, "w", encoding="ascii") as handle:
            handle.write(signers_line(key))
        return verify(run, lock_path, signers)


def compare_fingerprint(key: str, fingerprint: str, thing: str) -> None:
    """Refuse a key whose fingerprint is not the given one."""
    wanted = fingerprint.strip()
    if not re.match(r"^SHA256:[A-Za-z0-9+/]{43}\Z", wanted):
        raise SignatureError(
            "{}: is no fingerprint; it looks like SHA256:... with 43 characters, as the connected side "
            "printed it".format(wanted or "(empty)")
        )
    actual = key_fingerprint(key)
    if actual != wanted:
        raise SignatureError(
            f"{thing}: was made by the key {actual}, expected {wanted}; check who made the bundle, and the "
            f"fingerprint that you were given"
        )


def signers_line(key: str, principal: str = PRINCIPAL) -> str:
    """A line of an allowed_signers file that trusts the key for bundles and nothing else."""
    kind, data = key.split()[:2]
    return f'{principal} namespaces="{NAMESPACE}" {kind} {data}\n'


def public_key(signature_path: str) -> str:
    """The public key inside an SSH signature, as `type base64`."""
    try:
        with open(signature_path, encoding="ascii") as handle:
            text = handle.read()
    except FileNotFoundError as error:
        raise SignatureError(
            f"{signature_path}: there is no signature, so nobody vouches for this bundle; copy the bundle again, "
            "or sign it on the connected side"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SignatureError(f"{signature_path}: cannot be read ({error}); copy the bundle again") from error
    lines = [line.strip() for line in text.strip().splitlines()]
    broken = SignatureError(f"{signature_path}: is no SSH signature; copy the bundle again")
    if len(lines) < 3 or lines[0] != "-----BEGIN SSH SIGNATURE-----" or lines[-1] != "-----END SSH SIGNATURE-----":
        raise broken
    try:
        data = base64.b64decode("".join(lines[1:-1]), validate=True)
        if data[:6] != b"SSHSIG":
            raise broken
        (length,) = struct.unpack(">I", data[10:14])
        key = data[14 : 14 + length]
        (size,) = struct.unpack(">I", key[:4])
        kind = key[4 : 4 + size].decode("ascii")
    except (binascii.Error, struct.error, UnicodeDecodeError) as error:
        raise broken from error
    if len(key) != length or not kind:
        raise broken
    return "{} {}".format(kind, base64.b64encode(key).decode("ascii"))


def key_fingerprint(key: str) -> str:
    """SHA256:... of a public key given as `type base64 [comment]`."""
    data = base64.b64decode(key.split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(data).digest()).decode("ascii").rstrip("=")


def fingerprints(signers_path: str) -> list[tuple[str, str]]:
    """Principal and fingerprint of each signer in an allowed_signers file."""
    every: list[tuple[str, str]] = []
    with open(signers_path, encoding="utf-8") as handle:
        for line in handle:
            fields = line.strip().split()
            if not fields or fields[0].startswith("#"):
                continue
            for index, word in enumerate(fields[1:-1], start=1):
                if word.startswith(("ssh-", "ecdsa-", "sk-")):
                    every.append((fields[0], key_fingerprint(" ".join(fields[index : index + 2]))))
                    break
    return every


def _signer(signature_path: str) -> str:
    try:
        return "the key " + key_fingerprint(public_key(signature_path))
    except SignatureError:
        return "an unreadable key"


def _because(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f" ({lines[-1]})" if lines else ""
