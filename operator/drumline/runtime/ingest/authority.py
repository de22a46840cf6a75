"""Certificates of the report ingest: an authority of our own, and the serving certificate it signs.

Authorities overlap. A new one is made while the old one still has `AUTHORITY_RENEW` to live, and joins the
bundle that workers trust at once. It signs only after it has been there for `OVERLAP`, when every mounted copy
of the bundle has it. Until it ends, the old one stays in the bundle, so that no connection fails meanwhile.
The serving certificate is made anew when two thirds of its life are over, when its names change, or when
another authority has become the signer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE: Final = timedelta(days=1825)
AUTHORITY_RENEW: Final = timedelta(days=365)
SERVING_LIFE: Final = timedelta(days=90)
OVERLAP: Final = timedelta(days=2)
SKEW: Final = timedelta(hours=1)  # clocks of nodes differ

Key = ec.EllipticCurvePrivateKey


class CertificateError(ValueError):
    """What is stored cannot be used."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Key

    @classmethod
    def of(cls, certificate: bytes, key: bytes) -> Self:
        """From PEM. Raises CertificateError."""
        try:
            parsed = x509.load_pem_x509_certificate(certificate)
            loaded = serialization.load_pem_private_key(key, None)
        except (ValueError, TypeError) as error:
            raise CertificateError(f"not a certificate with its key: {error}") from error
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise CertificateError("the key is not of an elliptic curve")
        if loaded.public_key() != parsed.public_key():
            raise CertificateError("the key is another certificate's")
        return cls(parsed, loaded)

    @property
    def certificate_pem(self) -> bytes:
        """The certificate in PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key in PEM, not encrypted."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


@dataclass(frozen=True, slots=True)
class Certificates:
    """Authorities, the oldest first, and what is served."""

    authorities: tuple[Pair, ...] = ()
    serving: Pair | None = None

    @property
    def bundle(self) -> bytes:
        """PEM of every authority: what workers trust."""
        return b"".join(pair.certificate_pem for pair in self.authorities)


def advance(current: Certificates, names: Sequence[str], now: datetime) -> Certificates:
    """`current` itself when nothing is due at `now` (with a time zone), else what replaces it."""
    authorities = tuple(a for a in current.authorities if a.certificate.not_valid_after_utc > now)
    if not authorities or authorities[-1].certificate.not_valid_after_utc - now < AUTHORITY_RENEW:
        authorities = (*authorities, _authority(now))
    signer = _signer(authorities, now)
    serving = current.serving
    if serving is None or _is_due(serving, signer, names, now):
        serving = _serving(signer, names, now)
    if authorities == current.authorities and serving is current.serving:
        return current
    return Certificates(authorities, serving)


def _signer(authorities: Sequence[Pair], now: datetime) -> Pair:
    """The newest that everybody knows by now, else the oldest."""
    known = [a for a in authorities if a.certificate.not_valid_before_utc + SKEW + OVERLAP <= now]
    return known[-1] if known else authorities[0]


def _is_due(serving: Pair, signer: Pair, names: Sequence[str], now: datetime) -> bool:
    certificate = serving.certificate
    if certificate.not_valid_after_utc - now < SERVING_LIFE / 3:
        return True
    try:
        certificate.verify_directly_issued_by(signer.certificate)
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return True
    return found.get_values_for_type(x509.DNSName) != list(names)


def _authority(now: datetime) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    # the serial number tells two authorities apart, whose names are else the same
    serial = x509.random_serial_number()
    name = _named(f"drumline report ingest {serial:x}"[:64])
    builder = _builder(name, name, key, now, AUTHORITY_LIFE, serial)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(authority=True), critical=True)
    return Pair(builder.sign(key, hashes.SHA256()), key)


def _serving(signer: Pair, names: Sequence[str], now: datetime) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    subject = _named(names[0][:64])
    builder = _builder(subject, signer.certificate.subject, key, now, SERVING_LIFE, serial)
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(authority=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    builder = builder.add_extension(alternatives, critical=False).add_extension(issuer, critical=False)
    return Pair(builder.sign(signer.key, hashes.SHA256()), key)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, now: datetime, life: timedelta, serial: int
) -> x509.CertificateBuilder:
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - SKEW)
        .not_valid_after(now + life)
        .add_extension(identifier, critical=False)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
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
