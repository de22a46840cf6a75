"""Who admits a service's groups, as its queue and the configuration say; and whom a backend's news wake."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drumline.core.gang.backends.base import Found
from drumline.core.gang.backends.registry import OURS, BackendSettings
from drumline.core.inference.backing import refusal
from drumline.core.inference.observation import Observation
from drumline.core.inference.policies.admission import request_of
from drumline.runtime.backends import Backends
from drumline.runtime.preflight import Cleared, Preflight
from drumline.runtime.service_backends import join, told
from drumline.runtime.service_gangs import objects_of, samples_of
from tests.unit.core.inference import elsewhere, services
from tests.unit.core.inference.elsewhere import NEED, THEIRS, found
from tests.unit.core.inference.services import NOW, UID
from tests.unit.runtime.service_lab import KEY, Lab
from tests.unit.runtime.test_service_preflight import Api

NAME = "chat-serve-1-0-g"
LEFT = services.starting(nodes=("", ""), backend="native")


class Stocked(Backends):
    """Backends that serve PodGroups, and have these of them."""

    def __init__(self, default: str = "builtin", queue: str = "", *there: Found) -> None:
        super().__init__(
            None, default, BackendSettings(), lambda name: queue if name else "", lambda _: "rack"
        )  # type: ignore[arg-type]
        self._served = frozenset({NEED})
        self.there = {("ns", f.document["metadata"]["name"]): f for f in there}

    def named(self, namespace: str, name: str):
        """What there is under that name."""
        return (f for key, f in self.there.items() if key == (namespace, name))

    @property
    def known(self):
        """All of it."""
        return frozenset({NEED})


def service(backend: str | None = None, *groups, **changes: object) -> Observation:
    raw = elsewhere.raw(scheduling={"backend": backend} if backend else {}, **changes)
    return services.with_groups(services.service(raw), "serve", *groups)


@pytest.mark.parametrize(
    ("named", "of_queue", "default", "queue", "chosen"),
    [
        (None, "", "builtin", "", "builtin"),
        (None, "", "native", "", "native"),
        (None, "native", "kueue", "research", "native"),
        (None, "native", "kueue", "", "kueue"),
        ("builtin", "native", "kueue", "research", "builtin"),
        ("native", "kueue", "builtin", "research", "native"),
    ],
)
def test_the_service_is_asked_first_then_its_queue_then_the_configuration(
    named: str | None, of_queue: str, default: str, queue: str, chosen: str
) -> None:
    seen = told(Stocked(default, of_queue), replace(service(named), queue=queue))
    assert seen.backend.name == chosen


def test_a_service_of_ours_is_left_as_it_is_and_one_of_the_edge_is_always() -> None:
    plain = service()
    assert told(Stocked(), plain) is plain
    role = {**services.role(groupSize=1)}
    edge = services.service(services.spec(role, profile="edge"))
    assert told(Stocked("native"), edge).backend is OURS


def test_a_running_attempt_is_told_of_with_what_its_backend_has_of_it() -> None:
    other = found("chat-serve-1-1-g")
    foreign = Found(NEED, "uid-x", {"metadata": {"name": NAME, "namespace": "ns", "ownerReferences": []}})
    seen = told(Stocked("builtin", "", found(NAME), other), service(None, LEFT))
    assert (seen.backend, seen.backends["native"].adapter) == (OURS, THEIRS.adapter)
    assert [f.document["metadata"]["name"] for f in seen.theirs] == [NAME]
    assert told(Stocked("builtin", "", foreign), service(None, LEFT)).theirs == ()


def test_a_new_attempt_is_refused_where_the_backends_objects_may_not_be_listed() -> None:
    class Denied(Stocked):
        known = denied = frozenset()  # type: ignore[assignment]

    blind = Denied()
    unseen = told(blind, service("native", LEFT))
    assert (unseen.discovered, unseen.theirs_denied) == (False, frozenset())
    Denied.denied, blind.discovered = frozenset({NEED}), True  # type: ignore[assignment, misc]
    seen = told(blind, service("native", LEFT))
    assert seen.backend.adapter is None
    assert seen.backends["native"].adapter is THEIRS.adapter
    assert (seen.discovered, seen.theirs_denied) == (True, {NEED})
    message = refusal(services.view(seen), "serve", services.waiting())
    assert message is not None
    assert message.reason == "BackendUnavailable"
    assert "chart's `backends`" in message.message


def test_what_changes_at_a_backend_wakes_the_service() -> None:
    lab, stocked, looked = Lab(), Stocked(), []
    lab.sees(service(None, LEFT))
    join(stocked, lab.world, looked.append)
    stocked.changed("ns", found(NAME))
    stocked.changed(
        "ns", Found(NEED, "u", {"metadata": {"ownerReferences": [{"kind": "Job", "name": "j", "uid": "x"}]}})
    )
    stocked.appeared()
    assert looked == [KEY, KEY]


async def test_its_pods_are_tried_with_their_marks_and_its_object_too() -> None:
    waits = service("native", services.waiting())
    view = services.view(replace(waits, backend=THEIRS, backends={"native": THEIRS}))
    request = request_of(view, "serve", services.waiting())
    assert [s.manifest["spec"]["schedulingGroup"] for s in samples_of(view, request)] == [
        {"podGroupName": NAME}
    ] * 2
    [create] = objects_of(view, request)
    assert create.manifest["metadata"]["name"] == NAME
    api = Api()
    preflight = Preflight(api, lambda asked: samples_of(view, asked), lambda: NOW)  # type: ignore[arg-type]
    assert isinstance(await preflight.check(request), Cleared)
    assert len(api.asked) == 2
    ours = replace(request, unpinned=False)
    assert objects_of(view, ours) == ()
    assert not any(s.kept for s in samples_of(view, ours))


def test_a_grant_without_nodes_is_taken_up_and_holds_nothing() -> None:
    waits = replace(service("native", services.waiting()), backend=THEIRS, backends={"native": THEIRS})
    lab = Lab()
    lab.sees(waits)
    lab.grant(waits, "", "")
    begun = services.with_groups(waits, "serve", LEFT)
    lab.hold(begun)
    assert not lab.jobs.admitter.granted(f"{UID}/serve/0")
    assert lab.memory.held == {}
