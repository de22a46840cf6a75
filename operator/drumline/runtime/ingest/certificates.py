"""The ingest's certificates in one Secret, and the bundle that workers trust in one ConfigMap per namespace.

Whoever comes first fills the Secret, and every change is tested against its resourceVersion: so all replicas
end with the same authority. The chart makes the Secret empty, since permission to create Secrets cannot be
limited to a name.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from drumline.api.meta import APP_MANAGED_BY
from drumline.runtime.errors import AlreadyExists, ApiError, Conflict, NotFound
from drumline.runtime.http import APPLY_PATCH, Client
from drumline.runtime.http_paths import resource_path
from drumline.runtime.ingest.authority import CertificateError, Certificates, Pair, advance

CA_CONFIG_MAP: Final = "drumline-ca"
CA_KEY: Final = "ca.crt"
FIELD_MANAGER: Final = "drumline"
TRIES: Final = 5
FRESH_SECONDS: Final = 60.0
REPEAT_SECONDS: Final = 600.0

_AUTHORITIES: Final = "authorities.pem"  # certificate, key, certificate, key, …
_SERVING: Final = ("tls.crt", "tls.key")
_PEM: Final = re.compile(rb"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----\n?", re.DOTALL)

Manifest = dict[str, Any]


def service_names(service: str, namespace: str, cluster_domain: str) -> tuple[str, ...]:
    """Every name by which a pod may call a Service."""
    short = f"{service}.{namespace}.svc"
    return (short, f"{short}.{cluster_domain}", f"{service}.{namespace}", service)


@dataclass(frozen=True, slots=True)
class SecretName:
    """Where the certificates are kept."""

    namespace: str
    name: str

    @property
    def path(self) -> str:
        """Its path in the API."""
        return resource_path("secrets", self.namespace, self.name)


class CertificateStore:
    """The Secret. `now` is Unix time in seconds, `names` the DNS names to serve."""

    def __init__(
        self, client: Client, secret: SecretName, names: Sequence[str], now: Callable[[], float]
    ) -> None:
        self._client = client
        self._secret = secret
        self._names = tuple(names)
        self._now = now

    async def current(self) -> Certificates:
        """The certificates, after whatever is due has been made and stored.

        Raises ApiError; Conflict when others kept changing the Secret meanwhile.
        """
        for _ in range(TRIES):
            secret = await self._get()
            before = read_secret(secret.get("data") or {})
            after = advance(before, self._names, datetime.fromtimestamp(self._now(), UTC))
            if after is before:
                return after
            try:
                await self._put(secret, after)
            except (Conflict, AlreadyExists):
                continue
            return after
        raise Conflict(f"Secret {self._secret.name} keeps changing", status=409)

    async def _get(self) -> Manifest:
        try:
            found: Manifest = await self._client.request("GET", self._secret.path)
        except NotFound:
            return {}
        return found

    async def _put(self, secret: Manifest, certificates: Certificates) -> None:
        data = write_secret(certificates)
        if secret:
            body = {**secret, "data": {**(secret.get("data") or {}), **data}}
            await self._client.request("PUT", self._secret.path, body=body)
            return
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"namespace": self._secret.namespace, "name": self._secret.name},
            "data": data,
        }
        await self._client.request("POST", resource_path("secrets", self._secret.namespace), body=body)


def read_secret(data: Mapping[str, str]) -> Certificates:
    """What a Secret's data holds; what cannot be used counts as not there."""
    return Certificates(tuple(_authorities(data)), _serving(data))


def write_secret(certificates: Certificates) -> dict[str, str]:
    """A Secret's data."""
    serving = certificates.serving
    parts = b"".join(a.certificate_pem + a.key_pem for a in certificates.authorities)
    plain = {_AUTHORITIES: parts, CA_KEY: certificates.bundle}
    if serving is not None:
        plain |= dict(zip(_SERVING, (serving.certificate_pem, serving.key_pem), strict=True))
    return {name: base64.b64encode(value).decode() for name, value in plain.items()}


def _authorities(data: Mapping[str, str]) -> list[Pair]:
    blocks = [match[0] for match in _PEM.finditer(_decoded(data, _AUTHORITIES))]
    try:
        return [Pair.of(*pair) for pair in zip(blocks[::2], blocks[1::2], strict=True)]
    except (CertificateError, ValueError):
        return []


def _serving(data: Mapping[str, str]) -> Pair | None:
    try:
        return Pair.of(*(_decoded(data, name) for name in _SERVING))
    except CertificateError:
        return None


def _decoded(data: Mapping[str, str], name: str) -> bytes:
    try:
        return base64.b64decode(data.get(name) or "", validate=True)
    except (binascii.Error, ValueError):
        return b""


class CaPublisher:
    """Gives a namespace's workers the authority to trust, in ConfigMap `drumline-ca`, key `ca.crt`.

    `ensure` is cheap to call again: it asks the API server once in `FRESH_SECONDS` what the bundle is, and
    writes a namespace's ConfigMap when the bundle changed or `REPEAT_SECONDS` have passed.
    """

    def __init__(self, client: Client, store: CertificateStore, monotonic: Callable[[], float]) -> None:
        self._client = client
        self._store = store
        self._monotonic = monotonic
        self._bundle = b""
        self._read_at = float("-inf")
        self._written: dict[str, tuple[float, bytes]] = {}

    async def ensure(self, namespace: str) -> None:
        """Before pods are created there. Raises ApiError."""
        bundle = await self._current()
        at, what = self._written.get(namespace, (float("-inf"), b""))
        if what == bundle and self._monotonic() - at < REPEAT_SECONDS:
            return
        await self._write(namespace, bundle)
        self._written[namespace] = (self._monotonic(), bundle)

    async def refresh(self) -> list[ApiError]:
        """Bring every namespace up to date that ever asked; what went wrong. Call it every few minutes."""
        failed: list[ApiError] = []
        for namespace in tuple(self._written):
            try:
                await self.ensure(namespace)
            except NotFound:
                del self._written[namespace]
            except ApiError as error:
                failed.append(error)
        return failed

    async def _current(self) -> bytes:
        if self._monotonic() - self._read_at >= FRESH_SECONDS:
            self._bundle = (await self._store.current()).bundle
            self._read_at = self._monotonic()
        return self._bundle

    async def _write(self, namespace: str, bundle: bytes) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "namespace": namespace,
                "name": CA_CONFIG_MAP,
                "labels": {APP_MANAGED_BY: FIELD_MANAGER},
            },
            "data": {CA_KEY: bundle.decode()},
        }
        path = resource_path("configmaps", namespace, CA_CONFIG_MAP)
        params = {"fieldManager": FIELD_MANAGER, "force": "true"}
        await self._client.request("PATCH", path, body=body, params=params, content_type=APPLY_PATCH)
