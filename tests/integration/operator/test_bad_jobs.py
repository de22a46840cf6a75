"""What is wrong with a job is said in words, at admission or in a condition; nothing else suffers."""

from __future__ import annotations

from typing import Any

import pytest

from drumline.runtime.errors import Invalid
from tests.integration.operator.lab import Lab, condition, reason

pytestmark = pytest.mark.cluster


def _changed(lab: Lab, name: str, **spec: Any) -> dict[str, Any]:
    job = lab.job(name, **spec)
    job["spec"] = {k: v for k, v in job["spec"].items() if v is not None}
    return job


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"workersPerSlice": 0}, "workersPerSlice"),
        ({"slices": 0}, "slices"),
        ({"framework": "tensorflow-1"}, "framework"),
        ({"template": None}, "template"),
        ({"activeDeadlineSeconds": -1}, "activeDeadlineSeconds"),
        ({"unknownField": 1}, "unknownField"),
    ],
)
async def test_the_api_server_refuses_and_names_the_field(lab: Lab, spec: dict[str, Any], field: str) -> None:
    with pytest.raises(Exception, match=field):
        await lab.client.request(
            "POST",
            f"/apis/drumline.dev/v1alpha1/namespaces/{lab.namespace}/trainingjobs",
            body=_changed(lab, "bad", **spec),
            params={"fieldValidation": "Strict"},
        )


async def test_a_name_that_is_too_long_is_refused(lab: Lab) -> None:
    with pytest.raises(Invalid, match="name"):
        await lab.apply(lab.job("x" * 60))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"accelerator": {"type": "h100"}}, ("spec.accelerator.type", "h100", "nvidia-h100-80gb")),
        (
            {"accelerator": {"type": "tpu-v5p", "topology": "3x3x3"}, "workersPerSlice": None},
            ("spec.accelerator.topology", "3x3x3"),
        ),
        ({"template": {"spec": {"containers": []}}}, ("spec.template.spec.containers",)),
        (
            {
                "template": {
                    "spec": {
                        "containers": [
                            {"name": "c", "image": "i", "env": [{"name": "PET_NNODES", "value": "2"}]}
                        ]
                    }
                }
            },
            ("env", "PET_NNODES"),
        ),
    ],
)
async def test_what_the_schema_lets_through_ends_in_invalid_spec(
    lab: Lab, spec: dict[str, Any], words: tuple[str, ...]
) -> None:
    try:
        await lab.apply(_changed(lab, "slips", **spec))
    except Invalid as error:
        message = error.message
    else:
        job = await lab.phase("slips", "Failed")
        assert reason(job, "Failed") == ("True", "InvalidSpec")
        message = condition(job, "Failed")["message"]
    for word in words:
        assert word in message
    assert await lab.pods() == []


async def test_a_template_that_the_api_server_refuses_fails_before_any_pod(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    job = lab.job("refused")
    job["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "Sometimes"
    await lab.apply(job)
    failed = await lab.phase("refused", "Failed")
    assert reason(failed, "Failed") == ("True", "TemplateRefused")
    assert "imagePullPolicy" in condition(failed, "Failed")["message"]
    assert await lab.pods() == []


async def test_a_template_with_an_unknown_field_fails_before_any_pod(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    job = lab.job("typo")
    job["spec"]["template"]["spec"]["containers"][0]["comand"] = ["true"]
    await lab.apply(job)
    failed = await lab.phase("typo", "Failed")
    assert "comand" in condition(failed, "Failed")["message"]


async def test_a_pod_security_level_is_a_reason_to_wait(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    await lab.client.request(
        "PATCH",
        f"/api/v1/namespaces/{lab.namespace}",
        body=label,
        content_type="application/merge-patch+json",
    )
    await lab.apply(lab.job("insecure"))
    job = await lab.until("insecure", lambda j: condition(j, "QuotaReserved").get("reason") == "PodForbidden")
    assert "allowPrivilegeEscalation" in condition(job, "QuotaReserved")["message"]


async def test_a_service_of_the_jobs_name_is_never_adopted(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    service = {"metadata": {"name": "taken"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
    path = f"/api/v1/namespaces/{lab.namespace}/services"
    before = await lab.client.request("POST", path, body=service)
    await lab.apply(lab.job("taken"))
    job = await lab.phase("taken", "Failed")
    assert reason(job, "Failed") == ("True", "NameConflict")
    after = await lab.client.request("GET", f"{path}/taken")
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert await lab.pods() == []


async def test_a_pod_of_the_jobs_name_is_never_adopted(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    pod = {"metadata": {"name": "squat-1-0-1"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    await lab.client.request("POST", f"/api/v1/namespaces/{lab.namespace}/pods", body=pod)
    await lab.apply(lab.job("squat"))
    job = await lab.phase("squat", "Failed")
    assert reason(job, "Failed") == ("True", "NameConflict")
    assert "squat-1-0-1" in condition(job, "Failed")["message"]
    await lab.settle("squat", 1.0)
    assert await lab.pods() == []


async def test_one_bad_job_does_not_hold_up_another(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    bad = lab.job("sick", accelerator={"type": "no-such-thing"})
    await lab.apply(bad)
    await lab.apply(lab.job("well"))
    job = await lab.phase("well", "Running")
    assert job["status"]["attempt"] == 1
    assert reason(await lab.phase("sick", "Failed"), "Failed") == ("True", "InvalidSpec")
