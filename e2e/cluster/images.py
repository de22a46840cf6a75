"""The images that the real node runs, and the host trees it mounts.

``python -m e2e.cluster.images list`` names them; ``… save operator FILE`` writes a docker-archive.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from e2e.cluster import images_layers
from e2e.cluster.images_archive import Image, Layer, save, write_archive
from e2e.cluster.images_layers import ImageError

__all__ = ["Image", "ImageError", "Layer", "save", "write_archive"]

_REPOSITORY = Path(__file__).parents[2]
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Homes are not writable under a read-only root file system, and programs like to have one.
ENVIRONMENT = (_PATH, "HOME=/tmp", "PYTHONUNBUFFERED=1")
NOBODY = "65532:65532"
BASE = "drumline/base:1"
PAUSE = "drumline/pause:1"
NO_PYTHON = "drumline/no-python:1"


def version() -> str:
    """The version of the drumline package, which is the tag of its images."""
    text = (_REPOSITORY / "operator" / "drumline" / "__init__.py").read_text()
    found = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    if found is None:
        raise ImageError("operator/drumline/__init__.py has no __version__")
    return found[1]


def base() -> Image:
    """Debian and Python: what every other image stands on."""
    return Image(BASE, (images_layers.base(),), env=ENVIRONMENT)


def pause() -> Image:
    """What holds a pod's namespaces: the base's ``sleep``, which costs no layer of its own."""
    return Image(PAUSE, (images_layers.base(),), entrypoint=("/bin/sleep", "infinity"), user=NOBODY)


def no_python() -> Image:
    """The base without its Python, and a ``torchrun`` that is none: it says what it was called with, and sleeps."""
    return Image(NO_PYTHON, (images_layers.base(), images_layers.no_python()), env=ENVIRONMENT, user=NOBODY)


def operator() -> Image:
    """The operator: ``python -m drumline run`` as a user without rights."""
    layers = (images_layers.base(), images_layers.requirements("operator"), images_layers.drumline())
    command = ("python", "-m", "drumline")
    return Image(f"drumline/operator:{version()}", layers, command, ENVIRONMENT, NOBODY)


def worker_jax() -> Image:
    """A worker with JAX for CPUs, Orbax, scikit-learn, and the training programs in ``/examples``."""
    layers = (images_layers.base(), images_layers.requirements("worker-jax"), images_layers.examples())
    return Image(f"drumline/worker-jax:{version()}", layers, env=ENVIRONMENT, user=NOBODY)


def worker_torch() -> Image:
    """A worker for torch, which is not inside but mounted at ``/opt/torch``: see ``torch_tree``."""
    layers = (images_layers.base(), images_layers.examples())
    env = (*ENVIRONMENT, "PYTHONPATH=/opt/torch")
    return Image(f"drumline/worker-torch:{version()}", layers, env=env, user=NOBODY)


def torch_tree() -> Path:
    """A directory on this host with torch: 5.6 GB, so it is mounted read-only and never a layer.

    PyTorch's wheel does not load without the CUDA libraries it is linked to, although nothing calls them.
    """
    return images_layers.tree("worker-torch")


IMAGES: dict[str, Callable[[], Image]] = {
    "base": base,
    "pause": pause,
    "no-python": no_python,
    "operator": operator,
    "worker-jax": worker_jax,
    "worker-torch": worker_torch,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """List the images, or save one."""
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster.images", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="print the names of all images")
    saving = commands.add_parser("save", help="write an image as a docker-archive")
    saving.add_argument("image", choices=sorted(IMAGES))
    saving.add_argument("file", type=Path)
    given = parser.parse_args(arguments)
    try:
        if given.command == "save":
            save(IMAGES[given.image](), given.file)
        else:
            print("\n".join(sorted(IMAGES)))
    except ImageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
