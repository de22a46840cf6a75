"""The CRDs of the Gateway API and of its inference extension, out of their Go modules."""

from __future__ import annotations

import json
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

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


@cache
def crd_files() -> tuple[Path, ...]:
    """HTTPRoute's and InferencePool's CRD; fetched once by Go, which keeps modules."""
    return tuple(_module(name, version, checksum) / crd for name, version, checksum, crd in _MODULES)


def _module(name: str, version: str, checksum: str) -> Path:
    # outside of any module, so that no go.mod has a say
    with tempfile.TemporaryDirectory() as folder:
        command = ["go", "mod", "download", "-json", f"{name}@{version}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    found = json.loads(done.stdout or "{}")
    if done.returncode or found.get("Sum") != checksum:
        raise RuntimeError(f"{name}@{version}: {found.get('Error') or found.get('Sum') or done.stderr}")
    return Path(found["Dir"])
