"""The pod that holds a spare's place: a worker's resources and images, nothing of its work."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from drumline.api import meta
from drumline.api.catalog import Catalog
from drumline.api.names import longest_names
from drumline.api.training import TrainingJobSpec
from drumline.core.gang.names import controller_uid, member_of
from drumline.core.gang.pods import PodSettings
from drumline.core.gang.projection import shape_of
from drumline.core.training.observation import JobMeta
from drumline.core.training.render import prepare_gang
from drumline.core.training.request import gang_request
from drumline.core.training.spares_render import PreparedSpares, prepare_spares
from drumline.runtime.records import JobReader

JOB = JobMeta("ml", "llama", "uid-1", 1, "1", 0.0)
IMAGE = "example.org/drumline:1"
GPU = {"type": "nvidia-h100-80gb"}


def container(image: str = "img", **more: Any) -> dict[str, Any]:
    return {"name": "train", "image": image, **more}


def parsed(pod: dict[str, Any], **spec: Any) -> TrainingJobSpec:
    template = {"metadata": {"labels": {"app": "mine", "app.kubernetes.io/name": "mine"}}, "spec": pod}
    return TrainingJobSpec.model_validate(
        {"framework": "torch", "accelerator": GPU, "spares": 2, "template": template, **spec}
    )


def prepared(pod: dict[str, Any], *, pull: bool = True, **spec: Any) -> tuple[PreparedSpares, dict[str, Any]]:
    """The spares, and the spec of a worker beside them."""
    job = parsed(pod, **spec)
    gang = prepare_gang(JOB, job, Catalog.default(), 4)
    return prepare_spares(gang, job, IMAGE, PodSettings(), pull_images=pull), gang.worker(0, "n")["spec"]


def test_a_spare_has_the_devices_that_a_worker_claims() -> None:
    claims = [{"name": "gpu", "resourceClaimTemplateName": "eight"}]
    used = container(resources={"claims": [{"name": "gpu"}]})
    spares, worker = prepared(
        {"containers": [used], "resourceClaims": claims}, accelerator={**GPU, "resourceClaim": "gpu"}
    )
    spare = spares.pod(0, "n")["spec"]
    assert shape_of(spare).claims == shape_of(worker).claims == ("eight",)
    assert dict(shape_of(spare).requests) == dict(shape_of(worker).requests)


def test_a_spare_is_named_and_labelled_for_what_it_is() -> None:
    spares, _ = prepared({"containers": [container()]})
    metadata = spares.pod(1, "n")["metadata"]
    assert metadata["name"] == spares.name_of(1) == "llama-4-spare-1"
    labels = metadata["labels"]
    assert (labels[meta.LABEL_ROLE], labels[meta.LABEL_WORKER]) == ("spare", "1")
    assert "app" not in labels
    assert labels[meta.APP_NAME] == "trainingjob"
    assert not {meta.LABEL_RANK, meta.LABEL_SLICE} & labels.keys()
    member = member_of(labels, controller_uid(metadata))
    assert member is not None
    assert (member.job, member.role, member.attempt, member.worker) == ("llama", "spare", 4, 1)


def test_its_name_is_no_longer_than_validation_reckons_with() -> None:
    spec = parsed({"containers": [container()]}, spares=11)
    assert "llama-99999-spare-10" in longest_names("llama", spec, 1)


def test_it_takes_what_a_worker_takes() -> None:
    sidecar = container("side", name="side", restartPolicy="Always", resources={"requests": {"cpu": "250m"}})
    pod = {
        "nodeSelector": {"zone": "a"},
        "tolerations": [{"key": "mine", "operator": "Exists"}],
        "initContainers": [sidecar],
        "containers": [
            container(
                resources={"requests": {"cpu": "1500m", "memory": "3Gi"}, "limits": {"cpu": 4}},
                ports=[{"name": "rdzv", "containerPort": 29400, "hostPort": 29400}, {"containerPort": 80}],
            )
        ],
    }
    spares, worker = prepared(pod)
    ours = spares.pod(0, "n")["spec"]
    assert shape_of(ours) == shape_of(worker)
    (holder,) = ours["containers"]
    assert holder["resources"]["limits"] == holder["resources"]["requests"]
    assert holder["resources"]["limits"]["nvidia.com/gpu"] == "8"
    assert holder["ports"] == [{"containerPort": 29400, "hostPort": 29400}]


@given(
    st.lists(st.tuples(st.integers(1, 64_000), st.integers(1, 2**40), st.booleans()), min_size=1, max_size=4)
)
def test_whatever_a_worker_requests_a_spare_does(asked: list[tuple[int, int, bool]]) -> None:
    def one(number: int, cpu: int, memory: int) -> dict[str, Any]:
        resources = {"requests": {"cpu": f"{cpu}m", "memory": str(memory)}}
        return container(name=f"c{number}", resources=resources)

    rows = [(one(i, cpu, memory), init and i > 0) for i, (cpu, memory, init) in enumerate(asked)]
    pod = {
        "containers": [c for c, init in rows if not init],
        "initContainers": [c for c, init in rows if init],
    }
    spares, worker = prepared(pod)
    assert shape_of(spares.pod(0, "n")["spec"]) == shape_of(worker)


def test_its_images_are_volumes_each_once_and_not_its_own() -> None:
    pod = {
        "imagePullSecrets": [{"name": "registry"}],
        "serviceAccountName": "trainer",
        "initContainers": [
            container("setup", name="setup", imagePullPolicy="Always"),
            container(IMAGE, name="l"),
        ],
        "containers": [container("img"), container("img", name="twin")],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "c"}}],
    }
    spares, _ = prepared(pod)
    ours = spares.pod(0, "n")["spec"]
    assert [v["image"] for v in ours["volumes"]] == [
        {"reference": "setup", "pullPolicy": "Always"},
        {"reference": "img"},
    ]
    assert len({v["name"] for v in ours["volumes"]}) == 2
    assert "volumeMounts" not in ours["containers"][0]
    assert (ours["imagePullSecrets"], ours["serviceAccountName"]) == ([{"name": "registry"}], "trainer")


def test_without_image_volumes_it_holds_the_place_all_the_same() -> None:
    spares, worker = prepared({"containers": [container()]}, pull=False)
    ours = spares.pod(0, "n")["spec"]
    assert "volumes" not in ours
    assert shape_of(ours) == shape_of(worker)


def test_it_runs_nothing_of_the_users_and_leaves_within_a_second() -> None:
    pod = {
        "containers": [container(command=["train"], env=[{"name": "A", "value": "b"}])],
        "dnsPolicy": "None",
    }
    spares, _ = prepared(pod)
    ours = spares.pod(0, "n")["spec"]
    (holder,) = ours["containers"]
    assert holder["command"] == ["python", "-m", "drumline.worker.hold"]
    assert holder["env"] == []
    assert ours["terminationGracePeriodSeconds"] == 1
    assert ours["automountServiceAccountToken"] is False
    assert "subdomain" not in ours
    assert ours["restartPolicy"] == "Never"
    security = holder["securityContext"]
    assert (security["runAsNonRoot"], security["capabilities"]) == (True, {"drop": ["ALL"]})


def test_what_repels_a_spares_labels_is_looked_for() -> None:
    request = gang_request(JOB, parsed({"containers": [container()]}), Catalog.default(), queued_at=0.0)
    assert request.spares == 2
    assert [labels[meta.LABEL_ROLE] for labels in request.labels] == ["worker", "spare"]


def test_a_template_that_no_spare_can_be_made_from_is_refused() -> None:
    raw = {
        "accelerator": {"type": "cpu"},
        "spares": 1,
        "template": {"spec": {"hostNetwork": True, "containers": [container(ports=["odd"])]}},
    }
    document = {
        "metadata": {"namespace": "ml", "name": "llama", "uid": "u", "resourceVersion": "1"},
        "spec": raw,
    }
    errors = JobReader(Catalog.default()).read(document).errors
    assert [e.path for e in errors] == ["spec.template"]
