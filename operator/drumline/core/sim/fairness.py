"""How fairly queues share an accelerator type that some of them want more of.

At each instant at which a queue with a weight waits for the type, what is held of it is divided anew, as max-min fairness
does: a queue that waits wants more than any share, one that does not wait wants no more than what it holds, and

    entitled(q) = min(wanted(q), weight(q) * level), with the level at which all of it is given away

Queues that want no more than their part are left out of the comparison at that instant, and so is an instant at which
fewer than two queues are left. A queue of weight 0 is entitled to nothing; what it holds then counts against it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Fairness:
    """Chip-seconds by queue, over the instants at which it was compared. A queue without a weight has 1."""

    weights: Mapping[str, float] = field(default_factory=dict)
    held: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    entitled: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def advance(self, seconds: float, held: Mapping[str, int], waiting: Collection[str]) -> None:
        """So much time passes. `held` = chips of one accelerator type by queue; `waiting` = queues that want more."""
        parts = divided(held, waiting, self.weights)
        if len(parts) < 2:
            return
        for queue, part in parts.items():
            self.held[queue] += held.get(queue, 0) * seconds
            self.entitled[queue] += part * seconds


def divided(
    held: Mapping[str, int], waiting: Collection[str], weights: Mapping[str, float]
) -> dict[str, float]:
    """What each queue that is compared is entitled to, chips; nothing where no queue with a weight waits."""
    present = {q: weights.get(q, 1.0) for q in sorted({*waiting, *(q for q, chips in held.items() if chips)})}
    parts = {q: weight for q, weight in present.items() if weight}
    left, total = float(sum(held.values())), sum(parts.values())
    if not any(q in parts for q in waiting):
        return {}
    content = sorted((held[q] / weight, q) for q, weight in parts.items() if q not in waiting)
    for level, queue in content:
        if level * total > left:
            break  # this one and all after it hold more than their part
        left -= held[queue]
        total -= parts.pop(queue)
    weightless = {q: 0.0 for q, weight in present.items() if not weight}
    return weightless | {q: left * weight / total for q, weight in parts.items()}
