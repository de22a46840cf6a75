"""Restart in place on a real node: real containers, the launcher, the chart's operator and its ingest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster import images
from e2e.demo_site import Site, claim, real_site
from e2e.suites.kubectl import until

pytestmark = pytest.mark.timeout(900)

# Every process notes when it begins and ends. Rank 1 fails once, while its peer would go on for long.
PROGRAM = """
import os, pathlib, sys, time
rank, attempt, epoch = (os.environ["DRUMLINE_" + name] for name in ("RANK", "ATTEMPT", "EPOCH"))
def note(what):
    pathlib.Path("/times", f"{attempt}.{epoch}-{rank}-{what}").write_text(str(time.time()))
note("begins")
if (attempt, epoch) == ("1", "0"):
    time.sleep(5 if rank == "1" else 600)
    note("ends")
    print("ValueError: rank", rank, "has had enough", flush=True)
    sys.exit(3)
time.sleep(3)
"""
EATS = """
import os, sys, time
if (os.environ["DRUMLINE_RANK"], os.environ["DRUMLINE_EPOCH"]) == ("1", "0"):
    time.sleep(5)
    x = bytearray(1 << 30)
time.sleep(600 if os.environ["DRUMLINE_EPOCH"] == "0" else 3)
"""
WAITS = """
import os, time
print("epoch", os.environ["DRUMLINE_EPOCH"], flush=True)
time.sleep(600 if os.environ["DRUMLINE_EPOCH"] == "0" else 3)
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with real_site() as running:
        yield running


def job(name: str, strategy: str, program: str = PROGRAM, volume: str = "") -> dict[str, Any]:
    """Two workers on the node."""
    container: dict[str, Any] = {
        "name": "train",
        "image": images.BASE,
        "command": ["python3", "-u", "-c", program],
    }
    pod: dict[str, Any] = {"terminationGracePeriodSeconds": 5, "containers": [container]}
    if volume:
        container["volumeMounts"] = [{"name": "times", "mountPath": "/times"}]
        pod["volumes"] = [{"name": "times", "persistentVolumeClaim": {"claimName": volume}}]
    policy = {"restartStrategy": strategy, "backoff": {"initialSeconds": 0}}
    return {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {
            "accelerator": {"type": "cpu"},
            "workersPerSlice": 2,
            "failurePolicy": policy,
            "template": {"spec": pod},
        },
    }


def status_of(site: Site, name: str) -> dict[str, Any]:
    found: dict[str, Any] = site.kubectl.get("trainingjob", name).get("status", {})
    return found


def pods_of(site: Site, name: str) -> dict[str, str]:
    """Name → uid."""
    found = site.kubectl.list("pods", f"drumline.dev/job={name}")
    return {p["metadata"]["name"]: p["metadata"]["uid"] for p in found}


def ran(site: Site, manifest: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str], dict[str, str]]:
    """The status of the job once it has succeeded, and its pods at first and then."""
    name = manifest["metadata"]["name"]
    site.kubectl.apply(manifest)
    until(lambda: len(pods_of(site, name)) == 2, f"{name} to have its pods", 180)
    before = pods_of(site, name)
    until(lambda: status_of(site, name).get("phase") == "Succeeded", f"{name} to succeed", 240)
    return status_of(site, name), before, pods_of(site, name)


def seconds_between(times: Path, again: str) -> float:
    """From the end of rank 1's first process to the beginning of the last one after it."""
    begins = [float((times / f"{again}-{rank}-begins").read_text()) for rank in (0, 1)]
    return max(begins) - float((times / "1.0-1-ends").read_text())


def test_a_rank_that_fails_starts_again_in_its_pod_sooner_than_in_a_new_one(site: Site) -> None:
    seconds: dict[str, float] = {}
    for strategy, again in (("InPlace", "1.1"), ("Recreate", "2.0")):
        name = strategy.lower()
        times = site.checkpoints(name)
        site.kubectl.apply(claim(name, "ReadWriteMany"))
        status, before, after = ran(site, job(name, strategy, volume=name))
        first = status["attempts"][0]
        assert (first["cause"], first["rank"], first["exitCode"]) == ("ApplicationExit", 1, 3)
        assert "rank 1 has had enough" in first.get("lastLines", first["message"])
        if strategy == "InPlace":
            assert (status["attempt"], status["epoch"], first["action"]) == (1, 1, "RestartInPlace")
            assert after == before
        else:
            assert (status["attempt"], first["action"]) == (2, "RestartGang")
            assert not set(after.values()) & set(before.values())
        assert sum(s["ms"] for s in status["goodput"]["states"]) == status["goodput"]["elapsedMs"]
        seconds[strategy] = seconds_between(times, again)
    site.say(f"from failure to all ranks running again: {seconds}")
    assert seconds["InPlace"] < seconds["Recreate"]


def test_a_process_that_ran_out_of_memory_is_known_for_it(site: Site) -> None:
    manifest = job("eats", "InPlace", EATS)
    manifest["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"memory": "192Mi"}}
    status, before, after = ran(site, manifest)
    first = status["attempts"][0]
    assert (first["cause"], first["rank"], first["exitCode"]) == ("OutOfMemory", 1, 137)
    assert (status["attempt"], status["epoch"], first["action"]) == (1, 1, "RestartInPlace")
    assert after == before


def test_a_launcher_that_was_killed_comes_back_in_its_pod(site: Site) -> None:
    name, pod = "killed", "killed-1-0-1"
    site.kubectl.apply(job(name, "InPlace", WAITS))
    until(lambda: status_of(site, name).get("phase") == "Running", f"{name} to run", 180)
    until(lambda: "epoch 0" in site.kubectl.logs(pod), "rank 1 to begin", 150)
    before = pods_of(site, name)
    site.kill_worker(pod)
    until(lambda: status_of(site, name).get("phase") == "Succeeded", f"{name} to succeed", 240)
    status = status_of(site, name)
    first = status["attempts"][0]
    assert (first["cause"], first["rank"], first["exitCode"]) == ("ApplicationExit", 1, 137)
    assert (status["attempt"], status["epoch"], first["action"]) == (1, 1, "RestartInPlace")
    assert pods_of(site, name) == before
    found = site.kubectl.get("pod", pod)
    assert found["spec"]["containers"][0]["restartPolicyRules"][0]["exitCodes"]["values"] == [137]
    assert found["status"]["containerStatuses"][0]["restartCount"] == 1
