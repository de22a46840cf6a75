"""Kubeconfig files that carry everything inside, so that a copy of one works anywhere."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from e2e.cluster.pki import KeyPair


def write(path: Path, server: str, ca: Path, user: Mapping[str, str], namespace: str = "default") -> Path:
    """Write a kubeconfig with one context for ``server``, whose certificate must be signed by ``ca``."""
    config: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "drumline",
        "clusters": [
            {"name": "drumline", "cluster": {"server": server, "certificate-authority-data": _data(ca)}}
        ],
        "users": [{"name": "user", "user": dict(user)}],
        "contexts": [
            {"name": "drumline", "context": {"cluster": "drumline", "user": "user", "namespace": namespace}}
        ],
    }
    path.touch(mode=0o600)
    # JSON is YAML, and needs no escaping rules of its own.
    path.write_text(json.dumps(config, indent=2))
    return path


def certificate_user(pair: KeyPair) -> dict[str, str]:
    """The credentials of a client certificate."""
    return {"client-certificate-data": _data(pair.cert), "client-key-data": _data(pair.key)}


def token_user(token: str) -> dict[str, str]:
    """The credentials of a bearer token."""
    return {"token": token}


def _data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
