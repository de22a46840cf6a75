"""Container images without Docker: layers as cached tar files, images as docker-archive streams.

A layer is a tar whose bytes depend on its content alone (sorted names, no times, no owners), so its SHA-256
names it. An image is a list of layers and a small configuration, whose SHA-256 is the image's identity. An
archive is written straight into whoever imports it, so no image is ever stored a second time.
"""

import hashlib
import io
import json
import os
import platform
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True)
class Layer:
    """One layer: an uncompressed tar and the SHA-256 of its bytes in hex."""

    path: Path
    digest: str


@dataclass(frozen=True)
class Image:
    """An image: ``name`` with its tag, its layers from the bottom up, and what a container of it runs."""

    name: str
    layers: tuple[Layer, ...]
    entrypoint: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    user: str = ""

    @property
    def identity(self) -> str:
        """The SHA-256 of the configuration in hex: the same content has the same identity."""
        return hashlib.sha256(self.configuration).hexdigest()

    @property
    def configuration(self) -> bytes:
        """The image's configuration as JSON bytes."""
        return _json(
            {
                "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
                "os": "linux",
                "created": _EPOCH,
                "config": {"Entrypoint": self.entrypoint, "Env": self.env, "User": self.user},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.digest}" for layer in self.layers]},
            }
        )


def write_archive(images: Sequence[Image], output: IO[bytes]) -> None:
    """Write one docker-archive with all images; a layer that several share is written once."""
    layers = {layer.digest: layer for image in images for layer in image.layers}
    with tarfile.open(fileobj=output, mode="w|") as archive:
        for layer in layers.values():
            with layer.path.open("rb") as content:
                entry = tarfile.TarInfo(_layer_name(layer))
                entry.size = layer.path.stat().st_size
                archive.addfile(entry, content)
        for image in images:
            _add_bytes(archive, _configuration_name(image), image.configuration)
        _add_bytes(archive, "manifest.json", _json([_manifest(image) for image in images]))


def write_layer(root: Path, path: Path, prefix: str = "") -> Layer:
    """Write all that is below ``root`` as a layer, placed below ``prefix``, a path without a leading slash.

    The file appears under its final name only when it is whole.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as archive:
            for source in sorted(root.rglob("*")):
                name = "/".join(part for part in (prefix, source.relative_to(root).as_posix()) if part)
                archive.add(source, name, recursive=False, filter=_reproducible)
        with partial.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return Layer(path, digest)


def save(image: Image, path: Path) -> None:
    """Write one image as a docker-archive file, which ``docker load`` and ``kind load`` read."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("wb") as output:
        write_archive([image], output)
    shutil.move(partial, path)


def _reproducible(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if entry.ischr() or entry.isblk():
        return None  # the runtime makes the devices of a container
    entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def _manifest(image: Image) -> dict[str, Any]:
    return {
        "Config": _configuration_name(image),
        "RepoTags": [f"docker.io/{image.name}"],
        "Layers": [_layer_name(layer) for layer in image.layers],
    }


def _configuration_name(image: Image) -> str:
    return f"{image.identity}.json"


def _layer_name(layer: Layer) -> str:
    return f"{layer.digest}/layer.tar"


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
