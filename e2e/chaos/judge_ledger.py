"""Whether the ledger in a job's status is exact: every state together is lanes × chips × time, to the millisecond."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

Document = Mapping[str, Any]
NOT_HELD = frozenset({"suspended", "queued", "provisioning"})
_GROWING = ("elapsedMs", "heldMs", "gangReadyMs", "tokens", "hangs", "lostSteps")


def faults(before: Document, job: Document) -> Iterator[str]:
    """What is wrong with the ledger that a status brings, `before` being the status that it replaces."""
    now = (job.get("status") or {}).get("goodput")
    if now is None:
        if before.get("goodput"):
            yield "the ledger is gone"
        return
    spec = job.get("spec") or {}
    yield from _unbalanced(now, resized=bool(spec.get("elastic") or spec.get("spares")))
    yield from _fallen(before.get("goodput") or {}, now)


def _unbalanced(now: Document, *, resized: bool) -> Iterator[str]:
    """`resized`: whether there may have been another number of lanes before."""
    lived = _millis(now["at"]) - _millis(now["startedAt"])
    whole = now["lanes"] * now.get("chipsPerLane", 1) * lived
    states = _states(now)
    provisional = now.get("provisionalMs", 0)
    if now["elapsedMs"] != whole and not resized:
        yield f"the ledger has {now['elapsedMs']} ms in {whole} ms"
    if sum(states.values()) + provisional != now["elapsedMs"]:
        yield f"its states have {sum(states.values()) + provisional} ms of {now['elapsedMs']} ms"
    held = sum(ms for state, ms in states.items() if state not in NOT_HELD) + provisional
    if held != now["heldMs"]:
        yield f"its held states have {held} ms of {now['heldMs']} ms"


def _fallen(before: Document, now: Document) -> Iterator[str]:
    if not before:
        return
    if _millis(now["at"]) < _millis(before["at"]):
        yield f"the ledger went back from {before['at']} to {now['at']}"
    states = _states(now)
    for state, ms in _states(before).items():
        if states.get(state, 0) < ms:
            yield f"the ledger's {state} fell from {ms} to {states.get(state, 0)} ms"
    for name in _GROWING:
        if now.get(name, 0) < before.get(name, 0):
            yield f"the ledger's {name} fell from {before[name]} to {now.get(name, 0)}"


def _states(goodput: Document) -> dict[str, int]:
    return {row["state"]: row["ms"] for row in goodput.get("states") or ()}


def _millis(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
