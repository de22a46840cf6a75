"""A gang goes only where there is power for it.

Before it is placed, so many free places are hidden in each domain with a budget that the rest can't draw more than is
left there: where the gang may go is then found as ever. Finer domains come first. Places are hidden on nodes of which
the neighbours have least free, so that the largest hole stays whole; the gang's own nodes of before come last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from drumline.api.reasons import Reason
from drumline.core.gang.capacity_index import ShapeIndex
from drumline.core.gang.capacity_view import View
from drumline.core.gang.feasibility import shape_charge
from drumline.core.gang.placement_domains import Draft
from drumline.core.gang.power_meter import PER_WATT, Key, PowerMeter
from drumline.core.gang.types import GangRequest, PodShape, Refusal

MAX_NAMED: Final = 3  # domains in a message


def limit(draft: Draft, meter: PowerMeter, shape: PodShape, preferred: Iterable[str]) -> bool:
    """Hide as many free places of pods of a shape as domains lack power for; whether any had to be.

    `preferred` are nodes on which no place is hidden as long as there are others.
    """
    requests, index, hidden = shape_charge(shape), draft.index, False
    if not meter.heeds(requests):
        return False
    before = frozenset(preferred)
    for key, left in meter.left().items():
        nodes = [node for node in meter.members(key) if index.copies.get(node, 0) > 0]
        excess = sum(index.copies[node] * meter.draw(node, requests) for node in nodes) - max(left, 0)
        if excess > 0:
            hidden = True
            nodes.sort(key=lambda node: (node in before, _neighbours(index, node), index.order(node)))
            _hide(draft, {node: meter.draw(node, requests) for node in nodes}, excess)
    return hidden


def no_power(view: View, shape: PodShape, count: int, need: str) -> Refusal:
    """There is room for `count` pods of a shape, which are `need`, but no power. Names the tightest domains for such pods."""
    meter = view.meter
    least = {key: _least(view, key, shape) for key in meter.left()}
    able = {key: draw for key, draw in least.items() if draw}
    watts = min(able.values(), default=0) * count / PER_WATT
    tightest = sorted(map(meter.supply, able or least), key=lambda s: s.budget - s.drawn)[:MAX_NAMED]
    said = (
        f"{s.level} {s.domain} has {max(0.0, s.budget - s.drawn):.0f} W of {s.budget:.0f} W left"
        for s in tightest
    )
    much = f"needs {watts:.0f} W; " if watts else ""
    text = f"there is room for {need}, but not the power: {much}{', '.join(said)}"
    return Refusal(Reason.POWER_BUDGET, text)


def _least(view: View, key: Key, shape: PodShape) -> int:
    """What a pod draws at least in a domain, milliwatts; 0 where no node offers what it requests."""
    offers = {n: node.allocatable for n in view.meter.members(key) if (node := view.nodes.get(n)) is not None}
    able = (n for n, offer in offers.items() if all(offer.get(k, 0) >= v for k, v in shape.requests))
    return min((view.meter.draw(n, shape_charge(shape)) for n in able), default=0)


def claim_for(request: GangRequest, nodes: Iterable[str], view: View) -> None:
    """Nobody else gets the power that a gang could draw on nodes that are kept for it."""
    meter, requests = view.meter, dict(request.worker.requests)
    charge = shape_charge(request.worker)
    draws: Counter[Key] = Counter()
    most: dict[Key, int] = {}
    for name in () if meter.idle else nodes:
        each, node = meter.draw(name, charge), view.nodes.get(name)
        if not each or node is None:
            continue
        copies = min(node.allocatable.get(k, 0) // v for k, v in requests.items() if v)
        for key in meter.keys(name):
            draws[key] += copies * each
            most[key] = max(most.get(key, 0), request.workers * each)
    view.claim({key: min(draw, most[key]) for key, draw in draws.items()})


def _hide(draft: Draft, draws: Mapping[str, int], excess: int) -> None:
    """Hide places on these nodes, in order, until they draw so much less, milliwatts."""
    for node, each in draws.items():
        if excess <= 0:
            return
        copies = min(draft.index.copies[node], -(-excess // each)) if each else 0
        draft.take(node, copies)
        excess -= copies * each


def _neighbours(index: ShapeIndex, node: str) -> int:
    """Free places of the smallest domain around the node."""
    chain = index.chains[node]
    return index.sums[chain[-2][0]] if len(chain) > 1 else index.copies[node]
