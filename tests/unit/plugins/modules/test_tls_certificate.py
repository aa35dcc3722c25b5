# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime
import ipaddress
import json
import re
import ssl
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.airgap.speech.plugins.module_utils.tls import certificates as tls
from ansible_collections.airgap.speech.plugins.modules import tls_certificate

NAME = "registry.airgap.internal"


def run(capsys: pytest.CaptureFixture[str], check: bool = False, **arguments: Any) -> dict[str, Any]:
    with (
        patch_module_args({**arguments, "_ansible_check_mode": check, "_ansible_diff": True}),
        pytest.raises(SystemExit),
    ):
        tls_certificate.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    return {
        "ca_certificate_file": str(tmp_path / "ca" / "ca.crt"),
        "ca_private_key_file": str(tmp_path / "ca" / "ca.key"),
        "certificate_file": str(tmp_path / "registry" / "tls.crt"),
        "private_key_file": str(tmp_path / "registry" / "tls.key"),
        "dns_names": [NAME],
        "ip_addresses": ["127.0.0.1"],
    }


def load(path: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(Path(path).read_bytes())


def handshake(files: dict[str, Any], name: str) -> None:
    """A real TLS handshake that trusts the CA alone."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files["certificate_file"], files["private_key_file"])
    client = ssl.create_default_context(cafile=files["ca_certificate_file"])
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname=name)
    there = server.wrap_bio(to_server, to_client, server_side=True)
    for side in [here, there, here, there]:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    here.do_handshake()


def test_makes_a_ca_and_a_certificate_that_clients_trust(
    files: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(capsys, **files)
    assert result["changed"] and result["reasons"] == ["there is no certificate"]
    handshake(files, NAME)
    handshake(files, "127.0.0.1")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(files, "other.airgap.internal")
    for name, mode in [("ca_private_key_file", 0o600), ("private_key_file", 0o600), ("ca_certificate_file", 0o644)]:
        assert stat.S_IMODE(Path(files[name]).stat().st_mode) == mode
    certificate = load(files["certificate_file"])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [NAME]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]
    age = datetime.datetime.now(datetime.timezone.utc) - certificate.not_valid_before_utc
    assert age >= datetime.timedelta(minutes=5)
    ca = load(files["ca_certificate_file"]).extensions.get_extension_for_class(x509.BasicConstraints)
    assert ca.critical and ca.value.ca and ca.value.path_length == 0


def test_second_run_changes_nothing(files: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, **files)
    kept = {name: Path(files[name]).read_bytes() for name in files if name.endswith("_file")}
    result = run(capsys, **files)
    assert not result["changed"] and result["reasons"] == []
    assert kept == {name: Path(files[name]).read_bytes() for name in kept}


def test_check_mode_tells_and_does_nothing(
    tmp_path: Path, files: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(capsys, check=True, **files)
    assert result["changed"]
    assert f"names: {NAME}, 127.0.0.1" in result["diff"]["after"]
    assert "PRIVATE" not in json.dumps(result)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dns_names": [NAME, "other.internal"]}, "its names differ"),
        ({"ip_addresses": []}, "its names differ"),
        ({"renew_days": 731}, "days are left"),
        ({"force": True}, "it is forced"),
    ],
)
def test_renews_when_there_is_a_reason(
    files: dict[str, Any], capsys: pytest.CaptureFixture[str], change: dict[str, Any], reason: str
) -> None:
    run(capsys, **files)
    old, ca = load(files["certificate_file"]), Path(files["ca_certificate_file"]).read_bytes()
    arguments = {**files, **change}
    planned = run(capsys, check=True, **arguments)
    assert planned["changed"] and reason in planned["reasons"][0]
    assert load(files["certificate_file"]) == old
    result = run(capsys, **arguments)
    assert result["changed"] and reason in result["reasons"][0]
    new = load(files["certificate_file"])
    assert new.serial_number != old.serial_number and new.public_key() != old.public_key()
    assert Path(files["ca_certificate_file"]).read_bytes() == ca
    handshake(files, NAME)


def test_renews_after_a_kill_between_key_and_certificate(
    files: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, **files)
    Path(files["private_key_file"]).write_bytes(tls.key_to_pem(tls.new_key()))
    assert run(capsys, **files)["reasons"] == ["the key is of another certificate"]
    handshake(files, NAME)
    # A CA whose key was written and whose certificate was not goes on with that key.
    Path(files["ca_certificate_file"]).unlink()
    key = Path(files["ca_private_key_file"]).read_bytes()
    assert run(capsys, **files)["changed"]
    assert Path(files["ca_private_key_file"]).read_bytes() == key
    handshake(files, NAME)


def test_another_ca_brings_another_certificate(files: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, **files)
    other = tls.make_authority("Airgap Speech private CA", 3650, None, tls.utc_now())
    Path(files["ca_certificate_file"]).write_bytes(tls.to_pem(other.certificate))
    assert "is not the key of" in run(capsys, **files)["msg"]
    Path(files["ca_private_key_file"]).write_bytes(tls.key_to_pem(other.key))
    assert run(capsys, **files)["reasons"] == ["it was signed by another CA"]
    handshake(files, NAME)


def test_the_ca_key_may_be_away_until_it_is_needed(files: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, **files)
    Path(files["ca_private_key_file"]).unlink()
    assert not run(capsys, **files)["changed"]
    message = run(capsys, **{**files, "dns_names": ["new.internal"]})["msg"]
    assert "its names differ" in message and "the CA's key is not at" in message


def test_the_end_of_the_ca(
    files: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(tls_certificate.AnsibleModule, "warn", lambda self, text: warnings.append(text))
    run(capsys, **files, ca_days=20)
    authority, server = load(files["ca_certificate_file"]), load(files["certificate_file"])
    assert server.not_valid_after_utc == authority.not_valid_after_utc
    result = run(capsys, **files)
    assert not result["changed"]  # making it anew would not make it last longer
    assert len(warnings) == 1 and re.search(r"ends in (19|20) days; plan a new one", warnings[0])
    past = tls.utc_now() - datetime.timedelta(days=10)
    old = tls.make_authority("old", 5, None, past)
    Path(files["ca_certificate_file"]).write_bytes(tls.to_pem(old.certificate))
    Path(files["ca_private_key_file"]).write_bytes(tls.key_to_pem(old.key))
    assert "ended at" in run(capsys, **files)["msg"]


def test_refusals(files: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert "needs a name" in run(capsys, **{**files, "dns_names": [], "ip_addresses": []})["msg"]
    assert "not an IP address" in run(capsys, **{**files, "ip_addresses": ["registry"]})["msg"]
    run(capsys, **files)
    Path(files["certificate_file"]).write_text("no certificate")
    assert "is not a certificate in PEM form" in run(capsys, **files)["msg"]


def test_key_is_an_elliptic_curve_key(files: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, **files)
    key = load(files["certificate_file"]).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
