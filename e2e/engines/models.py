"""The tiny models in the host's cache, in every format that an engine here reads.

``tiny`` is what is served and ``draft`` what guesses for it: two GGUF files and two Hugging Face directories.
"""

import inspect
from pathlib import Path

from e2e.cluster import images_layers
from e2e.engines import checkpoint, gguf, tiny

MOUNT = "/models"
GGUF, DRAFT_GGUF = f"{MOUNT}/tiny.gguf", f"{MOUNT}/draft.gguf"
CHECKPOINT, DRAFT_CHECKPOINT = f"{MOUNT}/tiny", f"{MOUNT}/draft"
_SHAPES = {"tiny": tiny.TARGET, "draft": tiny.DRAFT}


def models() -> Path:
    """A directory on this host with the models, to be mounted read-only at ``MOUNT``; written in a second, once."""
    sources = [inspect.getsource(module) for module in (tiny, gguf, checkpoint)]
    return images_layers.kept("models", [*sources, repr(_SHAPES)], _write)


def _write(root: Path) -> None:
    for name, shape in _SHAPES.items():
        gguf.write(shape, root / f"{name}.gguf", name)
        checkpoint.write(shape, root / name)
