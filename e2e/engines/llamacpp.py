"""llama.cpp's own server, ``llama-server``, built from source into an image of its own.

The source is the tree that the pinned source archive of ``llama-cpp-python`` carries: about seven minutes on one
core, once. The program is linked statically and for any x86-64 with AVX2, so the image is the base with one file
more, and the cache may move to another machine.

What this version (0.5.0-dev) is like, as measured with the tiny model:

- ready in under a second, 34 MB of memory (45 MB with a draft model).
- ``/health`` answers 503 while the model is loaded, then 200. ``/metrics`` needs ``--metrics``; its names stand in
  ``tests/data/engines``. It has no histograms, no use of the KV cache, and counts an answer's tokens only when
  the answer is complete. ``requests_deferred`` are those that wait for one of the ``--parallel`` slots.
- SIGTERM drops requests: the listening socket closes, and streams that are in flight get no further token and are
  cut off half a minute later, however long the grace period is. Whoever wants none dropped drains it before.
- speculation is a matter of flags: ``--spec-type draft-simple`` with ``--spec-draft-model`` (the model alone turns
  nothing on), or ``ngram-simple`` and others without a model. It cannot be changed while the server runs.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from e2e.cluster import images_layers, packages
from e2e.cluster.build import cache_dir
from e2e.cluster.images import ENVIRONMENT, NOBODY, Image, ImageError
from e2e.engines import models

IMAGE = "drumline/engine-llamacpp:0.5.0-dev"
PORT = 8080
_REQUIREMENTS = Path(__file__).with_name("requirements-llamacpp.txt")
_PACKAGE = "llama-cpp-python"
_REPORT_SECONDS = 15
_TAIL_LINES = 30
_OPTIONS = {
    # Nobody measures the tiny model's speed, and optimizing costs more time than compiling.
    "CMAKE_BUILD_TYPE": "Release",
    "CMAKE_C_FLAGS_RELEASE": "-O2 -DNDEBUG",
    "CMAKE_CXX_FLAGS_RELEASE": "-O1 -DNDEBUG",
    "CMAKE_EXE_LINKER_FLAGS": "-static -s",
    "BUILD_SHARED_LIBS": "OFF",
    "GGML_NATIVE": "OFF",
    "GGML_OPENMP": "OFF",
    "GGML_LLAMAFILE": "OFF",
    "GGML_CCACHE": "OFF",
    "GGML_CPU_REPACK": "OFF",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_APP": "OFF",
    # Else the build would fetch a web page from a model hub.
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    # Else it asks git, which knows another repository.
    "LLAMA_BUILD_NUMBER": "0",
    "LLAMA_BUILD_COMMIT": "unknown",
}


def image() -> Image:
    """The base with ``llama-server`` as its entry point, as in the project's own image; raises ``ImageError``."""
    program = "usr/local/bin/llama-server"
    layers = (images_layers.base(), images_layers.files("llama-server", {program: server()}))
    return Image(IMAGE, layers, (f"/{program}",), ENVIRONMENT, NOBODY)


def arguments(*more: str) -> list[str]:
    """Arguments with which a container of the image serves the tiny model on ``PORT``, and ``more``."""
    given = ["--model", models.GGUF, "--alias", "tiny", "--host", "0.0.0.0", "--port", str(PORT), "--metrics"]
    # One thread: two cores serve everything else too. Each slot has its own part of the context.
    return [*given, "--threads", "1", "--ctx-size", "8192", "--parallel", "4", *more]


def with_draft(tokens: int) -> list[str]:
    """Arguments for speculation by the draft model, ``tokens`` at a time."""
    model = ["--spec-type", "draft-simple", "--spec-draft-model", models.DRAFT_GGUF]
    return [*model, "--spec-draft-n-max", str(tokens)]


def with_ngram(tokens: int) -> list[str]:
    """Arguments for speculation by what the text has said before, ``tokens`` at a time."""
    size = ["--spec-ngram-simple-size-n", "4", "--spec-ngram-simple-size-m", str(tokens)]
    return ["--spec-type", "ngram-simple", *size]


def server() -> Path:
    """The program on this host, built where it is missing; raises ``ImageError``."""
    recipe = [_REQUIREMENTS.read_text(), *(f"{key}={value}" for key, value in _OPTIONS.items())]
    return images_layers.kept("llama-server", recipe, _build) / "llama-server"


def _build(root: Path) -> None:
    try:
        packages.ensure_programs({"cmake": "cmake", "make": "make", "g++": "g++", "tar": "tar"})
    except packages.PackageError as error:
        raise ImageError(str(error)) from error
    archive, source, build = root / "archive", root / "source", root / "build"
    download = ["--no-deps", "--no-binary", _PACKAGE, "--quiet", "--disable-pip-version-check"]
    where = ["--dest", str(archive), "--requirement", str(_REQUIREMENTS)]
    _run("fetch", [sys.executable, "-m", "pip", "download", *download, *where])
    (found,) = archive.glob("*.tar.gz")
    source.mkdir()
    _run("unpack", ["tar", "-xzf", str(found), "-C", str(source), "--strip-components=1"])
    options = [f"-D{key}={value}" for key, value in _OPTIONS.items()]
    place = ["-S", str(source / "vendor" / "llama.cpp"), "-B", str(build)]
    _run("configure", ["cmake", *place, "-G", "Unix Makefiles", *options])
    jobs = str(os.cpu_count() or 1)
    _run("compile", ["nice", "cmake", "--build", str(build), "--target", "llama-server", "--parallel", jobs])
    (build / "bin" / "llama-server").replace(root / "llama-server")
    for folder in (archive, source, build):
        _run("clean", ["rm", "-r", str(folder)])


def _run(step: str, command: Sequence[str]) -> None:
    log = cache_dir() / "logs" / f"build-llama-server-{step}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with (
        log.open("wb") as stream,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream) as process,
    ):
        try:
            code = _wait(process, f"llama-server: {step}", started, log)
        except BaseException:
            process.kill()
            raise
    if code != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
        raise ImageError(f"`{' '.join(command)}` failed with exit code {code}:\n{tail}")


def _wait(process: "subprocess.Popen[bytes]", label: str, started: float, log: Path) -> int:
    while True:
        try:
            return process.wait(_REPORT_SECONDS)
        except subprocess.TimeoutExpired:
            line = (log.read_text(errors="replace").splitlines() or [""])[-1].strip()
            spent = time.monotonic() - started
            print(f"{label}, {spent:.0f} s: {line[:80]}", file=sys.stderr, flush=True)
