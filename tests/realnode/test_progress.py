"""The operator reads steps itself: from the log that a kubelet keeps, and from a pod's own metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster import images
from e2e.cluster.operator import install_api
from e2e.suites.kubectl import until
from tests.integration.operators import leading
from tests.realnode.conftest import Real

STEPS = 40
TOKENS = 64
_LOGS = f"""
import time
for step in range({STEPS}):
    time.sleep(0.25)
    print(f"step={{step}} tokens={TOKENS}")
    if step % 10 == 9:
        print(f"checkpoint {{step}} is safe")
"""
_STOPS = """
import os, time
for step in range(10):
    if (os.environ["DRUMLINE_ATTEMPT"], step) == ("1", 5):
        time.sleep(600)
    time.sleep(0.25)
    print(f"step={step}")
"""
_SERVES = f"""
import http.server, threading, time
class Metrics(http.server.BaseHTTPRequestHandler):
    step = 0
    def do_GET(self):
        body = f"train_step {{Metrics.step}}\\ntokens_total {{Metrics.step * {TOKENS}}}\\nsafe_step {{Metrics.step}}\\n"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())
server = http.server.ThreadingHTTPServer(("", 9090), Metrics)
threading.Thread(target=server.serve_forever, daemon=True).start()
for step in range(1, {STEPS} + 1):
    time.sleep(0.25)
    Metrics.step = step
time.sleep(15)
"""


# nobody answers there: an image without Python asks nobody
LAUNCHER = (
    "--report-url",
    "https://drumline-ingest.nowhere.svc:8443/v1/report",
    "--launcher-image",
    f"drumline/operator:{images.version()}",
    "--launcher-silence",
    "5",
)


@pytest.fixture(scope="module")
def operator(real: Real, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An operator beside the real node; its log."""
    asyncio.run(install_api(real.cluster))
    real.node.store.load(images.no_python(), images.operator())
    log = tmp_path_factory.mktemp("operator") / "log"
    with leading(real.kubectl.kubeconfig, log, "--progress-logs", "on", *LAUNCHER):
        yield log


def job(name: str, code: str, progress: dict[str, Any]) -> dict[str, Any]:
    container = {"name": "train", "image": images.BASE, "command": ["python3", "-u", "-c", code]}
    return {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {
            "accelerator": {"type": "cpu"},
            "workersPerSlice": 1,
            "progress": progress,
            "template": {"spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}},
        },
    }


def succeeded(real: Real, name: str) -> dict[str, Any]:
    """The status of the job once it has succeeded."""

    def done() -> bool:
        return bool(real.kubectl.get("trainingjob", name).get("status", {}).get("phase") == "Succeeded")

    until(done, f"{name} to succeed", 180)
    status: dict[str, Any] = real.kubectl.get("trainingjob", name)["status"]
    found = status["goodput"]
    assert sum(s["ms"] for s in found["states"]) == found["elapsedMs"]
    return status


def test_steps_are_read_from_the_log(real: Real, operator: Path) -> None:
    progress = {
        "source": "log",
        "pattern": r"step=(?P<step>\d+) tokens=(?P<tokens>\d+)",
        "commitPattern": r"checkpoint (?P<step>\d+) is safe",
    }
    real.kubectl.apply(job("logs", _LOGS, progress))
    status = succeeded(real, "logs")
    found = status["goodput"]
    assert found["source"] == "reported"
    assert (found["step"], found["committedStep"]) == (STEPS - 1, STEPS - 1)
    assert found["stepTimes"]["count"] == STEPS
    assert found["tokens"] == STEPS * TOKENS
    productive = next(s["ms"] for s in found["states"] if s["state"] == "productive")
    assert STEPS * 250 * 0.7 < productive < STEPS * 250 * 3  # what a sleep lasts on a busy machine
    reported = next(c for c in status["conditions"] if c["type"] == "ProgressReported")
    assert (reported["status"], reported["reason"]) == ("True", "LogFollowed")


def test_a_program_whose_log_goes_silent_is_restarted(real: Real, operator: Path) -> None:
    progress = {"source": "log", "pattern": r"step=(?P<step>\d+)"}
    whole = job("silent", _STOPS, progress)
    whole["spec"]["failurePolicy"] = {"backoff": {"initialSeconds": 0}, "hang": {"floorSeconds": 30}}
    real.kubectl.apply(whole)
    status = succeeded(real, "silent")
    (first, second) = status["attempts"]
    assert (first["cause"], first["action"], second.get("cause")) == ("Hang", "RestartGang", None)
    assert "since step 4" in first["message"]
    assert "no launcher runs" in first["message"]
    assert ("rank" in first, "node" in first) == (False, False), "nobody is known to be at fault"
    assert status["goodput"]["hangs"] == 1


def said(real: Real, name: str) -> tuple[str, str, str]:
    """Value, reason and message of the job's ProgressReported."""
    found = real.kubectl.get("trainingjob", name).get("status", {}).get("conditions", [])
    reported = next((c for c in found if c["type"] == "ProgressReported"), {})
    return reported.get("status", ""), reported.get("reason", ""), reported.get("message", "")


def test_an_image_without_python_runs_its_command_and_the_launcher_is_missed(
    real: Real, operator: Path
) -> None:
    whole = job("mute", "", {"source": "launcher"})
    container = whole["spec"]["template"]["spec"]["containers"][0]
    container.update(image=images.NO_PYTHON, command=["torchrun", "--nnodes", "$HOME `id`  2"])
    real.kubectl.apply(whole)
    until(lambda: said(real, "mute")[1] == "LauncherSilent", "the launcher to be missed", 90)
    value, _, message = said(real, "mute")
    assert value == "False"
    assert "the launcher in pod mute-1-0-0 says nothing: either the image of container train has" in message
    pod = real.kubectl.get("pod", "mute-1-0-0")
    assert pod["spec"]["containers"][0]["command"][:2] == ["/bin/sh", "-c"]
    assert pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    status = succeeded(real, "mute")
    assert real.kubectl.logs("mute-1-0-0") == "torchrun: --nnodes\ntorchrun: $HOME `id`  2\n"
    assert status["goodput"]["source"] == "estimated"


def test_steps_are_scraped(real: Real, operator: Path) -> None:
    scrape = {"port": 9090, "step": "train_step", "tokens": "tokens_total", "committedStep": "safe_step"}
    real.kubectl.apply(job("metrics", _SERVES, {"source": "scrape", "scrape": scrape}))
    status = succeeded(real, "metrics")
    found = status["goodput"]
    assert found["source"] == "reported"
    assert (found["step"], found["committedStep"]) == (STEPS, STEPS)
    assert found["tokens"] == STEPS * TOKENS
    reported = next(c for c in status["conditions"] if c["type"] == "ProgressReported")
    assert (reported["status"], reported["reason"]) == ("True", "Scraped")


def test_a_volume_that_cannot_be_mounted_ends_the_job_with_the_kubelets_words(
    real: Real, operator: Path
) -> None:
    whole = job("unmounted", "pass", {"source": "none"})
    whole["spec"]["failurePolicy"] = {"imagePullGraceSeconds": 3}
    pod = whole["spec"]["template"]["spec"]
    pod["volumes"] = [{"name": "data", "secret": {"secretName": "no-such-secret"}}]
    pod["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    real.kubectl.apply(whole)

    def failed() -> dict[str, Any]:
        found = real.kubectl.get("trainingjob", "unmounted").get("status", {}).get("conditions", [])
        return next((c for c in found if c["type"] == "Failed"), {})

    until(lambda: bool(failed()), "the job to fail", 150)
    assert failed()["reason"] == "VolumeUnavailable"
    assert 'FailedMount: MountVolume.SetUp failed for volume "data"' in failed()["message"]
    assert 'secret "no-such-secret" not found' in failed()["message"]
