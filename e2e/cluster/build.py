"""Build the pinned Go programs that an embedded cluster is made of.

``python -m e2e.cluster.build [control-plane|real-node|monitoring|all]`` builds what is missing and says how far it is.

A program's place in the cache is a function of everything that decides its content: its module's go.mod and
go.sum, and the flags. A file under its final name is therefore always whole and always right: it is written
under another name first, and renamed. A lock per program keeps two runs from building the same thing, and a
run that was interrupted goes on with the first program that is missing.

``DRUMLINE_KUBERNETES`` says which Kubernetes is meant, by its minor version; the programs of one leave those of
another in the cache alone.
"""

import argparse
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import packages

_MODULES = Path(__file__).with_name("tools")
_REPORT_SECONDS = 15
_TAIL_LINES = 30
_CONTAINERD_TAGS = "no_btrfs no_devmapper no_zfs"
_KUBERNETES = "kubernetes"
DEFAULT_KUBERNETES = "1.36"
# by minor version, the directory of the go.mod that pins it
_VERSIONS = {DEFAULT_KUBERNETES: _KUBERNETES, "1.37": f"{_KUBERNETES}-1.37"}


class BuildError(RuntimeError):
    """A program could not be built; the message says what to do about it."""


@dataclass(frozen=True)
class Tool:
    """A program: the directory of its pinned go.mod, its Go package, and how it is built."""

    name: str
    module: str
    package: str
    tags: str = ""
    cgo: bool = False


def _kubernetes(name: str) -> Tool:
    return Tool(name, _KUBERNETES, f"k8s.io/kubernetes/cmd/{name}")


def _containerd(name: str) -> Tool:
    return Tool(name, "containerd", f"github.com/containerd/containerd/v2/cmd/{name}", _CONTAINERD_TAGS)


def _prometheus(name: str) -> Tool:
    package = f"github.com/prometheus/prometheus/cmd/{name}"
    return Tool(name, "prometheus", package, tags="remove_all_sd")  # it scrapes addresses it is given


def _cni(kind: str, name: str) -> Tool:
    return Tool(name, "cni", f"github.com/containernetworking/plugins/plugins/{kind}/{name}")


CONTROL_PLANE = (
    Tool("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
    _kubernetes("kube-apiserver"),
    _kubernetes("kube-scheduler"),
    _kubernetes("kube-controller-manager"),
    _kubernetes("kubectl"),
    Tool("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok"),
)
REAL_NODE = (
    _kubernetes("kubelet"),
    _kubernetes("kube-proxy"),
    _containerd("containerd"),
    _containerd("ctr"),
    _containerd("containerd-shim-runc-v2"),
    # Its namespace entry is C code that must run before the Go runtime starts its threads.
    # Every sandbox that the kubelet asks for comes with a seccomp profile, so runc must know seccomp.
    Tool("runc", "runc", "github.com/opencontainers/runc", tags="seccomp", cgo=True),
    _cni("main", "bridge"),
    _cni("main", "loopback"),
    _cni("ipam", "host-local"),
    _cni("meta", "portmap"),
    Tool("helm", "helm", "helm.sh/helm/v4/cmd/helm"),
    Tool("coredns", "coredns", "github.com/coredns/coredns"),
)
MONITORING = (_prometheus("prometheus"), _prometheus("promtool"))
GROUPS = {
    "control-plane": CONTROL_PLANE,
    "real-node": CONTROL_PLANE + REAL_NODE,
    "monitoring": MONITORING,
    "all": CONTROL_PLANE + REAL_NODE + MONITORING,
}
_BY_NAME = {tool.name: tool for tool in GROUPS["all"]}


def cache_dir() -> Path:
    """Where built programs and downloads live: ``$DRUMLINE_CACHE``, by default ``~/.cache/drumline``."""
    return Path(os.environ.get("DRUMLINE_CACHE") or Path.home() / ".cache" / "drumline")


def kubernetes() -> str:
    """The minor version of Kubernetes that is wanted: ``$DRUMLINE_KUBERNETES``, by default 1.36; raises ``BuildError``."""
    asked = os.environ.get("DRUMLINE_KUBERNETES") or DEFAULT_KUBERNETES
    if asked not in _VERSIONS:
        raise BuildError(f"DRUMLINE_KUBERNETES={asked} is none of {', '.join(_VERSIONS)}")
    return asked


def binary(name: str) -> Path:
    """The path of a program, built first where it is missing; raises ``BuildError``."""
    tool = _BY_NAME[name]
    path = path_of(tool)
    if not path.exists():
        build([tool])
    return path


def path_of(tool: Tool) -> Path:
    """Where this version of a program is, or will be, in the cache."""
    return cache_dir() / "bin" / f"{_pins(tool)}-{key(tool)}" / tool.name


def key(tool: Tool) -> str:
    """A short hash of all that decides what the program's bytes are."""
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum"):
        digest.update((_MODULES / _pins(tool) / name).read_bytes())
    digest.update(repr((_flags(tool), sorted(_settings(tool).items()), os.uname().machine)).encode())
    return digest.hexdigest()[:12]


def _pins(tool: Tool) -> str:
    """The directory of the go.mod that pins this program."""
    return _VERSIONS[kubernetes()] if tool.module == _KUBERNETES else tool.module


def build(tools: Sequence[Tool]) -> None:
    """Build those of ``tools`` that are missing, one after the other; raises ``BuildError``."""
    missing = [tool for tool in tools if not path_of(tool).exists()]
    if not missing:
        return
    _require(missing)
    started = time.monotonic()
    for index, tool in enumerate(missing, start=1):
        with _locked(tool):
            # Another run may have built it while this one waited for the lock.
            if not path_of(tool).exists():
                _build_one(tool, f"[{index}/{len(missing)}] {tool.name}")
    _say(f"{len(missing)} programs built in {time.monotonic() - started:.0f} s")


def _build_one(tool: Tool, label: str) -> None:
    target = path_of(tool)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{tool.name}.{os.getpid()}")
    log = cache_dir() / "logs" / f"build-{tool.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        _compile(tool, partial, log, label)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _compile(tool: Tool, output: Path, log: Path, label: str) -> None:
    started = time.monotonic()
    _say(f"{label}: building")
    command = ["go", "build", *_flags(tool), "-o", str(output), tool.package]
    environment = {**os.environ, **_settings(tool)}
    directory = _MODULES / _pins(tool)
    with (
        log.open("wb") as stream,
        subprocess.Popen(command, cwd=directory, env=environment, stdout=stream, stderr=stream) as process,
    ):
        try:
            code = _wait(process, started, label)
        except BaseException:
            process.kill()
            raise
    if code != 0 or not output.exists():
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
        raise BuildError(f"{tool.name}: `{' '.join(command)}` failed with exit code {code}:\n{tail}")
    _say(f"{label}: done in {time.monotonic() - started:.0f} s")


def _wait(process: "subprocess.Popen[bytes]", started: float, label: str) -> int:
    while True:
        try:
            return process.wait(_REPORT_SECONDS)
        except subprocess.TimeoutExpired:
            _say(f"{label}: still building, {time.monotonic() - started:.0f} s")


@contextlib.contextmanager
def _locked(tool: Tool) -> Iterator[None]:
    path = cache_dir() / "locks" / f"{tool.name}-{key(tool)}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"{tool.name}: another run builds it; waiting")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _require(tools: Sequence[Tool]) -> None:
    if shutil.which("go") is None:
        message = "the Go toolchain, 1.26 or newer, is needed to build "
        raise BuildError(message + f"{tools[0].name}: install it from https://go.dev/dl and put `go` on PATH")
    needs_c = next((tool.name for tool in tools if tool.cgo), None)
    if needs_c and shutil.which("gcc") is None:
        raise BuildError(
            f"a C compiler is needed to build {needs_c}: install gcc (Debian: `apt install gcc libc6-dev`)"
        )
    if any("seccomp" in tool.tags for tool in tools):
        try:
            packages.ensure_library("libseccomp", "libseccomp-dev")
        except packages.PackageError as error:
            raise BuildError(str(error)) from error


def _flags(tool: Tool) -> list[str]:
    # What is not Kubernetes' own has the same stamps, and so the same place, beside every version of it.
    pins = _pins(tool) if tool.module == _KUBERNETES else _KUBERNETES
    required = (_MODULES / pins / "go.mod").read_text()
    version = re.search(r"k8s\.io/kubernetes v(\d+)\.(\d+)\.\d+", required)
    if version is None:
        raise BuildError(f"e2e/cluster/tools/{pins}/go.mod requires no k8s.io/kubernetes")
    major, minor = version.groups()
    stamps = {
        "gitVersion": version.group().split()[1],
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
    }
    # Without these Kubernetes' programs call themselves v0.0.0, which clients refuse.
    linked = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in stamps.items())
    flags = ["-ldflags", f"-s -w {linked}"]
    return [*flags, "-tags", tool.tags] if tool.tags else flags


def _settings(tool: Tool) -> dict[str, str]:
    return {"GOFLAGS": "-trimpath -buildvcs=false -mod=readonly", "CGO_ENABLED": "1" if tool.cgo else "0"}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build a group of programs; the exit status is 1 when one could not be built."""
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster.build", description=__doc__.splitlines()[0])
    parser.add_argument("group", nargs="?", default="control-plane", choices=sorted(GROUPS))
    tools = GROUPS[parser.parse_args(arguments).group]
    try:
        build(tools)
    except BuildError as error:
        _say(f"error: {error}")
        return 1
    _say(f"all {len(tools)} programs are in {cache_dir() / 'bin'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
