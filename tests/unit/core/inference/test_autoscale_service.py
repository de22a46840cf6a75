"""The autoscaler over a whole service: which groups count, who sets the number, and how roles keep together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from drumline.api.inference_status import GroupPhase
from drumline.core.inference.autoscale_service import recommend_all
from drumline.core.inference.observation import Observation, RoleChild
from drumline.core.inference.scale import desired
from drumline.core.inference.signals import EngineSample, GroupSignals, Rates, Scaling, Signals
from drumline.core.inference.view import View
from drumline.runtime.service_autoscale import Autoscaler
from tests.unit.core.inference import services

NOW = services.NOW
FREE = {"scaleDown": {"stabilizationSeconds": 0, "groups": 500}, "scaleUp": {"groups": 500}}


def role(name: str = "serve", **autoscaling: Any) -> dict[str, Any]:
    scaling = {
        "minReplicas": 1,
        "maxReplicas": 20,
        "metrics": [{"name": "waiting", "target": 2}],
        "behavior": FREE,
        **autoscaling,
    }
    return services.role(name, autoscaling=scaling)


def says(waiting: float) -> GroupSignals:
    return GroupSignals(EngineSample(NOW, waiting=waiting, running=0.0), window=Rates(60.0))


def observed(raw: dict[str, Any], replicas: int, waiting: dict[int, float], **phases: Any) -> Observation:
    obs = services.service(services.spec(raw, **phases))
    groups = [services.group(n) for n in range(replicas)]
    obs = services.with_groups(obs, raw["name"], *groups)
    signals = Signals({(raw["name"], n): says(w) for n, w in waiting.items()})
    return replace(obs, role_children={raw["name"]: RoleChild("u", replicas)}, signals=signals)


def test_the_load_of_the_groups_that_stay_counts() -> None:
    obs = observed(role(), 2, {0: 4.0, 1: 4.0})
    found, _ = recommend_all(obs, {}, NOW)
    assert (found["serve"].desired, found["serve"].seen) == (4, 2)
    going = services.group(1, phase=GroupPhase.DRAINING, draining_since=services.ago(5))
    leaving = services.with_groups(obs, "serve", services.group(0), going)
    found, _ = recommend_all(leaving, {}, NOW)
    assert found["serve"].desired == 2, "what drains is no part of it"


def test_a_service_that_rests_or_is_scaled_by_others_is_left_alone() -> None:
    assert recommend_all(observed(role(), 2, {}, suspend=True), {}, NOW)[0] == {}
    external = services.role(autoscaling={"mode": "External", "maxReplicas": 5})
    assert recommend_all(observed(external, 2, {}), {}, NOW)[0] == {}


def test_a_stronger_variant_takes_more() -> None:
    raw = {**role(), "variants": [{"accelerator": {"type": "cpu"}, "capacity": 2.0}]}
    obs = observed(raw, 1, {0: 4.0})
    obs = services.with_groups(obs, "serve", services.group(0, variant=1))
    assert recommend_all(obs, {}, NOW)[0]["serve"].desired == 1
    gone = services.with_groups(obs, "serve", services.group(0, variant=7))
    assert recommend_all(gone, {}, NOW)[0]["serve"].desired == 2


def test_a_variant_that_is_full_is_no_measure_of_the_groups_to_come() -> None:
    """Beside one cheap group of capacity 0.25, of which there may be no other, two of capacity 1 take the rest."""
    cheap = {"accelerator": {"type": "nvidia-l4", "chipsPerWorker": 1}, "capacity": 0.25, "maxReplicas": 1}
    raw = {**role(), "accelerator": {"type": "nvidia-a100-80gb", "chipsPerWorker": 1}, "variants": [cheap]}
    obs = observed(raw, 1, {0: 4.0})
    obs = services.with_groups(obs, "serve", services.group(0, variant=1))
    assert recommend_all(obs, {}, NOW)[0]["serve"].desired == 3


def test_prefill_keeps_its_proportion_to_decode() -> None:
    prefill = role("prefill", ratio={"role": "decode", "min": 1, "max": 2})
    obs = services.service(services.spec(prefill, services.role("decode", replicas=3)))
    obs = services.with_groups(obs, "prefill", services.group(0))
    signals = Signals({("prefill", 0): says(0.0)})
    children = {"prefill": RoleChild("u", 1), "decode": RoleChild("v", 3)}
    found, _ = recommend_all(replace(obs, signals=signals, role_children=children), {}, NOW)
    assert (found["prefill"].desired, found["prefill"].reason) == (3, "Ratio")


def test_a_number_set_from_outside_holds_until_the_autoscaler_speaks_again() -> None:
    obs = observed(role(), 2, {})
    word = Scaling(1, seen=2)
    spoken = replace(obs, signals=Signals(scaling={"serve": word}))
    assert desired(View(spoken, NOW, spoken.status), "serve") == 1
    by_hand = replace(spoken, role_children={"serve": RoleChild("u", 7)})
    assert desired(View(by_hand, NOW, by_hand.status), "serve") == 7


def test_a_number_set_from_outside_counts_though_it_is_the_one_that_the_autoscaler_found() -> None:
    """Scaled 1 -> 0 and, before the autoscaler's next word, back to 1 by hand."""
    word = Scaling(0, seen=1, generation=4)
    role_of = role(minReplicas=0, scaleToZero={"idleSeconds": 60})
    obs = replace(observed(role_of, 1, {}), signals=Signals(scaling={"serve": word}))
    for child, number in (
        (RoleChild("u", 1, generation=4), 0),
        (RoleChild("u", 0, generation=5), 0),
        (RoleChild("u", 1, generation=6), 1),
    ):
        seen = replace(obs, role_children={"serve": child})
        assert desired(View(seen, NOW, seen.status), "serve") == number


def test_kubectl_scale_wakes_a_role_at_zero_and_it_stays_for_the_idle_time() -> None:
    zero = role(minReplicas=0, scaleToZero={"idleSeconds": 60})
    autoscaler, asleep = Autoscaler(), observed(zero, 0, {})
    assert autoscaler(asleep, NOW)["serve"].desired == 0
    woken = replace(asleep, role_children={"serve": RoleChild("u", 1)})
    assert autoscaler(woken, NOW + 5)["serve"].desired == 1
    assert autoscaler(woken, NOW + 55)["serve"].desired == 1


def test_requests_that_are_held_wake_a_role() -> None:
    zero = role(minReplicas=0, scaleToZero={"idleSeconds": 60})
    autoscaler, asleep = Autoscaler(), observed(zero, 0, {})
    autoscaler.hold(services.UID, 2.0)
    assert autoscaler(asleep, NOW)["serve"].reason == "RequestsHeld"


def test_what_was_seen_is_remembered_and_forgotten() -> None:
    slow = role(behavior={"scaleDown": {"stabilizationSeconds": 60, "groups": 500}})
    autoscaler = Autoscaler()
    assert autoscaler(observed(slow, 4, dict.fromkeys(range(4), 2.0)), NOW)["serve"].desired == 4
    calm = observed(slow, 4, {})
    fresh = {
        ("serve", n): GroupSignals(EngineSample(NOW + 50, waiting=0.0), window=Rates(60.0)) for n in range(4)
    }
    assert autoscaler(replace(calm, signals=Signals(fresh)), NOW + 50)["serve"].desired == 4
    autoscaler(calm, NOW + 9000)
    assert list(autoscaler._memories) == [services.UID]
