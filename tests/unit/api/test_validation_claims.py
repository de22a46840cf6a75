"""Accelerators that a claim brings: the claim is there, and nothing else brings them."""

from __future__ import annotations

from typing import Any

import pytest

from drumline.api.catalog import Catalog
from drumline.api.inference import InferenceServiceSpec
from drumline.api.validation_inference import validate_service
from tests.unit.api.inference_specs import role
from tests.unit.api.inference_specs import template as engine
from tests.unit.api.specs import container, errors_of, template

BY_CLAIM = {"type": "nvidia-h100-80gb", "chipsPerWorker": 2, "resourceClaim": "gpu"}
FROM_TEMPLATE = {"name": "gpu", "resourceClaimTemplateName": "two"}
LIMIT = {"limits": {"nvidia.com/gpu": 2}}


def said(accelerator: dict[str, Any], **pod: Any) -> list[str]:
    return [str(error) for error in errors_of(accelerator=accelerator, template=template(**pod))]


def test_a_claim_of_the_template_brings_the_accelerators() -> None:
    assert said(BY_CLAIM, resourceClaims=[FROM_TEMPLATE]) == []


def test_claims_beside_extended_resources_are_nobodys_business() -> None:
    nic = {"name": "nic", "resourceClaimTemplateName": "nic"}
    assert said({"type": "nvidia-h100-80gb"}, resourceClaims=[nic]) == []


@pytest.mark.parametrize(
    ("accelerator", "pod", "text"),
    [
        (
            BY_CLAIM,
            {},
            "given 'gpu'; allowed: the name of one of spec.template.spec.resourceClaims (none, as",
        ),
        (
            BY_CLAIM,
            {"resourceClaims": [{"name": "b"}, {"name": "a"}]},
            "given 'gpu'; allowed: the name of one of spec.template.spec.resourceClaims (a, b)",
        ),
        (
            BY_CLAIM,
            {"resourceClaims": [{"name": "gpu", "resourceClaimName": "one"}]},
            "given 'gpu', a claim that pods share; allowed: one with a resourceClaimTemplateName",
        ),
        (
            {"type": "cpu", "resourceClaim": "gpu"},
            {"resourceClaims": [FROM_TEMPLATE]},
            "given 'gpu'; allowed: absent, cpu has no chips",
        ),
        ({**BY_CLAIM, "resourceClaim": "GPU"}, {}, "given 'GPU'"),
    ],
)
def test_a_claim_that_cannot_bring_them_is_named(
    accelerator: dict[str, Any], pod: dict[str, Any], text: str
) -> None:
    (error,) = said(accelerator, **pod)
    assert error.startswith(f"spec.accelerator.resourceClaim: {text}")


def test_the_extended_resource_beside_the_claim_is_refused() -> None:
    (error,) = said(
        BY_CLAIM,
        resourceClaims=[FROM_TEMPLATE],
        containers=[container(), container(name="b", resources=LIMIT)],
    )
    assert error == (
        "spec.template.spec.containers[1].resources.limits[nvidia.com/gpu]: given 2; allowed: absent, as the claim "
        "'gpu' brings the chips"
    )


def test_roles_of_a_service_are_held_to_the_same() -> None:
    raw = {
        "engine": "vllm",
        "model": {"name": "m", "source": "hf://m"},
        "roles": [role(accelerator=BY_CLAIM, template=engine())],
    }
    errors = validate_service("chat", InferenceServiceSpec.model_validate(raw), Catalog.default())
    assert [e.path for e in errors] == ["spec.roles[0].accelerator.resourceClaim"]
