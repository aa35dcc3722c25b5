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

_KEY_KINDS = ("ssh-", "ecdsa-", "sk-")
_BEGIN = "-----BEGIN SSH SIGNATURE-----"
_END = "-----END SSH SIGNATURE-----"

# run(argv, stdin) -> (exit status, standard output, standard error)
Run = Callable[[list[str], Optional[bytes]], "tuple[int, str, str]"]


class SignatureError(Exception):
    """The signature is absent, wrong, or by nobody that the operator trusts."""


def sign(run: Run, lock_path: str, *key_paths: str) -> str:
    """Sign the lock with private keys that need no passphrase; returns the path of the signatures, one after another.

    Signatures by other keys go: all that vouch for a lock are made in one step.
    """
    signature = lock_path + ".sig"
    text = ""
    with tempfile.TemporaryDirectory(dir=os.path.dirname(lock_path) or ".", prefix=".sign-") as folder:
        copy = os.path.join(folder, os.path.basename(lock_path))
        with open(lock_path, "rb") as source, open(copy, "wb") as target:
            target.write(source.read())
        for key_path in key_paths:
            text += _signed(run, copy, key_path)
        with open(copy + ".sig", "w", encoding="ascii") as handle:
            handle.write(text)
        os.chmod(copy + ".sig", 0o644)
        os.replace(copy + ".sig", signature)
    return signature


def _signed(run: Run, copy: str, key_path: str) -> str:
    if not os.path.isfile(key_path):
        raise SignatureError(
            f"{key_path}: there is no signing key; make one with `ssh-keygen -t ed25519 -N '' -f {key_path}`, "
            "or name another in bundle_signing_key"
        )
    rc, _out, err = run(["ssh-keygen", "-q", "-Y", "sign", "-f", key_path, "-n", NAMESPACE, copy], b"")
    if rc != 0 or not os.path.exists(copy + ".sig"):
        raise SignatureError(
            "{}: ssh-keygen could not sign with it ({}); check that the key has no passphrase and mode 0600".format(
                key_path, err.strip() or f"exit status {rc}"
            )
        )
    with open(copy + ".sig", encoding="ascii") as handle:
        text = handle.read()
    os.unlink(copy + ".sig")
    return text


def verify(run: Run, lock_path: str, signers_path: str, revoked_path: str = "", wanted: int = 1) -> str:
    """Who signed the lock, once `wanted` signatures by different trusted keys have proved right; raises otherwise.

    `revoked_path` is a file of revoked keys, as `ssh-keygen -k` makes it or a list of public keys. A signature by one
    of them counts for nothing. Several principals are joined by a comma and a blank.
    """
    signature = lock_path + ".sig"
    keys = public_keys(signature)
    if not signers_path or not os.path.isfile(signers_path):
        raise SignatureError(
            (
                "{}: there is no allowed_signers file; put the line that the connected side printed into it "
                "(never take it from the bundle)"
            ).format(signers_path or "airgap_bundle_signers")
        )
    if revoked_path:
        _check_revoked(run, revoked_path)
    with open(lock_path, "rb") as handle:
        content = handle.read()
    right: dict[str, str] = {}
    wrong: list[SignatureError] = []
    with tempfile.TemporaryDirectory(prefix="airgap-signature-") as folder:
        one = os.path.join(folder, "one.sig")
        for key, block in zip(keys, blocks(signature)):
            with open(one, "w", encoding="ascii") as handle_out:
                handle_out.write(block)
            try:
                right[key] = _principal(run, lock_path, content, one, key, signers_path, revoked_path)
            except SignatureError as error:
                wrong.append(error)
    if len(right) >= max(1, wanted):
        return ", ".join(sorted(set(right.values())))
    if wrong:
        raise wrong[0]
    raise SignatureError(
        f"{signature}: is signed by {len(right)} trusted keys, where {wanted} are wanted; have the others sign it on "
        "the "
        "connected side"
    )


def _principal(
    run: Run, lock_path: str, content: bytes, signature: str, key: str, signers_path: str, revoked_path: str
) -> str:
    """The principal of one signature that is right."""
    shown = lock_path + ".sig"
    rc, out, err = run(["ssh-keygen", "-Y", "find-principals", "-s", signature, "-f", signers_path], b"")
    principals = [line.strip() for line in out.splitlines() if line.strip()]
    if rc != 0 or not principals:
        dates = _dates_of(signers_path, key)
        if dates:
            raise SignatureError(
                f"{shown}: was made by the key {key_fingerprint(key)}, which {signers_path} trusts only {dates}; "
                "have the "
                "bundle signed with a key that is good now, or correct the clock of this machine"
            )
        raise SignatureError(
            f"{shown}: was made by the key {key_fingerprint(key)}, which {signers_path} does not "
            f"trust{_because(err)}; check who made the bundle, and add the line "
            "of that signer only if it was handed over separately"
        )
    failure = ""
    for principal in principals:
        argv = ["ssh-keygen", "-Y", "verify", "-f", signers_path, "-I", principal, "-n", NAMESPACE, "-s", signature]
        rc, out, err = run(argv, content)
        if rc == 0 and revoked_path:
            rc, _out, _err = run([*argv, "-r", revoked_path], content)
            if rc != 0:
                raise SignatureError(
                    f"{shown}: was made by the key {key_fingerprint(key)} of {principal}, which {revoked_path} "
                    "revokes; do "
                    "not use this bundle before somebody who is still trusted has signed it again"
                )
        if rc == 0:
            return principal
        failure = err or out
    raise SignatureError(
        f"{lock_path}: does not match its signature{_because(failure)}; the lock was altered after it was "
        f"signed: copy the bundle again"
    )


def _check_revoked(run: Run, path: str) -> None:
    """A file that ssh-keygen cannot read would make it refuse every key, and say no more than that."""
    try:
        with open(path, "rb") as handle:
            data = handle.read()
    except OSError as error:
        raise SignatureError(
            f"{path}: the file of revoked keys cannot be read ({error.strerror}); bring it, or name another"
        ) from error
    wrong = SignatureError(
        f"{path}: is neither a list of revoked public keys nor what `ssh-keygen -k` makes; copy it again"
    )
    if data.startswith(b"SSHKRL"):
        if run(["ssh-keygen", "-Q", "-l", "-f", path], b"")[0] != 0:
            raise wrong
        return
    for line in data.decode("utf-8", "replace").splitlines():
        fields = line.split()
        if fields and not fields[0].startswith("#") and not (len(fields) >= 2 and fields[0].startswith(_KEY_KINDS)):
            raise wrong


def _dates_of(signers_path: str, key: str) -> str:
    """When the file trusts the key, in the words of its options; nothing where it does not name the key or no dates."""
    data = key.split()[1]
    with open(signers_path, encoding="utf-8") as handle:
        for line in handle:
            if not line.lstrip().startswith("#") and data in line.split():
                dates = re.findall(r'(valid-before|valid-after)="([0-9]+Z?)"', line)
                if dates:
                    words = {"valid-before": "before", "valid-after": "after"}
                    return " and ".join(f"{words[name]} {value}" for name, value in dates)
    return ""


def verify_fingerprint(run: Run, lock_path: str, fingerprint: str, revoked_path: str = "") -> str:
    """Verify against a fingerprint that the operator holds; returns the principal."""
    keys = public_keys(lock_path + ".sig")
    key = next((key for key in keys if key_fingerprint(key) == fingerprint.strip()), keys[0])
    compare_fingerprint(key, fingerprint, lock_path + ".sig")
    with tempfile.TemporaryDirectory(prefix="airgap-signers-") as folder:
        signers = os.path.join(folder, "allowed_signers")
        with open(signers, "w", encoding="ascii") as handle:
            handle.write(signers_line(key))
        return verify(run, lock_path, signers, revoked_path)


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
    """The public key inside the first SSH signature of a file, as `type base64`."""
    return public_keys(signature_path)[0]


def public_keys(signature_path: str) -> list[str]:
    """The public key inside each SSH signature of a file."""
    return [_key_of(block, signature_path) for block in blocks(signature_path)]


def blocks(signature_path: str) -> list[str]:
    """The SSH signatures of a file, each with its first and last line; at least one."""
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
    found = re.findall(f"{_BEGIN}.*?{_END}", text, flags=re.DOTALL)
    if not found or re.sub(f"{_BEGIN}.*?{_END}", "", text, flags=re.DOTALL).strip():
        raise SignatureError(f"{signature_path}: is no SSH signature; copy the bundle again")
    return [block + "\n" for block in found]


def _key_of(block: str, signature_path: str) -> str:
    lines = [line.strip() for line in block.strip().splitlines()]
    broken = SignatureError(f"{signature_path}: is no SSH signature; copy the bundle again")
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


def _because(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f" ({lines[-1]})" if lines else ""
