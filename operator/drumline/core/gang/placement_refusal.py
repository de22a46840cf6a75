"""Why a gang cannot be placed, in numbers that help: what it needs, what there is, what rules out the rest."""

from __future__ import annotations

from collections.abc import Iterable

from drumline.api.reasons import Reason
from drumline.core.gang.capacity_index import KEPT, ROOT, ShapeIndex
from drumline.core.gang.devices import PREFIX
from drumline.core.gang.placement_pools import whole_pools
from drumline.core.gang.projection_shape import CLAIM_PREFIX
from drumline.core.gang.types import GangRequest, PodGroupRequest, PodShape, Refusal


def unknown_level(level: str, known: tuple[str, ...]) -> Refusal:
    """The level is none of this cluster's."""
    return Refusal(
        Reason.TOPOLOGY_UNSATISFIABLE, f"no topology level is called {level!r}; known: {', '.join(known)}"
    )


def unmodelled(shapes: Iterable[PodShape]) -> Refusal | None:
    """What no placement can judge. Claims are left out: what knows their volumes can judge them."""
    names = {name for s in shapes for name in s.unmodelled if not name.startswith(CLAIM_PREFIX)}
    if not names:
        return None
    text = f"gang placement does not model {', '.join(sorted(names))}; remove it from the template"
    return Refusal(Reason.UNSUPPORTED_SCHEDULING, text)


def too_few(request: GangRequest, index: ShapeIndex) -> Refusal:
    """The whole cluster has too little free."""
    need, free, kept = request.workers, index.free, sum(index.kept.values())
    if free >= need:
        return _too_few_groups(request, index)
    text = f"needs {_amount(request, need)}; {_count(request, free)} free"
    if need <= free + kept:
        nodes = len(index.kept)
        return Refusal(
            Reason.HEAD_OF_QUEUE_RESERVED,
            f"{text}, {_count(request, kept)} more on {_nodes(nodes)} kept for a gang ahead in the queue",
        )
    reason = Reason.INSUFFICIENT_ACCELERATORS if _some_could(index) else Reason.NO_FEASIBLE_NODE
    return Refusal(reason, f"{text} ({_survey(request, index)})")


def _too_few_groups(request: GangRequest, index: ShapeIndex) -> Refusal:
    """There is enough, but not in whole groups."""
    size = index.grouping.size
    level = index.hierarchy.level_name(index.grouping.depth)
    count = request.workers // size
    groups = "1 group" if count == 1 else f"{count} groups"
    text = f"needs {groups} of {_amount(request, size)}, each in one {level}"
    there = index.sums[ROOT] // size
    return Refusal(
        Reason.TOPOLOGY_UNSATISFIABLE,
        f"{text}; of the {_count(request, index.free)} free there {'is 1' if there == 1 else f'are {there}'}",
    )


def too_scattered(request: GangRequest, index: ShapeIndex, depth: int) -> Refusal:
    """There is enough, but not in one domain."""
    level = index.hierarchy.level_name(depth)
    most = index.level(depth).most()
    text = f"needs {_amount(request, request.workers)} in one {level}; "
    if most:
        text += f"the largest free {level} has {_count(request, most)}"
    else:
        text += f"no node with free capacity has a {level}'s label"
    return Refusal(Reason.TOPOLOGY_UNSATISFIABLE, text)


def no_pools(request: GangRequest, index: ShapeIndex) -> Refusal:
    """Too few whole and free node pools."""
    size = request.workers_per_slice
    whole = sum(1 for _ in whole_pools(request, index))
    text = f"needs {request.slices} × {request.accelerator or 'accelerator'} node pool of {_nodes(size)}, each whole and free; "
    if whole >= request.slices:
        return Refusal(Reason.TOPOLOGY_UNSATISFIABLE, f"{text}{whole} are, but not in one {request.level}")
    reason = Reason.INSUFFICIENT_ACCELERATORS if _some_could(index) else Reason.NO_FEASIBLE_NODE
    if KEPT in +index.obstacles and index.sums[ROOT] + sum(index.kept.values()) >= request.workers:
        reason = Reason.HEAD_OF_QUEUE_RESERVED
    return Refusal(reason, f"{text}{whole} {'is' if whole == 1 else 'are'} ({_survey(request, index)})")


def no_room_for_helper(request: GangRequest, helper: PodGroupRequest, index: ShapeIndex) -> Refusal:
    """The workers fit, a helper does not."""
    reason = Reason.INSUFFICIENT_ACCELERATORS if _some_could(index) else Reason.NO_FEASIBLE_NODE
    text = f"helper {helper.role} needs room for {helper.count} × pod beside the workers; there is room for {index.sums[ROOT]}"
    return Refusal(reason, f"{text} ({_survey(request, index)})")


def _some_could(index: ShapeIndex) -> bool:
    """Some node takes the shape, or would if pods left it."""
    return index.sums[ROOT] > 0 or any(o.startswith("insufficient ") or o == KEPT for o in +index.obstacles)


def _survey(request: GangRequest, index: ShapeIndex) -> str:
    total = index.nodes_in[ROOT]
    counts = sorted((+index.obstacles).items(), key=lambda entry: (-entry[1], entry[0]))
    parts = [f"{count} {obstacle}" for obstacle, count in counts]
    if request.excluded:
        parts.append(f"{len(request.excluded & index.chains.keys())} excluded after failures")
    if repelled := len(request.repelled & index.chains.keys()):
        parts.append(f"{repelled} with a pod whose anti-affinity keeps it off")
    return f"{index.usable}/{_nodes(total)} usable" + (f": {', '.join(parts)}" if parts else "")


def _amount(request: GangRequest, workers: int) -> str:
    """Accelerators that so many workers have; where they have none, the workers themselves."""
    devices = ", ".join(f"{n} {name}" for name, n in request.worker.requests if name.startswith(PREFIX))
    if request.chips_per_worker and request.accelerator:
        what = f"{workers * request.chips_per_worker} × {request.accelerator}"
        return f"{what} (each worker {devices})" if devices else what
    return f"{workers} × worker (each {devices})" if devices else f"{workers} × worker"


def _count(request: GangRequest, workers: int) -> str:
    return str(workers * (request.chips_per_worker or 1) if request.accelerator else workers)


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
