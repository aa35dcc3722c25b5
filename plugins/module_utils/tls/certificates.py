# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small private certificate authority: one CA, server certificates signed by it. Times are UTC.

The `cryptography` library is imported where it is used, so that this file can be imported without it.
"""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

#: Clocks of a site may be apart a little: a certificate is valid from this long before it was made.
BACKDATED = datetime.timedelta(minutes=5)
UTC = datetime.timezone.utc


class TlsError(Exception):
    """A key or certificate cannot be used. The text names the file, the cause and the next step."""


@dataclass(frozen=True)
class Wanted:
    """What a server certificate must say."""

    common_name: str
    dns_names: list[str] = field(default_factory=list)
    ip_addresses: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return sorted(self.dns_names) + sorted(self.ip_addresses)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def utc_now() -> datetime.datetime:
    return datetime.datetime.now(UTC).replace(microsecond=0)


def stamp(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def not_before(certificate: x509.Certificate) -> datetime.datetime:
    """The start of validity; libraries before 42 know it only without a time zone."""
    moment: datetime.datetime = getattr(certificate, "not_valid_before_utc", None) or certificate.not_valid_before
    return moment.replace(tzinfo=UTC)


def not_after(certificate: x509.Certificate) -> datetime.datetime:
    """The end of validity; libraries before 42 know it only without a time zone."""
    moment: datetime.datetime = getattr(certificate, "not_valid_after_utc", None) or certificate.not_valid_after
    return moment.replace(tzinfo=UTC)


def fingerprint(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives import hashes

    return "sha256:" + certificate.fingerprint(hashes.SHA256()).hex()


def certificate_names(certificate: x509.Certificate) -> list[str]:
    """DNS names, then addresses, each sorted."""
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    dns = sorted(names.get_values_for_type(x509.DNSName))
    return dns + sorted(str(address) for address in names.get_values_for_type(x509.IPAddress))


def to_pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def key_to_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_certificate(data: bytes, name: str) -> x509.Certificate:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(data)
    except ValueError as err:
        raise TlsError(f"{name} is not a certificate in PEM form; put the right file there, or remove it") from err


def load_key(data: bytes, name: str) -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as err:
        raise TlsError(
            f"{name} is not a private key in PEM form without a passphrase; put the right file there"
        ) from err
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TlsError(f"{name} is not an elliptic curve key; a CA of the site's own signs outside this module")
    return key


def new_key() -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def belongs(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bool:
    """Whether a key is the one of a certificate."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    shape = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return certificate.public_key().public_bytes(*shape) == key.public_key().public_bytes(*shape)


def signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether a certificate was signed with the CA's key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec

    key = authority.public_key()
    algorithm = certificate.signature_hash_algorithm
    if certificate.issuer != authority.subject or not isinstance(key, ec.EllipticCurvePublicKey) or algorithm is None:
        return False
    try:
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(algorithm))
    except InvalidSignature:
        return False
    return True


def make_authority(
    common_name: str, days: int, key: Optional[ec.EllipticCurvePrivateKey], now: datetime.datetime
) -> Pair:
    """A new CA that signs servers and no further CAs."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    key = key or new_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    subject_key = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(subject_key, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject_key), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(certificate, key)


def make_server(wanted: Wanted, days: int, authority: Pair, now: datetime.datetime) -> Pair:
    """A new key and server certificate, never valid longer than the CA."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = new_key()
    end = min(now + datetime.timedelta(days=days), not_after(authority.certificate))
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in sorted(wanted.dns_names)]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in sorted(wanted.ip_addresses)]
    issuer_key = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, wanted.common_name[:64])]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return Pair(certificate, key)


def reasons_to_renew(
    certificate: Optional[x509.Certificate],
    key: Optional[ec.EllipticCurvePrivateKey],
    authority: x509.Certificate,
    wanted: Wanted,
    *,
    renew_days: int,
    now: datetime.datetime,
) -> list[str]:
    """Why a server certificate must be made anew; nothing if it will do."""
    if certificate is None or key is None:
        return ["there is no certificate" if certificate is None else "there is no key"]
    reasons = []
    if not belongs(certificate, key):
        reasons.append("the key is of another certificate")
    if not signed_by(certificate, authority):
        reasons.append("it was signed by another CA")
    if certificate_names(certificate) != wanted.names:
        reasons.append("its names differ")
    if now < not_before(certificate):
        reasons.append("it is not valid yet")
    left = not_after(certificate) - now
    # The CA's own end is as far as any certificate reaches: making it anew would not help.
    if left < datetime.timedelta(days=renew_days) and not_after(certificate) < not_after(authority):
        reasons.append(f"{max(left.days, 0)} days are left and {renew_days} are wanted")
    return reasons


def describe(certificate: Optional[x509.Certificate]) -> str:
    """What a diff may show: names and validity."""
    if certificate is None:
        return "absent\n"
    return (
        f"subject: {certificate.subject.rfc4514_string()}\n"
        f"issuer: {certificate.issuer.rfc4514_string()}\n"
        f"names: {', '.join(certificate_names(certificate)) or 'none'}\n"
        f"not_before: {stamp(not_before(certificate))}\n"
        f"not_after: {stamp(not_after(certificate))}\n"
    )


def _usage(authority: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
