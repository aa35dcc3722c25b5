# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
from pathlib import Path
from typing import Callable, Optional

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.bundle import signature, verify
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import Blob, File, Lock, dump, load
from ansible_collections.airgap.speech.plugins.module_utils.bundle.verify import BundleError, verify_bundle


def run(argv: list[str], stdin: Optional[bytes]) -> tuple[int, str, str]:
    done = subprocess.run(argv, input=stdin, capture_output=True, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def make_key(path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return " ".join((path.parent / (path.name + ".pub")).read_text().split()[:2])


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    root = tmp_path / "bundle"
    blobs = {b"one" * 1000: None, b"two" * 2000: None}
    (root / "oci/blobs/sha256").mkdir(parents=True)
    (root / "files/tools").mkdir(parents=True)
    for data in blobs:
        (root / "oci/blobs/sha256" / _digest(data)[7:]).write_bytes(data)
    (root / "files/tools/helm").write_bytes(b"helm")
    lock = Lock(
        "2026-11-21T12:00:00Z",
        "0.1.0",
        blobs=[Blob(_digest(data), len(data)) for data in blobs],
        files=[File("files/tools/helm", _digest(b"helm"), 4, "tool", "t")],
    )
    (root / "bundle.lock.json").write_bytes(dump(lock))
    return root


@pytest.fixture
def signed(bundle: Path, tmp_path: Path) -> tuple[Path, str]:
    key = make_key(tmp_path / "key")
    signature.sign(run, str(bundle / "bundle.lock.json"), str(tmp_path / "key"))
    (tmp_path / "signers").write_text("# trusted\n" + signature.signers_line(key))
    return bundle, key


def test_signed_and_verified(signed: tuple[Path, str], tmp_path: Path) -> None:
    bundle, key = signed
    lock = str(bundle / "bundle.lock.json")
    assert signature.verify(run, lock, str(tmp_path / "signers")) == "airgap-speech-bundle"
    assert signature.public_key(lock + ".sig") == key
    out = subprocess.run(["ssh-keygen", "-l", "-f", str(tmp_path / "key")], capture_output=True, text=True, check=True)
    assert signature.key_fingerprint(key) == out.stdout.split()[1]
    assert signature.verify_fingerprint(run, lock, signature.key_fingerprint(key)) == "airgap-speech-bundle"
    first = (bundle / "bundle.lock.json.sig").read_bytes()
    signature.sign(run, lock, str(tmp_path / "key"))
    assert (bundle / "bundle.lock.json.sig").read_bytes() == first
    assert sorted(os.listdir(bundle)) == ["bundle.lock.json", "bundle.lock.json.sig", "files", "oci"]


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def _other_namespace(bundle: Path, tmp: Path) -> None:
    argv = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(tmp / "key"), "-n", "file", str(bundle / "bundle.lock.json")]
    (bundle / "bundle.lock.json.sig").unlink()
    subprocess.run(argv, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda b, t: (b / "bundle.lock.json.sig").unlink(), r"bundle\.lock\.json\.sig: there is no signature"),
        (lambda b, t: _flip(b / "bundle.lock.json"), "was altered after it was signed"),
        (lambda b, t: (b / "bundle.lock.json.sig").write_text("x"), "is no SSH signature; copy the bundle again"),
        (lambda b, t: (t / "signers").unlink(), "there is no allowed_signers file"),
        (lambda b, t: (t / "signers").write_text(signature.signers_line(make_key(t / "k2"))), "does not trust"),
        (_other_namespace, "was altered|does not match"),
    ],
)
def test_refused(signed: tuple[Path, str], tmp_path: Path, spoil: Callable[[Path, Path], None], message: str) -> None:
    spoil(signed[0], tmp_path)
    with pytest.raises(signature.SignatureError, match=message):
        signature.verify(run, str(signed[0] / "bundle.lock.json"), str(tmp_path / "signers"))


def dated(key: str, dates: str) -> str:
    """A line that trusts the key for some time only."""
    return signature.signers_line(key).replace(" namespaces", f" {dates},namespaces", 1)


@pytest.fixture
def twice(bundle: Path, tmp_path: Path) -> tuple[str, list[str]]:
    """A lock that two keys signed, and their public halves."""
    keys = [make_key(tmp_path / name) for name in ("key", "key-2")]
    lock = str(bundle / "bundle.lock.json")
    signature.sign(run, lock, str(tmp_path / "key"), str(tmp_path / "key-2"))
    return lock, keys


def test_several_signers(twice: tuple[str, list[str]], tmp_path: Path) -> None:
    lock, keys = twice
    assert signature.public_keys(lock + ".sig") == keys
    signers = tmp_path / "signers"
    for trusted in (keys[:1], keys[1:], keys):
        signers.write_text("".join(signature.signers_line(key, "p-" + key[-4:]) for key in trusted))
        assert signature.verify(run, lock, str(signers)) == ", ".join(sorted("p-" + key[-4:] for key in trusted))
        if len(trusted) == 2:
            assert "," in signature.verify(run, lock, str(signers), wanted=2)
            continue
        with pytest.raises(signature.SignatureError, match=r"was made by the key SHA256:\S+, which \S+ does not trust"):
            signature.verify(run, lock, str(signers), wanted=2)
    for key in keys:
        assert signature.verify_fingerprint(run, lock, signature.key_fingerprint(key))
    signers.write_text(signature.signers_line(make_key(tmp_path / "stranger")))
    with pytest.raises(signature.SignatureError, match="does not trust"):
        signature.verify(run, lock, str(signers))
    with pytest.raises(signature.SignatureError, match="is signed by 2 trusted keys, where 3 are wanted"):
        signers.write_text("".join(signature.signers_line(key) for key in keys))
        signature.verify(run, lock, str(signers), wanted=3)


def test_one_key_twice_is_one_signer(bundle: Path, tmp_path: Path) -> None:
    key = make_key(tmp_path / "key")
    lock = str(bundle / "bundle.lock.json")
    signature.sign(run, lock, str(tmp_path / "key"), str(tmp_path / "key"))
    (tmp_path / "signers").write_text(signature.signers_line(key))
    assert signature.verify(run, lock, str(tmp_path / "signers"))
    with pytest.raises(signature.SignatureError, match="by 1 trusted keys, where 2 are wanted"):
        signature.verify(run, lock, str(tmp_path / "signers"), wanted=2)


def _revocation_list(keys: list[Path], target: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-k", "-f", str(target), *map(str, keys)], check=True)


def _public_keys(keys: list[Path], target: Path) -> None:
    target.write_text("# revoked\n" + "".join(key.read_text() for key in keys))


@pytest.mark.parametrize("write", [_revocation_list, _public_keys])
def test_revoked(twice: tuple[str, list[str]], tmp_path: Path, write: Callable[[list[Path], Path], None]) -> None:
    lock, keys = twice
    signers, revoked = tmp_path / "signers", tmp_path / "revoked"
    signers.write_text("".join(signature.signers_line(key, f"p-{n}") for n, key in enumerate(keys)))
    write([], revoked)
    assert signature.verify(run, lock, str(signers), str(revoked)) == "p-0, p-1"
    write([tmp_path / "key.pub"], revoked)
    # The other one still vouches; where two are wanted, the revoked one is named.
    assert signature.verify(run, lock, str(signers), str(revoked)) == "p-1"
    fingerprint = signature.key_fingerprint(keys[0]).replace("+", r"\+")
    message = f"was made by the key {fingerprint} of p-0, which {revoked} revokes; do not use this bundle"
    with pytest.raises(signature.SignatureError, match=message):
        signature.verify(run, lock, str(signers), str(revoked), wanted=2)
    with pytest.raises(signature.SignatureError, match="revokes"):
        signature.verify_fingerprint(run, lock, signature.key_fingerprint(keys[0]), str(revoked))
    write([tmp_path / "key.pub", tmp_path / "key-2.pub"], revoked)
    with pytest.raises(signature.SignatureError, match=message):
        signature.verify(run, lock, str(signers), str(revoked))


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"garbage\n", "is neither a list"), (b"SSHKRL\n\0broken", "is neither a list"), (None, "cannot be read")],
)
def test_a_file_of_revoked_keys_that_cannot_be_used(
    signed: tuple[Path, str], tmp_path: Path, data: Optional[bytes], message: str
) -> None:
    if data is not None:
        (tmp_path / "revoked").write_bytes(data)
    lock = str(signed[0] / "bundle.lock.json")
    with pytest.raises(signature.SignatureError, match=message):
        signature.verify(run, lock, str(tmp_path / "signers"), str(tmp_path / "revoked"))


@pytest.mark.parametrize(
    ("dates", "message"),
    [
        ('valid-before="20200131"', "only before 20200131"),
        ('valid-after="20991231Z"', "only after 20991231Z"),
        ('valid-after="20200101",valid-before="20200202"', "only after 20200101 and before 20200202"),
    ],
)
def test_a_key_out_of_its_time_is_named(signed: tuple[Path, str], tmp_path: Path, dates: str, message: str) -> None:
    bundle, key = signed
    (tmp_path / "signers").write_text(dated(key, dates))
    with pytest.raises(signature.SignatureError, match=message) as caught:
        signature.verify(run, str(bundle / "bundle.lock.json"), str(tmp_path / "signers"))
    assert signature.key_fingerprint(key) in str(caught.value)
    (tmp_path / "signers").write_text(dated(key, 'valid-after="20200101",valid-before="20990101"'))
    assert signature.verify(run, str(bundle / "bundle.lock.json"), str(tmp_path / "signers"))


def test_fingerprint_of_another_key(signed: tuple[Path, str], tmp_path: Path) -> None:
    other = signature.key_fingerprint(make_key(tmp_path / "k2"))
    lock = str(signed[0] / "bundle.lock.json")
    with pytest.raises(signature.SignatureError, match="expected " + other.replace("+", r"\+")):
        signature.verify_fingerprint(run, lock, other)
    with pytest.raises(signature.SignatureError, match="is no fingerprint"):
        signature.verify_fingerprint(run, lock, "MD5:00:11")


def test_no_key(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(signature.SignatureError, match="there is no signing key; make one"):
        signature.sign(run, str(bundle / "bundle.lock.json"), str(tmp_path / "none"))


def test_bundle_is_what_the_lock_says(bundle: Path) -> None:
    told: list[tuple[int, int]] = []
    verify_bundle(str(bundle), load(str(bundle)), 2, lambda done, total: told.append((done, total)))
    assert told[-1] == (9004, 9004)


@pytest.mark.parametrize("kernel", ["new", "old", "bad medium"])
@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, (1 << 20) + 1, 16 << 20, (16 << 20) + 1, 33_000_000])
def test_digest_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, kernel: str) -> None:
    """The same whether it is mapped or read; where a page cannot be brought in, read() is left to say why."""
    data = os.urandom(min(size, 999_983)) * (size // 999_983 + 1)
    (tmp_path / "f").write_bytes(data[:size])
    if kernel == "old":
        monkeypatch.setattr(verify, "POPULATE_READ", 999_999)
    if kernel == "bad medium" and size > 17 << 20:
        real = os.posix_fadvise

        def fails_later(handle: int, offset: int, length: int, advice: int) -> None:
            if offset > 17 << 20:
                raise OSError(errno.EFAULT, "Bad address")
            real(handle, offset, length, advice)

        monkeypatch.setattr(os, "posix_fadvise", fails_later)
    assert verify.digest_of(str(tmp_path / "f")) == _digest(data[:size])


def _replace_by_link(path: Path) -> None:
    path.rename(path.parent.parent.parent / "outside")
    path.symlink_to(path.parent.parent.parent / "outside")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda b: _flip(b / "files/tools/helm"), r"files/tools/helm: sha256 differs \(expected sha256:\w+, actual"),
        (lambda b: (b / "files/tools/helm").unlink(), "files/tools/helm: is missing; copy that file again"),
        (lambda b: (b / "files/tools/helm").write_bytes(b"h"), "files/tools/helm: has 1 bytes, expected 4"),
        (lambda b: (b / "files/extra").write_bytes(b""), "files/extra: is not in the lock"),
        (lambda b: (b / "oci/link").symlink_to("/etc"), "oci/link: is not in the lock"),
        (lambda b: _flip(next((b / "oci/blobs/sha256").iterdir())), r"oci/blobs/sha256/\w{64}: sha256 differs"),
        (lambda b: next((b / "oci/blobs/sha256").iterdir()).unlink(), r"oci/blobs/sha256/\w{64}: is missing"),
        (lambda b: _replace_by_link(b / "files/tools/helm"), "files/tools/helm: is a symbolic link"),
    ],
)
def test_bundle_refused(bundle: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(bundle)
    with pytest.raises(BundleError, match=message):
        verify_bundle(str(bundle), load(str(bundle)))
