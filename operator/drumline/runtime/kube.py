"""How to reach the API server and who we are to it: configuration, authentication, token refresh.

The only module that imports `kubernetes`; that package finds the server, the certificates and the token
(mounted service account, kubeconfig with exec plugins or OIDC). Requests go over `drumline.runtime.http`.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self

from kubernetes.aio import config as kube_config
from kubernetes.aio.client import Configuration

from drumline.runtime.errors import DrumlineError
from drumline.runtime.http import Client

__all__ = ["Client", "ConnectionError_", "Credentials", "connect"]

# The package keeps inline certificates in files that all threads share, and hands a file's name to a second
# reader before the first has filled it.
_LOADING: Final = threading.Lock()
LOADING_POLL: Final = 0.01  # seconds; a loop must not block on what a task of its own may hold


class ConnectionError_(DrumlineError):  # noqa: N801, N818 - the plain name belongs to Python
    """No usable configuration for an API server."""


class Credentials:
    """Address, certificates and token, reloaded when the server refuses them.

    A mounted service account's token is read again every minute by the package's own hook.
    """

    def __init__(self, kubeconfig: str | None, context: str | None) -> None:
        self._kubeconfig = kubeconfig
        self._context = context
        self._lock = asyncio.Lock()
        self._configuration = Configuration()
        self.tls: ssl.SSLContext | None = None

    @classmethod
    async def load(cls, kubeconfig: str | None = None, context: str | None = None) -> Self:
        """From a kubeconfig file, or without one from the pod this runs in.

        Raises ConnectionError_ when there is neither, or when TLS would not be verified.
        """
        self = cls(kubeconfig, context)
        await self._load()
        self.tls = _tls_of(self._configuration)
        return self

    @property
    def host(self) -> str:
        """Base URL."""
        return str(self._configuration.host).rstrip("/")

    @property
    def server_hostname(self) -> str | None:
        """The name the server's certificate must have, when it differs from the host."""
        return self._configuration.tls_server_name or None

    @property
    def proxy(self) -> str | None:
        """URL of an HTTP proxy from the kubeconfig."""
        return self._configuration.proxy or None

    @property
    def certificates(self) -> tuple[str | None, str | None, str | None]:
        """Files: certificate authority, client certificate, client key."""
        found = self._configuration
        return found.ssl_ca_cert, found.cert_file, found.key_file

    async def authorization(self) -> str | None:
        """Authorization header, or None with a client certificate."""
        header: str | None = await self._configuration.get_api_key_with_prefix("BearerToken")
        return header

    async def refresh(self, refused: str | None) -> bool:
        """Load everything again unless somebody already did; false when nothing new came of it."""
        async with self._lock:
            if await self.authorization() != refused:
                return True
            await self._load()
            return await self.authorization() != refused

    async def _load(self) -> None:
        configuration = Configuration()
        load_incluster: Any = kube_config.load_incluster_config  # untyped upstream
        load_file: Any = kube_config.load_kube_config
        try:
            if self._kubeconfig is None:
                load_incluster(configuration)
            else:
                async with _one_at_a_time():
                    await load_file(self._kubeconfig, self._context, configuration, persist_config=False)
        except (kube_config.ConfigException, OSError, TypeError) as error:
            where = self._kubeconfig or "this pod's service account"
            raise ConnectionError_(f"cannot configure a connection from {where}: {error}") from error
        self._configuration = configuration


@asynccontextmanager
async def _one_at_a_time() -> AsyncIterator[None]:
    """Keep every other task of every thread out."""
    while not _LOADING.acquire(blocking=False):  # noqa: ASYNC110 - its holder may be in another thread's loop
        await asyncio.sleep(LOADING_POLL)
    try:
        yield
    finally:
        _LOADING.release()


def _tls_of(configuration: Any) -> ssl.SSLContext:
    """Client TLS that verifies the server."""
    if not str(configuration.host).startswith("https://") or not configuration.verify_ssl:
        raise ConnectionError_(f"refusing {configuration.host}: the API server must be verified over TLS")
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context


async def connect(kubeconfig: str | None = None, context: str | None = None, **options: Any) -> Client:
    """Client for a kubeconfig file, or without one for the cluster this pod runs in.

    `options` are those of `Client`. Raises ConnectionError_.
    """
    return Client(await Credentials.load(kubeconfig, context), **options)
