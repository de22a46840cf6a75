"""Names and paths of what the operator mounts into workers, so that a template may not use them.

`drumline`: the token and the CA that reports go out with. `drumline-launcher`: the launcher.
`drumline-model`: an InferenceService's weights. `drumline-shm`: its engine's shared memory.
"""

from __future__ import annotations

from posixpath import normpath
from typing import Final

REPORT_VOLUME: Final = "drumline"
REPORT_PATH: Final = "/var/run/secrets/drumline.dev"
TOKEN_FILE: Final = "token"  # noqa: S105 - the name of a file
CA_FILE: Final = "ca.crt"
CA_CONFIG_MAP: Final = "drumline-ca"  # of the job's namespace
TOKEN_SECONDS: Final = 3600

LAUNCHER_VOLUME: Final = "drumline-launcher"
LAUNCHER_CONTAINER: Final = "drumline-launcher"
LAUNCHER_PATH: Final = "/drumline"
LAUNCHER_FILE: Final = "/drumline/launcher.pyz"

MODEL_VOLUME: Final = "drumline-model"  # of an InferenceService's pods; the path is the user's to choose

SHM_VOLUME: Final = "drumline-shm"  # of an InferenceService's pods whose engine needs it
SHM_PATH: Final = "/dev/shm"  # noqa: S108 - where shared memory is, not a file for us

VOLUMES: Final = (REPORT_VOLUME, LAUNCHER_VOLUME)
PATHS: Final = (REPORT_PATH, LAUNCHER_PATH)


def is_taken(path: str) -> bool:
    """Whether a mount at this path would be at, or below, one of the operator's."""
    clean = normpath("/" + path.lstrip("/"))
    return any(clean == own or clean.startswith(f"{own}/") for own in PATHS)
