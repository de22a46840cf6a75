"""The CRDs of the Gateway API and of its inference extension, out of their Go modules."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.integration.go_modules import folder

# module, version, the checksum that Go's database has of it, the CRD
_MODULES: Final = (
    (
        "sigs.k8s.io/gateway-api",
        "v1.4.0",
        "h1:ZwlNM6zOHq0h3WUX2gfByPs2yAEsy/EenYJB78jpQfQ=",
        "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
    ),
    (
        "sigs.k8s.io/gateway-api-inference-extension",
        "v1.0.1",
        "h1:n/zyxk/1RCT1nNoCdKiZsN7XTz9mTk3Cu1fWWbtZMBw=",
        "config/crd/bases/inference.networking.k8s.io_inferencepools.yaml",
    ),
)


def crd_files() -> tuple[Path, ...]:
    """HTTPRoute's and InferencePool's CRD."""
    return tuple(folder(name, version, checksum) / crd for name, version, checksum, crd in _MODULES)
