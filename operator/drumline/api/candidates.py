"""Which accelerator a job is to have: its own, or one of `spec.accelerator.candidates`.

They are numbered: 0 is `spec.accelerator` itself, n the n-th candidate. Everything but this module sees one spec,
the *effective* one, in which `spec.accelerator` is what the number says.
"""

from __future__ import annotations

from typing import Final

from drumline.api.training import TrainingJobSpec

FALLBACK_SECONDS: Final = 600


def choices(spec: TrainingJobSpec) -> int:
    """How many accelerators there are to choose from."""
    return 1 + len(spec.accelerator.candidates)


def with_candidate(spec: TrainingJobSpec, number: int) -> TrainingJobSpec:
    """The effective spec of a spec as it was written; the very same for 0, and for a number there is no candidate of."""
    if not 0 < number < choices(spec):
        return spec
    chosen = spec.accelerator.candidates[number - 1]
    told = {
        "type": chosen.type,
        "topology": chosen.topology,
        "chips_per_worker": chosen.chips_per_worker,
        "node_selector": chosen.node_selector,
    }
    return spec.model_copy(update={"accelerator": spec.accelerator.model_copy(update=told)})


def following(spec: TrainingJobSpec, number: int) -> int:
    """The number of the accelerator to try after `number`; after the last one the first."""
    return (number + 1) % choices(spec)


def in_words(spec: TrainingJobSpec, number: int) -> str:
    """The accelerator with that number, for people; `spec` may be the effective one of any number but 0's."""
    if not 0 < number < choices(spec):
        return "its first accelerator"
    chosen = spec.accelerator.candidates[number - 1]
    selector = ", ".join(f"{k}={v}" for k, v in sorted(chosen.node_selector.items()))
    return " ".join(filter(None, (chosen.type, chosen.topology, f"with {selector}" if selector else "")))
