"""What the autoscaler says stands in the status of each role that it scales."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from drumline.api.inference_status import InferenceServiceStatus, ScalingStatus
from drumline.core.inference.signals import Scaling, Signals
from drumline.core.inference.summary_scaling import scaling_status
from tests.unit.core.inference import services

LIMITS: dict[str, Any] = {"minReplicas": 1, "maxReplicas": 4}
BUILTIN = services.spec(services.role("serve", autoscaling=LIMITS), services.role("other"))
WORD = Scaling(3, "Load", "waiting 5.123, target 2", (("waiting", 5.1234, 2.0),))


def said(
    word: Scaling | None, known: InferenceServiceStatus | None = None
) -> dict[str, ScalingStatus | None]:
    observation = services.service(BUILTIN, signals=Signals(scaling={} if word is None else {"serve": word}))
    if known is not None:
        observation = replace(observation, status=known)
    found = scaling_status(services.view(observation)).status
    return {role.name: role.scaling for role in found.roles}


def known(desired: int) -> InferenceServiceStatus:
    status = services.service(BUILTIN).status
    scaling = ScalingStatus(desired=desired, last_scale_time="2020-01-01T00:00:00Z")
    roles = tuple(r.model_copy(update={"scaling": scaling}) for r in status.roles)
    return status.model_copy(update={"roles": roles})


def test_a_word_is_kept_with_what_it_was_said_of() -> None:
    scaling = said(WORD)["serve"]
    assert scaling is not None
    assert (scaling.desired, scaling.reason, scaling.message) == (3, "Load", WORD.message)
    assert [(m.name, m.value, m.target) for m in scaling.metrics] == [("waiting", 5.12, 2.0)]
    assert said(WORD)["other"] is None


def test_the_time_is_that_of_the_last_change_of_the_number() -> None:
    same, changed = said(WORD, known(3))["serve"], said(WORD, known(2))["serve"]
    assert same is not None
    assert changed is not None
    assert same.last_scale_time == "2020-01-01T00:00:00Z"
    assert changed.last_scale_time != same.last_scale_time


def test_what_was_said_stays_until_something_is_said_again_and_goes_with_the_autoscaling() -> None:
    found = said(None, known(2))
    assert found["serve"] is not None
    assert found["serve"].desired == 2
    assert found["other"] is None
    assert said(None)["serve"] is None
