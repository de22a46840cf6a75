"""How far roles are in step: a request needs a group of every role, all of one revision.

The KV cache that one revision's prefill groups make is of use to decode groups of the same revision only. So a
revision serves the fraction f = min over roles of (its groups in service / the groups the role should have), and
a role that runs ahead of the others adds nothing. Of the n groups of a role that a complete rollout has,

    paired = min over roles q of ⌊ in service(q) · n / n(q) ⌋

do count, which is all of them for the role that is behind: it is never held up by the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

Counts = Mapping[str, int]  # groups by role


def paired(serving: Counts, goal: Counts) -> dict[str, int]:
    """Groups of each role that have their counterparts in service; a role with no goal holds up nobody."""
    asked = {role: n for role, n in goal.items() if n > 0}
    return {
        role: min((serving.get(q, 0) * n // asked[q] for q in asked), default=0) if n > 0 else 0
        for role, n in goal.items()
    }


def share(serving: Counts, desired: Counts) -> Fraction:
    """What of the whole load complete pairs can take, 0 to 1; 1 when no group is wanted."""
    asked = {role: n for role, n in desired.items() if n > 0}
    return min(
        (min(Fraction(serving.get(r, 0), n), Fraction(1)) for r, n in asked.items()), default=Fraction(1)
    )


def loss(serving: Counts, desired: Counts, role: str) -> Fraction:
    """What a revision's share falls by when one group of that role goes."""
    less = {**serving, role: serving.get(role, 0) - 1}
    return share(serving, desired) - share(less, desired)
