"""The size of an elastic gang, as everything else sees it.

The spec says how many slices are wanted. An attempt may have fewer, so while one holds nodes the spec, the shape and
the roster of an observation are those of the attempt's slices, as `status.slices` has them; `wanted` keeps what is
asked for. Without a placement the gang is as large as it is wanted. Nothing but admission and the policy `resize`
knows of more than one size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from drumline.api.shape import GangShape, with_slices
from drumline.api.status import TrainingJobStatus
from drumline.api.training import TrainingJobSpec
from drumline.core.gang.types import Placement
from drumline.core.training.members import Roster, roster
from drumline.core.training.observation import Observation

Sized = tuple[TrainingJobSpec, GangShape, Roster]


def wanted(obs: Observation) -> int:
    """Slices that are asked for. ValueError without a valid spec."""
    if obs.spec is None:
        raise ValueError("a job without a valid spec has no size")
    return obs.wanted or obs.spec.slices


def slices_of(spec: TrainingJobSpec, status: TrainingJobStatus) -> int:
    """Slices of the gang under `status`; `spec` says what is wanted."""
    held = status.slices if spec.elastic is not None and status.placement is not None else None
    return held or spec.slices


def resized(job: str, spec: TrainingJobSpec, shape: GangShape, slices: int) -> Sized:
    """Spec, shape and roster of the same gang with so many slices."""
    chips = slices * shape.workers_per_slice * shape.chips_per_worker
    spec = with_slices(spec, slices)
    shape = replace(shape, slices=slices, chips=chips)
    return spec, shape, roster(job, spec, shape.workers_per_slice)


def sized(obs: Observation, slices: int) -> Observation:
    """The observation of the same job with so many slices; the very same where it has them, or no valid spec."""
    if obs.spec is None or obs.shape is None or obs.spec.slices == slices:
        return obs
    spec, shape, members = resized(obs.job.name, obs.spec, obs.shape, slices)
    return replace(obs, spec=spec, shape=shape, roster=members, wanted=wanted(obs))


def fitted(obs: Observation, status: TrainingJobStatus) -> Observation:
    """The observation at the size that the gang has under `status`, which may be one that is still to be written."""
    if obs.spec is None or obs.spec.elastic is None:
        return obs
    return sized(obs, slices_of(with_slices(obs.spec, wanted(obs)), status))


def cut(placement: Placement, members: Roster, slices: int) -> Placement:
    """The placement of the first slices of a gang, with all that is no worker's; `members` are those it is for."""
    workers = min(members.slices, slices) * members.workers_per_slice
    return Placement((*placement.nodes[:workers], *placement.nodes[members.workers :]))


def carried(nodes: Sequence[str], before: Roster, after: Roster) -> dict[int, str]:
    """Where the places of a gang of another size were: index → node, those of dropped slices left out."""
    shift = after.workers - before.workers
    workers = dict(enumerate(nodes[: min(before.workers, after.workers)]))
    return workers | {i + shift: node for i, node in enumerate(nodes) if i >= before.workers}
