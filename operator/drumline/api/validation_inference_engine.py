"""Whether the engine of an InferenceService can do what the service asks of it, by the engine's preset."""

from __future__ import annotations

from collections.abc import Iterator

from drumline.api.catalog import Catalog
from drumline.api.engines import Supports, preset
from drumline.api.errors import FieldError
from drumline.api.inference import InferenceServiceSpec
from drumline.api.inference_model import Engine, SpeculationMethod
from drumline.api.validation_inference_role import pods_of_a_group

MAX_GROUPS = 1000  # of all roles: each stands in the service's status
MAX_PODS = 10_000  # of all groups: so does the node of each; the API server takes some 1.5 MB


def engine_errors(spec: InferenceServiceSpec, catalog: Catalog) -> Iterator[FieldError]:
    """What the engine can't do; the engine `custom` leaves it to the user's own program."""
    can = preset(spec.engine).supports
    for index, role in enumerate(spec.roles):
        size = pods_of_a_group(role, catalog)
        if size > 1 and not can.multi_host:
            field = "accelerator.topology" if role.accelerator.topology else "groupSize"
            yield _cannot(f"spec.roles[{index}].{field}", f"groups of {size} pods", spec.engine)
    if spec.model is not None and spec.model.adapters and not can.adapters:
        yield _cannot("spec.model.adapters", "adapters", spec.engine)
    if spec.kv_transfer is not None and not can.kv_transfer:
        yield _cannot("spec.kvTransfer", "a transfer of the KV cache", spec.engine)
    yield from _speculation_errors(spec, can)


def _speculation_errors(spec: InferenceServiceSpec, can: Supports) -> Iterator[FieldError]:
    speculative = spec.speculative
    if speculative is None:
        return
    ngram = speculative.method is SpeculationMethod.NGRAM
    if not (can.ngram if ngram else can.draft_model):
        yield _cannot("spec.speculative.method", f"method {speculative.method}", spec.engine)
    if speculative.draft_role is not None and not can.draft_role:
        yield _cannot("spec.speculative.draftRole", "a draft model in a role of its own", spec.engine)
    if speculative.disable_above_running is not None and not can.disable_above_running:
        yield _cannot("spec.speculative.disableAboveRunning", "a limit", spec.engine)


def _cannot(path: str, what: str, engine: Engine) -> FieldError:
    return FieldError(
        path, f"given {what}, which engine {engine} can't do; allowed: absent, or another engine"
    )


def size_errors(spec: InferenceServiceSpec, catalog: Catalog) -> Iterator[FieldError]:
    """More groups, or nodes of their pods, than a status holds."""
    groups = [r.autoscaling.max_replicas if r.autoscaling else r.replicas for r in spec.roles]
    most = sum(groups)
    pods = sum(n * pods_of_a_group(r, catalog) for n, r in zip(groups, spec.roles, strict=True))
    if pods > MAX_PODS:
        yield FieldError("spec.roles", f"given up to {pods} pods; allowed: at most {MAX_PODS} of all roles")
    if most > MAX_GROUPS:
        yield FieldError(
            "spec.roles", f"given up to {most} groups; allowed: at most {MAX_GROUPS} of all roles"
        )
