"""What a real kubelet, a real container runtime and the kernel say of pods that fail, and which cause that is."""

from __future__ import annotations

from typing import Any

import pytest

from drumline.api.reasons import Cause
from drumline.core.gang.detection import Moment, failed_at
from drumline.core.gang.failure_table import COMMAND_NOT_FOUND, CONFIG_MISSING, IMAGE_WAITS
from drumline.core.gang.failures import cause_of
from drumline.core.gang.projection import project_node, project_pod
from drumline.core.gang.types import Pod
from e2e.cluster import images
from e2e.cluster.realnode import NODE_NAME
from e2e.suites.kubectl import until
from e2e.suites.pods import pod, python_pod
from tests.realnode.conftest import Real

_SMALL = {"resources": {"limits": {"memory": "64Mi"}}}
_FALLBACK = {"terminationMessagePolicy": "FallbackToLogsOnError"}
_TALK = "print('x' * 3000); print('the last line'); raise SystemExit(3)"


def _seen(real: Real, name: str) -> tuple[Pod, Cause]:
    found = project_pod(real.kubectl.get("pod", name))
    return found, cause_of(found, project_node(real.kubectl.get("node", NODE_NAME)))


@pytest.mark.parametrize(
    ("manifest", "code", "cause"),
    [
        (python_pod("exits", "raise SystemExit(42)"), 42, Cause.APPLICATION_EXIT),
        (python_pod("eats", "x = bytearray(512 << 20)", container=_SMALL), 137, Cause.OUT_OF_MEMORY),
        (pod("lost", images.BASE, ["/bin/sh", "-c", "no-such-program"]), 127, Cause.CONFIG_ERROR),
        (pod("absent", images.BASE, ["no-such-program"]), 128, Cause.CONFIG_ERROR),
    ],
    ids=["exit code", "OOM killer", "shell: not found", "runtime: not found"],
)
def test_how_a_container_ended(real: Real, manifest: dict[str, Any], code: int, cause: Cause) -> None:
    name = manifest["metadata"]["name"]
    real.kubectl.apply(manifest)
    real.kubectl.wait_pod(name, "Failed")
    found, why = _seen(real, name)
    assert why is cause
    assert found.termination is not None
    assert found.termination.exit_code == code
    assert failed_at(found, None, why) == Moment(found.termination.finished_at)
    told = code == COMMAND_NOT_FOUND or "executable file not found" in found.termination.message
    assert told is (cause is Cause.CONFIG_ERROR)


@pytest.mark.parametrize(
    ("name", "container", "waits", "cause"),
    [
        ("imageless", {"image": "localhost:1/no/such:image"}, IMAGE_WAITS, Cause.IMAGE_ERROR),
        ("misnamed", {"image": "Not An Image"}, ("InvalidImageName",), Cause.IMAGE_ERROR),
        (
            "secretless",
            {"envFrom": [{"secretRef": {"name": "no-such-secret"}}]},
            (CONFIG_MISSING,),
            Cause.CONFIG_ERROR,
        ),
    ],
)
def test_what_a_container_waits_for(
    real: Real, name: str, container: dict[str, Any], waits: tuple[str, ...], cause: Cause
) -> None:
    real.kubectl.apply(python_pod(name, "pass", container=container))
    until(lambda: _seen(real, name)[0].waiting in waits, f"{name} to wait for one of {waits}", 150)
    found, why = _seen(real, name)
    assert why is cause
    assert found.waiting_message
    real.kubectl.delete("pod", name)


def test_the_end_of_a_long_log_is_the_message(real: Real) -> None:
    real.kubectl.apply(python_pod("talks", _TALK, container=_FALLBACK))
    real.kubectl.wait_pod("talks", "Failed")
    found, _ = _seen(real, "talks")
    assert found.termination is not None
    assert found.termination.message.rstrip().endswith("the last line")
    assert len(found.termination.message) <= 512
