"""Every worker finds rank 0 by its name within the first second of its program's life."""

import json
from typing import Any

from e2e.cluster import images
from e2e.demo_site import Site
from e2e.suites.kubectl import until

_WORKERS = 4
_FIND_RANK_ZERO = """
import json, socket, time
born = time.monotonic()
tries = 0
while time.monotonic() - born < 30:
    tries += 1
    try:
        address = socket.gethostbyname("early-0-0.early")
    except OSError:
        time.sleep(0.02)
        continue
    print(json.dumps({"address": address, "seconds": time.monotonic() - born, "tries": tries}))
    break
time.sleep(2)
"""


def test_rank_zero_is_found_in_the_first_second(site: Site) -> None:
    site.kubectl.apply(_job())
    until(lambda: _phase(site) in {"Succeeded", "Failed"}, "the job to end", 180)
    assert _phase(site) == "Succeeded"
    address = site.kubectl.get("pod", "early-1-0-0")["status"]["podIP"]
    found = [json.loads(site.kubectl.logs(f"early-1-0-{worker}")) for worker in range(_WORKERS)]
    site.say(f"rank 0 was found after {[round(entry['seconds'], 2) for entry in found]} s")
    assert {entry["address"] for entry in found} == {address}
    assert max(entry["seconds"] for entry in found) < 1


def _phase(site: Site) -> str:
    status = site.kubectl.get("trainingjob", "early").get("status", {})
    return str(status.get("phase", ""))


def _job() -> dict[str, Any]:
    container = {
        "name": "worker",
        "image": images.BASE,
        "command": ["python3", "-u", "-c", _FIND_RANK_ZERO],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
    }
    return {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "early"},
        "spec": {
            "framework": "none",
            "accelerator": {"type": "cpu"},
            "workersPerSlice": _WORKERS,
            "template": {"spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}},
        },
    }
