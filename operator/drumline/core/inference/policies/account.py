"""Bring the account of accelerator time up to date: with every status that is written anyway, and now and then.

So the time since the last account is time in the status as observed, not in the one that this decision makes of it:
a group whose attempt ends now was in service until now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from drumline.api.inference_status import GroupStatus
from drumline.core.gang.clock import unix
from drumline.core.inference.ledger import Entry, Key
from drumline.core.inference.ledger import account as ledger_account
from drumline.core.inference.ledger_counters import limits
from drumline.core.inference.ledger_times import Facts
from drumline.core.inference.render_shape import group_shape
from drumline.core.inference.view import View, holds_place

HELD_SECONDS: Final = 30.0  # between two writes for the account's sake alone, while accelerators are held
WAITING_SECONDS: Final = 300.0


def account(view: View) -> View:
    """The status with the account in it, where one is due."""
    entries = _entries(view)
    known = view.obs.status.serving
    if known is None and not entries:
        return view
    pause = HELD_SECONDS if any(holds_place(e.facts.group) for e in entries.values()) else WAITING_SECONDS
    age = view.now - unix(known.at) if known is not None else pause
    changed = view.status != view.obs.status
    if not changed and not entries and not _open(view):
        return view
    if not changed and age < pause:
        return view.again_in(pause - age)
    after = ledger_account(known, entries, limits(view.spec.slo), view.now)
    return view.with_status(serving=after).again_in(pause if entries else None)


def _open(view: View) -> bool:
    """Whether the written account still has groups that are gone since."""
    serving = view.obs.status.serving
    return serving is not None and '"groups":[]' not in serving.resume


def _entries(view: View) -> Mapping[Key, Entry]:
    """The groups that are there from now on, each as it has been so far."""
    observed = {(role.name, group.id): group for role in view.obs.status.roles for group in role.groups}
    return {
        (role.name, group.id): _entry(view, role.name, observed.get((role.name, group.id), group))
        for role in view.status.roles
        for group in role.groups
    }


def _entry(view: View, role: str, group: GroupStatus) -> Entry:
    pods = view.pods(role, group)
    there = view.pods_of_any_attempt(role, group.id)
    size, chips, dollars = _worth(view, role, group)
    signals = view.obs.signals.of(role, group.id)
    over = not group.nodes or group.started_at is None
    facts = Facts(group, size, pods, leftovers=len(there) > len(pods) or (over and bool(there)))
    return Entry(replace(facts, samples=signals.samples), chips, dollars)


def _worth(view: View, role: str, group: GroupStatus) -> tuple[int, int, float | None]:
    """Pods, chips (a CPU pod counts as one), dollars a chip-hour."""
    spec = view.spec_of(group)
    try:
        shape = group_shape(spec, role, view.obs.catalog, group.variant) if spec is not None else None
    except (KeyError, IndexError, ValueError):
        shape = None
    if shape is None:
        size = max(1, len(group.nodes))
        return size, size, None
    price = view.obs.catalog[shape.accelerator].price
    return shape.size, shape.chips or shape.size, price.usd_per_chip_hour if price is not None else None
