"""AcceleratorQueues by the seed: two that lend each other all they have, so that what is borrowed is taken back.

Together they own the cluster: whatever fits it fits their quotas, and no job waits for ever.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from e2e.chaos.scripts import Script
from e2e.chaos.services import Service

NAMES = ("chaos-a", "chaos-b")


def queue(name: str, chips: int) -> dict[str, Any]:
    """One that owns so many chips and may borrow as many."""
    quota = {"accelerator": "nvidia-h100-80gb", "nominalQuota": chips, "borrowingLimit": chips}
    preemption = {"withinQueue": "LowerPriority", "reclaimWithinCohort": "Any", "minRunSeconds": 3}
    return {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "AcceleratorQueue",
        "metadata": {"name": name},
        "spec": {"cohort": "chaos", "quotas": [quota], "preemption": preemption, "namespaceSelector": {}},
    }


def queued(
    seed: int, scripts: Sequence[Script], services: Sequence[Service]
) -> tuple[list[Script], list[Service], tuple[str, ...]]:
    """The same in queues, in every third seed; and the names of these."""
    chance = random.Random(f"queues of {seed}")
    if chance.random() > 0.35:
        return list(scripts), list(services), ()
    in_queues = [replace(script, queue=chance.choice(NAMES)) for script in scripts]
    return in_queues, [replace(service, queue=chance.choice(NAMES)) for service in services], NAMES
