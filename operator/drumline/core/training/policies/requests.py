"""Requests for nodes that are of no use go, and what one that is says of a running gang is acted upon.

A request is of use while the status says so: until its attempt has given its nodes back, the job is suspended, or it ends.
An attempt that starts again on its nodes keeps it, since its pods consume it too.

An autoscaler that revokes the capacity is about to take nodes; which ones it does not say. So all nodes of the gang count
as about to go: where the job says how, a checkpoint is asked for, and the gang moves (policy `departure`). It gives all of
them back when it does (`recovery`).
"""

from __future__ import annotations

from dataclasses import replace

from drumline.core.gang.departures import Departure
from drumline.core.gang.plan import Delete
from drumline.core.training import conditions
from drumline.core.training.provisioned import CAPACITY_REVOKED, REQUESTS, open_request, revoked
from drumline.core.training.view import View
from drumline.core.training.whereabouts import nodes_of


def requests(view: View) -> View:
    """Delete what is of no use; tell of capacity that is revoked."""
    asked = None if conditions.is_finished(view.status) else open_request(view.status)
    name = asked.request if asked is not None else ""
    found = view.obs.provisioner.objects
    if not found:
        return view
    old = (o for o in found if not o.deleting and not (name and _of(name, o.resource, o.name)))
    view = view.act(*(Delete(o.resource, o.namespace, o.name, o.uid) for o in old))
    said = revoked(view.status, view.obs.provisioner) if asked is not None else None
    if said is None or view.obs.placement is None or view.status.placement is None:
        return view
    why = f"{CAPACITY_REVOKED} of ProvisioningRequest {name}: {said.text}"
    going = {node: Departure(node, why) for node in nodes_of(view.obs) if node}
    return replace(view, obs=replace(view.obs, departing={**going, **view.obs.departing}))


def _of(request: str, resource: str, name: str) -> bool:
    return name == request if resource == REQUESTS else name.startswith(f"{request}-")
