"""Files that other projects publish in their Go modules, at versions whose checksums are pinned."""

from __future__ import annotations

import json
import subprocess
import tempfile
from functools import cache
from pathlib import Path


@cache
def folder(name: str, version: str, checksum: str) -> Path:
    """Where the module's files are; fetched once by Go, which keeps modules. `checksum`: as in Go's database."""
    # outside of any module, so that no go.mod has a say
    with tempfile.TemporaryDirectory() as elsewhere:
        command = ["go", "mod", "download", "-json", f"{name}@{version}"]
        done = subprocess.run(
            command, cwd=elsewhere, capture_output=True, text=True, timeout=300, check=False
        )
    found = json.loads(done.stdout or "{}")
    if done.returncode or found.get("Sum") != checksum:
        raise RuntimeError(f"{name}@{version}: {found.get('Error') or found.get('Sum') or done.stderr}")
    return Path(found["Dir"])
