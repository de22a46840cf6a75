"""A real hang, and a real request for a checkpoint: containers, the launcher, the chart's operator and its ingest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from e2e.cluster import images
from e2e.cluster.realnode import NODE_NAME
from e2e.demo_site import Site, claim, real_site
from e2e.suites.kubectl import until

pytestmark = pytest.mark.timeout(1200)

FLOOR = 30
PHASE = 130  # seconds: beyond the floor, and beyond what an operator needs to trust silence
REPORTED = 15  # seconds: longer than between two reports
TAINT = "cloud.google.com/impending-node-termination"

# Three ranks go in step over sockets. In the first attempt rank 1 stops for ever, while the others wait for it.
HANGS = """
import os, socket, time
from drumline import worker
rank, attempt = int(os.environ["DRUMLINE_RANK"]), os.environ["DRUMLINE_ATTEMPT"]
def connected():
    if rank == 0:
        server = socket.create_server(("", 9999))
        return [server.accept()[0] for _ in range(2)]
    while True:
        try:
            return [socket.create_connection(("hangs-0-0.hangs", 9999), 5)]
        except OSError:
            time.sleep(0.2)
peers = connected()
for peer in peers:
    peer.settimeout(None)
def allreduce():
    if rank:
        peers[0].sendall(b"x")
        return peers[0].recv(1)
    for peer in peers:
        peer.recv(1)
    for peer in peers:
        peer.sendall(b"x")
def read_batch():
    while True:
        time.sleep(1)
for step in range(20):
    if (rank, attempt, step) == (1, "1", 10):
        read_batch()
    time.sleep(0.1)
    allreduce()
    worker.report_step(step)
"""
SAVES = f"""
import time
from drumline import worker
for step in range(20):
    time.sleep(0.1)
    worker.report_step(step)
with worker.phase("checkpoint_save"):
    time.sleep({PHASE})
worker.report_step(20)
"""
# Saves when it is asked to, all ranks together, and waits for its end then. Another attempt goes on from there.
ASKED = f"""
import os, pathlib, signal, time
from drumline import worker
rank, folder = int(os.environ["DRUMLINE_RANK"]), pathlib.Path("/ckpt")
saved = folder / "step"
first = int(saved.read_text()) + 1 if saved.exists() else 0
asked = []
signal.signal(signal.SIGUSR1, lambda *_: asked.append(1))
(folder / f"ready-{{rank}}").touch()
if first:
    worker.resumed_from(first)
for step in range(first, first + 20 if first else 10**6):
    time.sleep(0.2)
    worker.report_step(step)
    if asked:
        (folder / f"asked-{{rank}}").touch()
        if rank == 0:
            with worker.phase("checkpoint_save"):
                while not (folder / "asked-1").exists():
                    time.sleep(0.1)
                saved.write_text(str(step))
            worker.checkpoint_committed(step)
        time.sleep(600)
time.sleep({REPORTED})
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with real_site() as running:
        yield running


def job(name: str, program: str, workers: int, volume: str = "", **spec: Any) -> dict[str, Any]:
    """Workers on the node, which run that program."""
    command = ["python3", "-u", "-c", program]
    container: dict[str, Any] = {"name": "train", "image": images.BASE, "command": command}
    pod: dict[str, Any] = {"terminationGracePeriodSeconds": 2, "containers": [container]}
    if volume:
        container["volumeMounts"] = [{"name": "ckpt", "mountPath": "/ckpt"}]
        pod["volumes"] = [{"name": "ckpt", "persistentVolumeClaim": {"claimName": volume}}]
    policy = {"backoff": {"initialSeconds": 0}, "hang": {"floorSeconds": FLOOR}}
    whole = {"accelerator": {"type": "cpu"}, "workersPerSlice": workers, "failurePolicy": policy, **spec}
    return {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {**whole, "template": {"spec": pod}},
    }


def status_of(site: Site, name: str) -> dict[str, Any]:
    found: dict[str, Any] = site.kubectl.get("trainingjob", name).get("status", {})
    return found


def succeeded(site: Site, name: str) -> dict[str, Any]:
    until(lambda: status_of(site, name).get("phase") == "Succeeded", f"{name} to succeed", 300)
    return status_of(site, name)


def events(site: Site, name: str, reason: str) -> list[str]:
    """Messages of the job's events with that reason."""
    found = site.kubectl.list("events")
    return [e["message"] for e in found if e["involvedObject"]["name"] == name and e["reason"] == reason]


def test_a_rank_that_stops_is_found_and_a_long_checkpoint_is_left_alone(site: Site) -> None:
    site.kubectl.apply(job("hangs", HANGS, 3))
    site.kubectl.apply(job("saves", SAVES, 1))
    status = succeeded(site, "hangs")
    (told,) = events(site, "hangs", "HangDetected")
    site.say(told)
    assert "since step 9" in told
    (first, *_) = status["attempts"]
    assert (first["cause"], first["rank"], first["action"]) == ("Hang", 1, "RestartGang")
    line = 1 + HANGS.splitlines().index("        time.sleep(1)")
    assert f"rank 1 in <string>:{line} read_batch" in told
    assert "rank 0 in <string>:" in told
    assert "allreduce" in told
    assert f"<string>:{line} read_batch" in first["lastLines"]
    assert status["goodput"]["hangs"] == 1
    status = succeeded(site, "saves")
    assert (status["attempt"], status["goodput"]["hangs"]) == (1, 0)
    assert events(site, "saves", "HangDetected") == []
    saving = next(s["ms"] for s in status["goodput"]["states"] if s["state"] == "checkpoint_save")
    assert saving == pytest.approx(PHASE * 1000, rel=0.05)


def test_a_program_saves_before_its_node_goes_and_goes_on_where_it_was(site: Site) -> None:
    folder = site.checkpoints("asked")
    site.kubectl.apply(claim("asked", "ReadWriteMany"))
    ask = {"onRequest": {"signal": "SIGUSR1", "graceSeconds": 300}}
    site.kubectl.apply(job("asked", ASKED, 2, "asked", checkpoint=ask))
    until(lambda: status_of(site, "asked").get("phase") == "Running", "it to run", 300)
    until(lambda: status_of(site, "asked").get("goodput", {}).get("step", -1) > 3, "steps", 120)
    until((folder / "ready-1").exists, "both to take the signal", 120)
    site.kubectl.run("taint", "node", NODE_NAME, f"{TAINT}=:NoSchedule")
    try:
        until(lambda: len(status_of(site, "asked")["attempts"][0].get("cause", "")) > 0, "it to move", 400)
        first = status_of(site, "asked")["attempts"][0]
        assert (first["cause"], first["action"], first["node"]) == ("Maintenance", "ReplaceNode", NODE_NAME)
        step = int((folder / "step").read_text())
        assert f"step {step} was safe" in first["message"]
        assert {p.name for p in folder.iterdir()} >= {"asked-0", "asked-1"}
        until(lambda: bool(events(site, "asked", "CheckpointRequested")), "it to be told", 150)
        assert len(events(site, "asked", "CheckpointRequested")) == 1

        def waits() -> bool:
            said = (c["message"] for c in status_of(site, "asked")["conditions"])
            return any(f"{NODE_NAME} as long as it has the taint {TAINT}" in text for text in said)

        until(waits, "it to say what it waits for", 180)
        assert status_of(site, "asked")["attempt"] == 1
    finally:
        site.kubectl.run("taint", "node", NODE_NAME, f"{TAINT}:NoSchedule-")
    status = succeeded(site, "asked")
    assert status["attempt"] == 2
    assert (status["attempts"][0]["lostSteps"], status["restartCount"]) == (0, 0)
    assert status["goodput"]["step"] == step + 20
