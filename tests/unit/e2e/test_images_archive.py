"""Layers and archives: the same content has the same bytes, and what is written is a docker-archive."""

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

from e2e.cluster.images_archive import Image, Layer, save, write_archive, write_layer


def _tree(root: Path) -> Path:
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "tool").write_text("#!/bin/sh\n")
    (root / "bin" / "tool").chmod(0o755)
    (root / "bin" / "link").symlink_to("tool")
    (root / "text").write_text("hello")
    return root


def _layer(tmp_path: Path, name: str = "layer", prefix: str = "") -> Layer:
    return write_layer(_tree(tmp_path / f"{name}-root"), tmp_path / f"{name}.tar", prefix)


def test_a_layer_depends_on_its_content_alone(tmp_path: Path) -> None:
    first = _layer(tmp_path, "first")
    root = _tree(tmp_path / "second-root")
    os.utime(root / "text", (1, 1))
    second = write_layer(root, tmp_path / "second.tar")
    assert first.digest == second.digest == hashlib.sha256(second.path.read_bytes()).hexdigest()
    (root / "text").write_text("other")
    assert write_layer(root, tmp_path / "third.tar").digest != first.digest


def test_a_layer_keeps_modes_and_links_below_its_prefix(tmp_path: Path) -> None:
    with tarfile.open(_layer(tmp_path, prefix="opt/tree").path) as archive:
        entries = {entry.name: entry for entry in archive}
    assert set(entries) == {f"opt/tree/{name}" for name in ("bin", "bin/tool", "bin/link", "text")}
    assert entries["opt/tree/bin/tool"].mode == 0o755
    assert entries["opt/tree/bin/link"].linkname == "tool"
    assert {entry.mtime for entry in entries.values()} == {0}


def test_a_shared_layer_is_written_once(tmp_path: Path) -> None:
    layer = _layer(tmp_path)
    one = Image("drumline/one:1", (layer,), entrypoint=("/bin/tool",))
    two = Image("drumline/two:1", (layer,), env=("A=b",), user="65532:65532")
    stream = io.BytesIO()
    write_archive([one, two], stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as archive:
        names = archive.getnames()
        manifest = json.load(archive.extractfile("manifest.json") or io.BytesIO())
        configuration = json.load(archive.extractfile(manifest[1]["Config"]) or io.BytesIO())
    assert len([name for name in names if name.endswith("layer.tar")]) == 1
    assert [entry["RepoTags"] for entry in manifest] == [
        ["docker.io/drumline/one:1"],
        ["docker.io/drumline/two:1"],
    ]
    assert configuration["rootfs"]["diff_ids"] == [f"sha256:{layer.digest}"]
    assert configuration["config"]["User"] == "65532:65532"


def test_identity_follows_content_and_configuration(tmp_path: Path) -> None:
    layer = _layer(tmp_path)
    image = Image("drumline/one:1", (layer,))
    assert image.identity == Image("drumline/renamed:2", (layer,)).identity
    assert image.identity != Image("drumline/one:1", (layer,), env=("A=b",)).identity


def test_a_saved_archive_is_whole(tmp_path: Path) -> None:
    image = Image("drumline/one:1", (_layer(tmp_path),))
    save(image, tmp_path / "image.tar")
    with tarfile.open(tmp_path / "image.tar") as archive:
        assert "manifest.json" in archive.getnames()
    assert not list(tmp_path.glob(".image.tar*"))
