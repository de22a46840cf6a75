"""The ledger as a short text, to go on from after a restart of the operator.

Base64 of zlib of JSON: a list, in the order of `to_resume`. Lanes are a letter each, which zlib makes short.
Everything else is bounded by the modules that hold it. Should it be too long all the same, which takes more than
ten thousand lanes in states at random, first the finest detail goes and then which lane is in which state; never
a total.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from typing import Any, Final

from drumline.api.goodput import MAX_RESUME
from drumline.core.gang.deflate import deflated
from drumline.core.gang.ledger.amount import Amount
from drumline.core.gang.ledger.buckets import Bucket, Buckets, Tail, Work
from drumline.core.gang.ledger.chart import Chart
from drumline.core.gang.ledger.codes import UP
from drumline.core.gang.ledger.lanes import Lanes
from drumline.core.gang.ledger.ledger import First, Ledger, Record
from drumline.core.gang.ledger.reporters import Reporter
from drumline.core.gang.ledger.settings import LedgerSettings
from drumline.core.gang.ledger.steps import Piece, Steps
from drumline.core.gang.ledger.uptime import Run, UpTime

VERSION: Final = 1
MAX_BYTES: Final = 1 << 22  # of JSON
LETTER: Final = ord("A")

# Scalars, by name, so that one more is one more name here.
INTEGERS: Final = (
    *("at", "attempt", "epoch", "started_at", "closed_at", "weight", "elapsed_ms", "ready_ms", "frontier"),
    *("ended_at", "step", "step_attempt", "committed", "lost_steps", "tokens", "flops", "seen_tokens"),
    *("seen_flops", "seen_step_ms", "progress_at", "checkpoint_at", "epoch_commit_at", "saves", "restores"),
    *("commits", "awake_at", "gap_ms", "gaps", "failures", "hangs", "step_epoch"),
)
FLAGS: Final = (
    *("running", "recovering", "was_recovering", "reported", "told", "stepped", "resumed", "hanging"),
)
REPORTER: Final = tuple(Reporter.__slots__)


def to_resume(ledger: Ledger, most: int = MAX_RESUME) -> str:
    """All of `ledger` but its settings: base64 of zlib of JSON, at most `most` characters, of 8 KiB or more."""
    text = _text(ledger)
    for lighter in (_coarser, _alike):
        if len(text) <= most:
            break
        ledger = lighter(ledger)
        text = _text(ledger)
    return text


def _coarser(ledger: Ledger) -> Ledger:
    """The same totals in fewer buckets, and a timeline of fewer entries."""
    new = ledger.copy()
    new.buckets.join()
    new.chart.join()
    return new


def _alike(ledger: Ledger) -> Ledger:
    """All lanes in the state that most are in: where each is, the operator sees again when it goes on."""
    new = ledger.copy()
    new.lanes = Lanes(bytearray([ledger.lanes.most()]) * len(ledger.lanes))
    return new


def _text(ledger: Ledger) -> str:
    steps, first = ledger.steps, ledger.first
    parts = [
        VERSION,
        [getattr(ledger, name) for name in INTEGERS],
        [int(getattr(ledger, name)) for name in FLAGS],
        bytes(code + LETTER for code in ledger.lanes.codes).decode("ascii"),
        ledger.totals,
        ledger.restart,
        ledger.chart.entries,
        [(r.start, r.end, *r.amount) for r in ledger.up.runs],
        [steps.net, steps.recent, steps.histogram, steps.baseline, steps.segment, steps.count, steps.sum_ms],
        first and [first.piece, first.amount, int(first.restart), first.phases],
        [(b.lo, b.hi, *b.work) for b in ledger.buckets.buckets],
        [[getattr(r, name) for name in REPORTER] for r in ledger.reporters],
        ledger.stragglers,
        None if ledger.phases is None else list(ledger.phases.items()),
        [(*epoch, *record) for epoch, record in ledger.records.items()],
        ledger.buckets.tail,
    ]
    text = json.dumps(parts, separators=(",", ":"))
    return base64.b64encode(deflated(text.encode())).decode("ascii")


def from_resume(text: str, settings: LedgerSettings) -> Ledger:
    """The ledger that `to_resume` wrote down. Raises ValueError when `text` is nothing of the kind."""
    try:
        parts = json.loads(_unpacked(text))
        if not isinstance(parts, list) or parts[0] != VERSION:
            raise ValueError("not a resume point of this version")
        return _ledger(parts, settings)
    except (zlib.error, binascii.Error, LookupError, TypeError, AttributeError) as e:
        raise ValueError(f"not a resume point: {e}") from e


def _unpacked(text: str) -> bytes:
    reader = zlib.decompressobj()
    data = reader.decompress(base64.b64decode(text, validate=True), MAX_BYTES)
    if not reader.eof:
        raise ValueError("the resume point is cut off or too long")
    return data


def _ledger(parts: list[Any], settings: LedgerSettings) -> Ledger:
    _, integers, flags, lanes, totals, restart, chart, runs, steps, first, buckets, *rest = parts
    reporters, stragglers, phases, records, *later = rest
    scalars: dict[str, Any] = dict(zip(INTEGERS, map(int, integers), strict=True))
    scalars |= zip(FLAGS, map(bool, flags), strict=True)
    return Ledger(
        settings,
        **scalars,
        lanes=Lanes(bytearray(ord(letter) - LETTER for letter in lanes)),
        totals=_padded(totals),
        restart=_padded(restart),
        chart=Chart([(code, wall, attempt) for code, wall, attempt in chart]),
        up=UpTime([Run(start, end, Amount(*amount)) for start, end, *amount in runs]),
        steps=_steps(steps),
        first=first and _first(first),
        buckets=Buckets([Bucket(lo, hi, Work(*work)) for lo, hi, *work in buckets], _tail(*later)),
        reporters=[Reporter(*fields) for fields in reporters],
        stragglers={str(lane): int(ms) for lane, ms in stragglers.items()},
        phases=None if phases is None else dict(phases),
        records={
            (attempt, epoch): Record(lost, _pairs(recovery)) for attempt, epoch, lost, recovery in records
        },
    )


def _padded(totals: list[int]) -> list[int]:
    if len(totals) > UP:
        raise ValueError("more states than there are")
    return totals + [0] * (UP - len(totals))


def _steps(fields: list[Any]) -> Steps:
    net, recent, histogram, baseline, segment, count, sum_ms = fields
    steps = Steps(net, [(ms, tokens, flops) for ms, tokens, flops in recent], histogram)
    steps.baseline, steps.segment, steps.count, steps.sum_ms = baseline, segment, count, sum_ms
    return steps


def _tail(fields: list[Any] | None = None) -> Tail | None:
    if fields is None:
        return None
    lo, step_ms, wall, work = fields
    return Tail(lo, step_ms, wall, Work(*work))


def _pairs(items: list[list[int]]) -> tuple[tuple[int, int], ...]:
    return tuple((code, ms) for code, ms in items)


def _first(fields: list[Any]) -> First:
    piece, amount, restart, phases = fields
    recovery = None if phases is None else _pairs(phases)
    return First(Piece(*piece), Amount(*amount), bool(restart), recovery)
