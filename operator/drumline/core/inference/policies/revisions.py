"""Each state of the spec that pods are made from is kept as a ControllerRevision, and has a number.

The revision of the spec is the status' `updateRevision`. It is written before the status names it. A spec that
comes back to an earlier state (a rollback) is the earlier revision again under the next number. Revisions that no
group has, and that nobody may want to roll back to any more, are deleted.
"""

from __future__ import annotations

from dataclasses import replace

from drumline.core.gang.plan import Create, Delete, Patch
from drumline.core.inference import names
from drumline.core.inference.groups import every
from drumline.core.inference.observation import Revision
from drumline.core.inference.render import revision_digest, revision_manifest
from drumline.core.inference.view import View


def revisions(view: View) -> View:
    """Know the spec's revision, keep it, and forget what is out of history."""
    name = names.revision(view.obs.service.name, revision_digest(view.spec))
    if view.status.update_revision != name:
        number = max([view.status.revision_count, *(r.number for r in view.obs.revisions.values())]) + 1
        view = view.with_status(update_revision=name, revision_count=number).first()
    if view.status.current_revision is None:
        view = view.with_status(current_revision=name)
    return _forget_old(_kept(view, name))


def _kept(view: View, name: str) -> View:
    """The revision of the spec exists, and has the latest number."""
    number = view.status.revision_count
    found = view.obs.revisions.get(name)
    if found is None:
        manifest = revision_manifest(view.owner, name, number, view.spec)
        return replace(view, prepare=(*view.prepare, Create("controllerrevisions", manifest)))
    if found.number == number:
        return view
    return view.act(
        Patch("controllerrevisions", view.obs.service.namespace, name, found.uid, {"revision": number})
    )


def _forget_old(view: View) -> View:
    used = {view.status.current_revision, view.status.update_revision, *(g.revision for _, g in every(view))}
    unused = [r for r in view.obs.revisions.values() if r.name not in used]
    newest_first = sorted(unused, key=_number, reverse=True)
    old = newest_first[view.spec.rollout.revision_history_limit :]
    namespace = view.obs.service.namespace
    return view.act(*(Delete("controllerrevisions", namespace, r.name, r.uid) for r in old))


def _number(revision: Revision) -> int:
    return revision.number
