"""The history of a service, and which revision `rollback` and `promote` mean."""

from __future__ import annotations

from typing import Any

import pytest

from drumline.api.meta import ANNOTATION_PROMOTE
from drumline.cli.cluster import OK, UNREACHABLE
from drumline.cli.main import main
from drumline.cli.rollout_back import body_of
from drumline.cli.rollout_cluster import ChangedError, Found
from drumline.cli.rollout_list import raw, table
from drumline.cli.rollout_promote import promotable
from drumline.cli.rollout_view import NoRevisionError, RolloutError, changes, history, spec_of, way_back
from drumline.core.gang.names import Owner
from drumline.core.inference.render import revision_manifest
from tests.unit.core.inference.services import parsed, role, spec

OWNER = Owner("drumline.dev/v1alpha1", "InferenceService", "ns", "chat", "uid-1")


def of(image: str, **changes: Any) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "engine", "image": image}]}}
    return spec(role(template=template, **changes))


def found(current: str = "chat-c", update: str = "chat-c", spec_now: dict[str, Any] | None = None) -> Found:
    """Revisions a (1), b (2) and c (4), and one that nobody can read."""
    status = {
        "currentRevision": current,
        "updateRevision": update,
        "observedGeneration": 3,
        "roles": [
            {"name": "serve", "groups": [{"id": 0, "revision": current}, {"id": 1, "revision": current}]}
        ],
        "rollout": {"phase": "RolledBack", "refused": "chat-b", "message": "too slow"},
    }
    metadata = {"name": "chat", "namespace": "ns", "uid": "uid-1", "generation": 3, "resourceVersion": "77"}
    revisions = [
        {
            **manifest,
            "metadata": {**manifest["metadata"], "creationTimestamp": f"2026-11-0{number}T00:00:00Z"},
        }
        for letter, number in (("c", 4), ("a", 1), ("b", 2))
        for manifest in [revision_manifest(OWNER, f"chat-{letter}", number, parsed(of(letter)))]
    ]
    strange = {"metadata": {"name": "chat-z"}, "revision": 9, "data": {"spec": {"roles": []}}}
    service = {"metadata": metadata, "spec": spec_now or of("c", replicas=3), "status": status}
    return Found(service, (*revisions, strange))


def test_the_table_has_a_line_for_each_revision_and_what_it_changed() -> None:
    lines = table(history(found(update="chat-b"))).splitlines()
    assert [line.split() for line in lines] == [
        ["REVISION", "NAME", "CREATED", "GROUPS", "STATE"],
        ["1", "chat-a", "2026-11-01T00:00:00Z", "0", "-"],
        ["2", "chat-b", "2026-11-02T00:00:00Z", "0", "update,", "refused"],
        ["roles[serve].template.spec.containers[engine].image:", "a", "->", "b"],
        ["4", "chat-c", "2026-11-04T00:00:00Z", "2", "current"],
        ["roles[serve].template.spec.containers[engine].image:", "b", "->", "c"],
        ["rollout:", "RolledBack:", "too", "slow"],
    ]


def test_the_same_for_programs() -> None:
    body = raw(history(found()))
    assert [(r["revision"], r["groups"], r["state"]) for r in body["revisions"]] == [
        (1, 0, []),
        (2, 0, ["refused"]),
        (4, 2, ["current"]),
    ]
    assert body["rollout"]["refused"] == "chat-b"


def test_many_changes_are_cut_short_for_people_alone() -> None:
    first, second = (
        parsed(of("a")),
        parsed(spec(role("other"), role("third"), engine="vllm", model={"name": "m"})),
    )
    assert len(changes(first, second)) > 6
    revisions = [revision_manifest(OWNER, f"chat-{n}", n, s) for n, s in ((1, first), (2, second))]
    known = history(Found(found().service, tuple(revisions)))
    assert table(known).splitlines()[-2] == f"    and {len(changes(first, second)) - 6} more"
    assert len(raw(known)["revisions"][1]["changes"]) == len(changes(first, second))


def test_numbers_are_no_change() -> None:
    before = parsed(of("a", replicas=2))
    assert changes(before, parsed(of("a", replicas=9, autoscaling={"maxReplicas": 9}))) == []


@pytest.mark.parametrize(
    ("current", "update", "number", "expected"),
    [
        ("chat-c", "chat-c", None, "chat-b"),
        ("chat-b", "chat-b", None, "chat-a"),
        ("chat-b", "chat-c", None, "chat-b"),
        ("chat-c", "chat-c", 1, "chat-a"),
        ("chat-c", "chat-c", 4, "chat-c"),
    ],
    ids=["the one before", "the one before", "the current one", "by number", "where it is"],
)
def test_the_way_back(current: str, update: str, number: int | None, expected: str) -> None:
    assert way_back(history(found(current, update)), number).name == expected


@pytest.mark.parametrize(
    ("current", "number", "message"),
    [
        ("chat-c", 3, "no revision 3; there are: 1, 2, 4"),
        ("chat-a", None, "no revision before 1"),
        ("chat-x", None, "not in its history"),
    ],
)
def test_no_way_back(current: str, number: int | None, message: str) -> None:
    with pytest.raises(NoRevisionError, match=message):
        way_back(history(found(current, current)), number)


def test_going_back_keeps_the_numbers_and_asks_for_no_canary() -> None:
    known = found()
    target = way_back(history(known), None)
    body = body_of(known, target)
    assert body["metadata"] == {"resourceVersion": "77", "annotations": {ANNOTATION_PROMOTE: "chat-b"}}
    (one,) = body["spec"]["roles"]
    assert one["replicas"] == 3
    assert one["template"]["spec"]["containers"][0]["image"] == "b"
    assert set(body["spec"]) == {"roles"}


def test_a_spec_that_cannot_be_read_gives_way_to_the_whole_revision() -> None:
    known = found(spec_now={"roles": "none", "other": 1})
    assert spec_of(known) is None
    body = body_of(known, way_back(history(known), None))
    assert body["spec"]["other"] is None
    assert body["spec"]["roles"][0]["replicas"] == 1


def test_what_is_promoted_is_the_revision_on_its_way() -> None:
    assert promotable(found("chat-b", "chat-c")) == "chat-c"
    with pytest.raises(RolloutError, match="no revision of chat is on its way"):
        promotable(found())
    late = found("chat-b", "chat-c")
    late.service["metadata"]["generation"] = 4
    with pytest.raises(RolloutError, match="has not looked"):
        promotable(late)


def test_a_status_written_meanwhile_is_no_hindrance_and_a_changed_spec_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    versions = iter(["77", "78", "79"])
    answers: list[Found] = []

    def load(address: object) -> Found:
        known = found()
        known.service["metadata"]["resourceVersion"] = next(versions)
        answers.append(known)
        return known

    def patch(address: object, body: dict[str, Any]) -> None:
        if body["metadata"]["resourceVersion"] != "79":
            raise ChangedError("changed")

    monkeypatch.setattr("drumline.cli.rollout_cluster.load", load)
    monkeypatch.setattr("drumline.cli.rollout_cluster.patch", patch)
    assert main(["rollback", "chat", "-n", "ns"]) == OK
    assert len(answers) == 3
    versions = iter(["1", "2"])
    generations = iter([3, 4])

    def other(address: object) -> Found:
        known = load(address)
        known.service["metadata"]["generation"] = next(generations)
        return known

    monkeypatch.setattr("drumline.cli.rollout_cluster.load", other)
    assert main(["rollback", "chat", "-n", "ns"]) == UNREACHABLE
