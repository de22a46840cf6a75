"""The layers that images are made of, each built once into the cache.

A layer's key is a hash of its recipe: packages, requirements, source files. What the recipe leaves open (the
exact Debian patch release) is fixed by whoever built the layer first; delete the cache to build it anew.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from e2e.cluster import packages
from e2e.cluster.build import cache_dir
from e2e.cluster.images_archive import Layer, write_layer

PYTHON = "3.11"
_SUITE = "bookworm"
_PACKAGES = ("python3-minimal", "libpython3-stdlib", "ca-certificates")
_UNUSED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
    "var/cache/apt",
    "var/cache/debconf",
    "var/lib/apt/lists",
    "var/log",
)
_WHEELS_ONLY = ("--python-version", PYTHON, "--only-binary=:all:")
_SITE = f"usr/local/lib/python{PYTHON}/dist-packages"
_TORCHRUN = '#!/bin/sh\nfor word in "$@"; do echo "torchrun: $word"; done\nsleep 15\n'
_REPOSITORY = Path(__file__).parents[2]


class ImageError(RuntimeError):
    """An image could not be built; the message says what is missing or what failed."""


def base() -> Layer:
    """A minimal Debian with Python and the certificates of public authorities; needs root to be built."""
    return _cached("base", [_SUITE, *_PACKAGES, *_UNUSED, "3"], _build_base)


def no_python() -> Layer:
    """Takes the base's interpreters away, as layers do: by an empty file of that name. Leaves a ``torchrun``."""

    def fill(root: Path) -> None:
        for name in ("usr/bin/python3", f"usr/bin/python{PYTHON}", "usr/local/bin/python"):
            gone = root / name
            gone.parent.mkdir(parents=True, exist_ok=True)
            gone.with_name(f".wh.{gone.name}").touch()
        script = root / "usr/local/bin/torchrun"
        script.write_text(_TORCHRUN)
        script.chmod(0o755)

    return _cached("no-python", [_TORCHRUN, "1"], fill)


def requirements(name: str) -> Layer:
    """The packages of ``images/NAME/requirements.txt``, where the base's Python finds them."""
    file = _REPOSITORY / "images" / name / "requirements.txt"
    return _cached(name, [file.read_text()], lambda root: _install(root, ["--requirement", str(file)]), _SITE)


def drumline() -> Layer:
    """The drumline package itself, installed from its wheel without its dependencies."""
    return _cached(
        "drumline", _sources(), lambda root: _install(root, ["--no-deps", str(_REPOSITORY)]), _SITE
    )


def examples() -> Layer:
    """The training programs of ``examples/``, at ``/examples``."""
    files = sorted((_REPOSITORY / "examples").glob("*.py"))

    def fill(root: Path) -> None:
        for file in files:
            shutil.copy(file, root / file.name)

    return _cached("examples", [file.read_text() for file in files], fill, "examples")


def files(name: str, sources: Mapping[str, Path]) -> Layer:
    """Files of this host, by their paths in the image; who may run one here may run it there."""

    def fill(root: Path) -> None:
        for place, source in sources.items():
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, root / place)

    recipe = [f"{place} {_digest(source)}" for place, source in sorted(sources.items())]
    return _cached(name, recipe, fill)


def debian(name: str, debian_packages: Sequence[str]) -> Layer:
    """The files of Debian packages that the base lacks; no script of theirs is run."""

    def fill(root: Path) -> None:
        with _scratch(name) as folder:
            _run(["apt-get", "update", "-q"])
            _run(["apt-get", "download", "-q", *debian_packages], folder=folder)
            for package in folder.glob("*.deb"):
                _run(["dpkg-deb", "--extract", str(package), str(root)])
        for unused in _UNUSED:
            shutil.rmtree(root / unused, ignore_errors=True)

    packages.ensure_programs({"apt-get": "apt", "dpkg-deb": "dpkg"})
    return _cached(name, [_SUITE, *debian_packages], fill)


def tree(name: str) -> Path:
    """A directory on this host with the packages of ``images/NAME/requirements.txt``, to be mounted read-only."""
    file = _REPOSITORY / "images" / name / "requirements.txt"
    return kept(name, [file.read_text()], lambda root: _install(root, ["--requirement", str(file)]))


def kept(name: str, recipe: Sequence[str], fill: Callable[[Path], None]) -> Path:
    """A directory on this host that ``fill`` is given to fill, once for each recipe; it appears when it is whole."""
    target = cache_dir() / "trees" / f"{name}-{_key(recipe)}"
    with _locked(target.name):
        if not target.exists():
            started = time.monotonic()
            print(f"host tree {name}: making it", file=sys.stderr, flush=True)
            with _scratch(name) as root:
                fill(root)
                target.parent.mkdir(parents=True, exist_ok=True)
                root.chmod(0o755)
                root.rename(target)
            print(f"host tree {name}: done in {time.monotonic() - started:.0f} s", file=sys.stderr)
    return target


def install_exactly(root: Path, requirements_file: Path) -> None:
    """Install what the file pins and nothing that the packages themselves ask for; raises ``ImageError``."""
    _pip(root, ["--no-deps", *_WHEELS_ONLY, "--requirement", str(requirements_file)])


def _build_base(root: Path) -> None:
    if os.geteuid() != 0:
        raise ImageError("building the base image needs root: run as root, or build images/ with Docker")
    packages.ensure_programs({"debootstrap": "debootstrap"})
    mirror = os.environ.get("DRUMLINE_DEBIAN_MIRROR")
    include = f"--include={','.join(_PACKAGES)}"
    _run(["debootstrap", "--variant=minbase", include, _SUITE, str(root), *([mirror] if mirror else [])])
    for name in _UNUSED:
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir(parents=True)
    # The name of the machine and its name servers are the runtime's to set.
    for name in ("hostname", "resolv.conf"):
        (root / "etc" / name).unlink(missing_ok=True)
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    # Some libraries ask for the name of the user they run as.
    with (root / "etc/passwd").open("a") as accounts:
        accounts.write("nonroot:x:65532:65532:nonroot:/tmp:/usr/sbin/nologin\n")


def _install(root: Path, what: Sequence[str]) -> None:
    # Wheels only, except for our own package, which is a directory.
    _pip(root, what if "--no-deps" in what else [*_WHEELS_ONLY, *what])


def _pip(root: Path, what: Sequence[str]) -> None:
    """Install with pip into ``root`` for the base's Python, and compile what a container will import."""
    target = ["--target", str(root), "--no-compile", "--quiet", "--disable-pip-version-check"]
    _run([sys.executable, "-m", "pip", "install", *target, *what])
    if platform.python_version().startswith(f"{PYTHON}."):
        # Times are not kept in layers, so compiled files must not depend on them.
        compiled = ["-q", "-j0", "--invalidation-mode", "unchecked-hash", "-s", str(root), "-p", f"/{_SITE}"]
        _run([sys.executable, "-m", "compileall", *compiled, str(root)], allowed=(0, 1))


def _sources() -> list[str]:
    files = sorted((_REPOSITORY / "operator" / "drumline").rglob("*"))
    named = [path for path in files if path.is_file() and "__pycache__" not in path.parts]
    return [
        f"{path.relative_to(_REPOSITORY)} {_digest(path)}"
        for path in [*named, _REPOSITORY / "pyproject.toml"]
    ]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _cached(name: str, recipe: Sequence[str], fill: Callable[[Path], None], prefix: str = "") -> Layer:
    directory = cache_dir() / "layers"
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}-{_key([*recipe, prefix])}.tar"
    record = path.with_suffix(".json")
    with _locked(path.stem):
        if record.exists() and path.exists():
            return Layer(path, json.loads(record.read_text())["sha256"])
        started = time.monotonic()
        print(f"image layer {name}: building", file=sys.stderr, flush=True)
        with _scratch(name) as root:
            fill(root)
            layer = write_layer(root, path, prefix)
        record.write_text(json.dumps({"sha256": layer.digest}))
        size = path.stat().st_size / 1e6
        print(f"image layer {name}: {size:.0f} MB in {time.monotonic() - started:.0f} s", file=sys.stderr)
    return layer


def _key(recipe: Sequence[str]) -> str:
    text = "\n".join([*recipe, PYTHON, platform.machine()])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@contextlib.contextmanager
def _scratch(name: str) -> Iterator[Path]:
    directory = cache_dir() / "scratch"
    directory.mkdir(parents=True, exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=directory))
    try:
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def _locked(name: str) -> Iterator[None]:
    path = cache_dir() / "locks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: Sequence[str], allowed: tuple[int, ...] = (0,), folder: Path | None = None) -> None:
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder)
    if done.returncode not in allowed:
        tail = "\n".join(done.stdout.decode(errors="replace").splitlines()[-20:])
        raise ImageError(f"`{' '.join(command)}` failed with exit code {done.returncode}:\n{tail}")
