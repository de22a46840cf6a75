"""The processes of a gang, as their launchers tell of them."""

from __future__ import annotations

from dataclasses import dataclass

from drumline.api.orders import ProcessState


@dataclass(frozen=True, slots=True)
class Process:
    """One worker's process. `at`: when its launcher first said this, Unix seconds."""

    epoch: int
    state: ProcessState
    origin: str  # of its launcher: another one means that the container was restarted
    at: float
    exit_code: int = 0
    text: str = ""
    seen: int = 0  # number of the last order that it carried out
    stacks: str = ""
    reason: str = ""  # OOMKilled where the kernel says so
