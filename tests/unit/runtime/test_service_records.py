"""InferenceServices as the operator reads them."""

from __future__ import annotations

from typing import Any

from drumline.api.catalog import Catalog
from drumline.runtime.service_records import ServiceReader, read_role
from tests.unit.core.inference import services

BASE = Catalog.default()


def document(spec: dict[str, Any] | None = None, generation: int = 1, **metadata: Any) -> dict[str, Any]:
    names = {"namespace": "ns", "name": "chat", "uid": "u", "resourceVersion": "1", "generation": generation}
    return {"metadata": {**names, **metadata}, "spec": services.spec() if spec is None else spec}


def test_a_service_is_read_with_its_own_annotations_alone() -> None:
    annotations = {"drumline.dev/promote": "chat-1", "example.org/x": "y"}
    record = ServiceReader(BASE).read(document(annotations=annotations, labels={"team": "a"}))
    assert record.key == ("ns", "chat")
    assert record.spec is not None
    assert record.meta.annotations == {"drumline.dev/promote": "chat-1"}
    assert record.meta.labels == {"team": "a"}


def test_a_spec_is_parsed_once_for_each_generation() -> None:
    reader = ServiceReader(BASE)
    first = reader.read(document())
    again = reader.read(document())
    assert again.spec is first.spec
    changed = reader.read(document(services.spec(services.role(replicas=3)), generation=2))
    assert changed.spec is not None
    assert changed.spec.roles[0].replicas == 3


def test_a_malformed_spec_gives_errors_and_no_exception() -> None:
    reader = ServiceReader(BASE)
    assert reader.read(document({"roles": [{"name": "serve"}]})).errors
    odd = services.spec(services.role(template={"spec": {"containers": [{"name": "x", "env": "no list"}]}}))
    record = reader.read(document(odd, uid="v"))
    assert record.spec is None
    assert all(error.path.startswith("spec") for error in record.errors)


def test_a_service_is_judged_by_the_catalogue_in_force() -> None:
    reader = ServiceReader(BASE)
    gpu = services.spec(services.role(accelerator={"type": "nvidia-l4", "chipsPerWorker": 1}))
    record = reader.read(document(gpu))
    assert reader.judged(record) is record
    reader.catalog = BASE.merged({"nvidia-l4": None})
    judged = reader.judged(record)
    assert judged.spec is None
    assert judged.errors
    reader.catalog = BASE
    assert reader.judged(judged).spec is not None


def test_a_role_is_read_with_its_number_of_groups() -> None:
    owner = {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "InferenceService",
        "uid": "u",
        "controller": True,
    }
    metadata = {"namespace": "ns", "name": "chat-serve", "uid": "r", "ownerReferences": [owner]}
    role = read_role({"metadata": metadata, "spec": {"role": "serve", "replicas": 4}})
    assert (role.owner, role.role, role.replicas, role.status) == ("u", "serve", 4, {})
