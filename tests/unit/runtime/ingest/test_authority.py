"""Certificates over the years: always valid, trusted by whoever has an older bundle, and changed only when due."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.verification import PolicyBuilder, Store

from drumline.runtime.ingest.authority import (
    AUTHORITY_LIFE,
    AUTHORITY_RENEW,
    OVERLAP,
    SERVING_LIFE,
    CertificateError,
    Certificates,
    Pair,
    advance,
)
from drumline.runtime.ingest.certificates import read_secret, service_names, write_secret

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NAMES = service_names("op-ingest", "drumline-system", "cluster.local")
DAY = timedelta(days=1)


def trusts(bundle: bytes, served: Pair | None, at: datetime, name: str = NAMES[0]) -> bool:
    assert served is not None
    store = Store(x509.load_pem_x509_certificates(bundle))
    verifier = PolicyBuilder().store(store).time(at).build_server_verifier(x509.DNSName(name))
    try:
        verifier.verify(served.certificate, [])
    except x509.verification.VerificationError:
        return False
    return True


def test_the_first_certificates_are_good_at_once() -> None:
    made = advance(Certificates(), NAMES, NOW)
    assert len(made.authorities) == 1
    for name in NAMES:
        assert trusts(made.bundle, made.serving, NOW, name)
    assert not trusts(made.bundle, made.serving, NOW, "another.drumline-system.svc")
    ssl.create_default_context(cadata=made.bundle.decode())


def test_nothing_changes_before_it_is_due() -> None:
    made = advance(Certificates(), NAMES, NOW)
    assert advance(made, NAMES, NOW) is made
    assert advance(made, NAMES, NOW + SERVING_LIFE / 2) is made


def test_new_names_make_a_new_serving_certificate_of_the_same_authority() -> None:
    made = advance(Certificates(), NAMES, NOW)
    other = advance(made, ("x.y.svc",), NOW)
    assert other.bundle == made.bundle
    assert trusts(made.bundle, other.serving, NOW, "x.y.svc")


def test_a_daily_look_never_serves_what_last_weeks_bundle_does_not_trust() -> None:
    current, bundles = Certificates(), [b""]
    changes = 0
    for day in range(2 * AUTHORITY_LIFE.days):
        now = NOW + day * DAY
        after = advance(current, NAMES, now)
        changes += after is not current
        current = after
        assert trusts(current.bundle, current.serving, now)
        if day:
            known = bundles[-1]  # a worker whose mounted copy is a day old
            assert trusts(known, current.serving, now), day
        assert 1 <= len(current.authorities) <= 2
        bundles.append(current.bundle)
    assert len(set(bundles[1:])) > 2, "authorities were replaced meanwhile"
    assert changes < 2 * AUTHORITY_LIFE / (SERVING_LIFE / 2)


def test_a_new_authority_is_in_the_bundle_before_it_signs() -> None:
    made = advance(Certificates(), NAMES, NOW)
    late = NOW + AUTHORITY_LIFE - AUTHORITY_RENEW + DAY
    first = advance(made, NAMES, late)
    assert len(first.authorities) == 2
    assert trusts(made.bundle, first.serving, late)
    then = advance(first, NAMES, late + OVERLAP)
    assert not trusts(made.bundle, then.serving, late + OVERLAP)
    assert trusts(first.bundle, then.serving, late + OVERLAP)


def test_a_secret_keeps_everything() -> None:
    made = advance(Certificates(), NAMES, NOW)
    made = advance(made, NAMES, NOW + AUTHORITY_LIFE - AUTHORITY_RENEW + DAY)
    read = read_secret(write_secret(made))
    assert read.bundle == made.bundle
    assert [a.key_pem for a in read.authorities] == [a.key_pem for a in made.authorities]
    assert read.serving is not None
    assert made.serving is not None
    assert read.serving.key_pem == made.serving.key_pem


@pytest.mark.parametrize(
    "data", [{}, {"tls.crt": "?", "authorities.pem": "%"}, {"tls.crt": "eA==", "tls.key": "eA=="}]
)
def test_a_secret_without_sense_counts_as_empty(data: dict[str, str]) -> None:
    assert read_secret(data) == Certificates()


def test_a_key_that_does_not_fit_is_refused() -> None:
    one, two = (advance(Certificates(), NAMES, NOW).authorities[0] for _ in range(2))
    with pytest.raises(CertificateError, match="another"):
        Pair.of(one.certificate_pem, two.key_pem)
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    encoded = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(CertificateError, match="not a certificate with its key"):
        Pair.of(one.certificate_pem, encoded)
