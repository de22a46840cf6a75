"""The spec's revision is kept and numbered; a rollback is an old revision under a new number."""

from __future__ import annotations

from dataclasses import replace

from drumline.core.gang.plan import Delete
from drumline.core.inference.observation import Revision
from drumline.core.inference.policies.revisions import revisions
from drumline.core.inference.render import revision_digest
from tests.unit.core.inference import services
from tests.unit.core.inference.services import NAME, parsed, patched, spec, with_groups


def named(raw):
    return f"{NAME}-{revision_digest(parsed(raw))}"


def settled(raw=None):
    """The first revision is there and current."""
    raw = raw or spec()
    name = named(raw)
    observation = services.fresh(raw, revisions={name: Revision(name, "uid-1", 1, parsed(raw))})
    changes = {"current_revision": name, "update_revision": name, "revision_count": 1}
    return replace(observation, status=observation.status.model_copy(update=changes))


OTHER = spec(services.role(template={"spec": {"containers": [{"name": "engine", "image": "other"}]}}))


def test_the_first_revision_is_written_before_the_status_names_it() -> None:
    view = revisions(services.view(services.fresh()))
    (create,) = view.prepare
    name = named(spec())
    assert (create.manifest["metadata"]["name"], create.manifest["revision"]) == (name, 1)
    status = view.status
    assert (status.current_revision, status.update_revision, status.revision_count) == (name, name, 1)
    assert view.status_first


def test_a_settled_service_writes_nothing() -> None:
    observation = settled()
    assert revisions(services.view(observation)) == services.view(observation)


def test_what_pods_are_not_made_from_makes_no_revision() -> None:
    scaled = parsed(spec(services.role(replicas=7), drain={"timeoutSeconds": 1}, suspend=True))
    assert revisions(services.view(replace(settled(), spec=scaled))).prepare == ()


def test_a_change_is_a_new_revision_and_the_old_one_stays_current() -> None:
    view = revisions(services.view(replace(settled(), spec=parsed(OTHER))))
    assert (view.status.current_revision, view.status.update_revision) == (named(spec()), named(OTHER))
    assert (view.prepare[0].manifest["revision"], view.status.revision_count) == (2, 2)


def test_a_revision_that_was_deleted_is_written_again() -> None:
    view = revisions(services.view(replace(settled(), revisions={})))
    assert view.prepare[0].manifest["revision"] == 1
    assert not view.status_first


def test_a_rollback_is_the_old_revision_under_the_next_number() -> None:
    first, second = named(spec()), named(OTHER)
    observation = settled()
    known = {**observation.revisions, second: Revision(second, "uid-2", 2, parsed(OTHER))}
    changes = {"current_revision": second, "update_revision": second, "revision_count": 2}
    observation = replace(observation, revisions=known, status=observation.status.model_copy(update=changes))
    view = revisions(services.view(observation))
    assert (view.status.update_revision, view.status.revision_count) == (first, 3)
    assert patched(view) == {f"controllerrevisions/{first}": {"revision": 3}}
    assert view.prepare == ()


def test_only_so_many_old_revisions_are_kept_beside_those_in_use() -> None:
    observation = settled(spec(rollout={"revisionHistoryLimit": 2}))
    old = {f"chat-{n}": Revision(f"chat-{n}", f"uid-old-{n}", n - 9, parsed(spec())) for n in range(5)}
    observation = replace(observation, revisions={**old, **observation.revisions})
    observation = with_groups(observation, "serve", services.group(revision="chat-0"))
    gone = [a.name for a in services.actions(revisions(services.view(observation))) if isinstance(a, Delete)]
    assert sorted(gone) == ["chat-1", "chat-2"]
