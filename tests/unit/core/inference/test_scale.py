"""How many groups a role should have, whoever says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drumline.core.gang.plan import Create
from drumline.core.inference.observation import RoleChild
from drumline.core.inference.role_objects import kept
from drumline.core.inference.scale import desired
from drumline.core.inference.signals import Scaling, Signals
from tests.unit.core.inference import services

BUILTIN = {"minReplicas": 2, "maxReplicas": 6}
EXTERNAL = {"mode": "External", "minReplicas": 2, "maxReplicas": 6}
ZERO = {"minReplicas": 0, "maxReplicas": 6, "scaleToZero": {"idleSeconds": 60}}


def wanted(autoscaling=None, child=None, word=None, **changes):
    extra = {} if autoscaling is None else {"autoscaling": autoscaling}
    raw = services.spec(services.role(replicas=3, **extra), **changes)
    observation = services.service(
        raw,
        role_children={} if child is None else {"serve": RoleChild("uid", child)},
        signals=Signals(scaling={} if word is None else {"serve": Scaling(word)}),
    )
    return desired(services.view(observation), "serve")


@pytest.mark.parametrize(
    ("autoscaling", "child", "word", "expected"),
    [
        (None, None, None, 3),
        (None, 9, 9, 3),
        (EXTERNAL, None, None, 3),
        (EXTERNAL, 5, 1, 5),
        (EXTERNAL, 0, None, 0),
        (EXTERNAL, 50, None, 6),
        (BUILTIN, None, None, 3),
        (BUILTIN, 5, None, 5),
        (BUILTIN, 5, 4, 4),
        (BUILTIN, 5, 0, 2),
        (BUILTIN, 5, 99, 6),
        (ZERO, 5, 0, 0),
    ],
)
def test_the_number_of_groups(autoscaling, child, word, expected) -> None:
    assert wanted(autoscaling, child, word) == expected


def test_a_suspended_service_and_an_unknown_role_should_have_none() -> None:
    assert wanted(suspend=True) == 0
    assert desired(services.view(services.service()), "other") == 0


@pytest.mark.parametrize("autoscaling", [EXTERNAL, BUILTIN])
def test_a_role_whose_inference_role_was_deleted_keeps_its_groups(autoscaling) -> None:
    """Else whoever deletes it takes out of service what an autoscaler had asked for."""
    raw = services.spec(services.role(replicas=3, autoscaling=autoscaling))
    observation = services.serving(services.service(raw), count=5)
    (known,) = observation.status.roles
    status = observation.status.model_copy(update={"roles": (known.model_copy(update={"desired": 5}),)})
    view = services.view(replace(observation, status=status, role_children={}))
    assert desired(view, "serve") == 5
    (create,) = [a for a in services.actions(kept(view)) if isinstance(a, Create)]
    assert create.manifest["spec"]["replicas"] == 5
