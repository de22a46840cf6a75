"""The way back from a failure, in the phases in which people think of it.

    detect      from the failure to the decision: `AttemptStatus.detection` of the attempt that failed
    teardown    draining
    placement   placement, queued, suspended: no attempt is under way, backoff included
    bind        binding, provisioning
    pull        pod_init, image_pull
    rendezvous  gang_wait, device_init
    restore     checkpoint_restore
    compile     compile
    other       every other state of the ledger

All but the first are of the ledger: `AttemptStatus.recovery` of the attempt that came back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from drumline.api.goodput import State
from drumline.api.status import AttemptStatus
from drumline.core.training.accounts import latest_failure

DETECT: Final = "detect"
OTHER: Final = "other"
TOTAL: Final = "total"
PHASE_OF: Final[Mapping[str, str]] = MappingProxyType(
    {
        State.DRAINING.value: "teardown",
        "placement": "placement",
        State.QUEUED.value: "placement",
        State.SUSPENDED.value: "placement",
        State.BINDING.value: "bind",
        State.PROVISIONING.value: "bind",
        State.POD_INIT.value: "pull",
        State.IMAGE_PULL.value: "pull",
        State.GANG_WAIT.value: "rendezvous",
        State.DEVICE_INIT.value: "rendezvous",
        State.CHECKPOINT_RESTORE.value: "restore",
        State.COMPILE.value: "compile",
    }
)
ORDER: Final = (DETECT, *dict.fromkeys(PHASE_OF.values()), OTHER)


def way_back(attempts: Sequence[AttemptStatus], attempt: AttemptStatus) -> dict[str, int]:
    """Wall milliseconds by phase, in their order, and the `total` last; empty where there was no way back, or is still.

    `attempts` are those that are kept, `attempt` among them. A detection that is not known is not in it.
    """
    if not attempt.recovery:
        return {}
    states = {state.phase: state.ms for state in attempt.recovery}
    total = states.pop(TOTAL, sum(states.values()))
    spent: dict[str, int] = {}
    failed = latest_failure(attempts[: attempts.index(attempt)])
    if failed is not None and failed.detection is not None:
        spent[DETECT] = failed.detection.ms
    for state, ms in states.items():
        phase = PHASE_OF.get(state, OTHER)
        spent[phase] = spent.get(phase, 0) + ms
    in_order = {phase: spent[phase] for phase in ORDER if phase in spent}
    return {**in_order, TOTAL: total + spent.get(DETECT, 0)}
