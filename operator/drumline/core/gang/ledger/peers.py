"""Which workers the others wait for: what each needs for the same steps, compared.

A gang steps together, so a step takes as long on every worker, whoever is slow: the others wait in a collective.
What differs is a worker's *own* time of a step, before it waits for any peer: its wait for input and its own work,
as far as it tells of them.

Steps are numbered, so those of different workers can be told to be the same. They are taken in blocks of CELLS
cells; a cell is one step, or as many as it takes for a block to last BLOCK_MS at least. Compared is the latest
block that every worker has told all of. Of each worker's cells there is a median; over these medians, a median
and a MAD. A worker is slow if even its quickest cell of the block is beyond

    median + max(factor · MAD, step / SHARE)

so for CELLS steps in a row, and no longer slow once even its longest cell of a block is within it: a worker at the
edge keeps the verdict that it has. The MAD is taken as a millisecond at least, as everywhere in the ledger. The second
term leaves out what costs the gang next to nothing: no two chips are alike, and of thousands some are always
beyond three MADs.

Of each worker the latest BLOCKS blocks are kept, 2.5 kB of memory. One whose latest is older than the others'
earliest is left out, and so is everything while fewer than FEWEST workers, or fewer than half, can be compared.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Final

from drumline.api.report import Report, ReportSource, Span, SpanKind
from drumline.core.gang.ledger.steps import median_of, spread_of

Lane = tuple[int, int]  # slice, worker

CELLS: Final = 10
BLOCKS: Final = 8
BLOCK_MS: Final = 3000  # BLOCKS of them outlast the time between two reports
EVIDENCE_MS: Final = 1000  # of steps, to say how long they take
SHARE: Final = 20
FEWEST: Final = 3
_STEPS, _TOOK, _HEAD = 0, 1, 2  # of a block: steps told of, their whole duration; then its cells


class _Worker:
    """One worker's latest blocks, by number."""

    __slots__ = ("blocks", "done", "origin", "position", "step")

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.position = 0  # on its own clock, ms: up to there it is known
        self.step = -1
        self.done = -1  # latest block that is complete
        self.blocks: dict[int, array[int]] = {}

    def clear(self) -> None:
        """Begin anew."""
        self.done, self.blocks = -1, {}

    def new_of(self, span: Span) -> tuple[int, int] | None:
        """Which steps of `span` are new: after the first number, up to the second. They are known from now on."""
        end = span.start_ms + span.duration_ms
        if end < self.position or (end == self.position and span.step <= self.step):
            return None
        last = span.step if span.step >= 0 else self.step + span.count
        first = last - span.count
        if span.start_ms < self.position:  # a row that was merged over what is known
            first = max(first, self.step)
        elif first < self.step:
            self.clear()  # training went back
        self.position, self.step = end, last
        return (first, last) if first < last else None

    def block(self, number: int) -> array[int]:
        """That block; the oldest makes room for it."""
        found = self.blocks.get(number)
        if found is None:
            found = self.blocks[number] = array("Q", bytes(8 * (_HEAD + CELLS)))
            while len(self.blocks) > BLOCKS:
                del self.blocks[min(self.blocks)]
        return found


class Peers:
    """The workers of the latest epoch that was heard of. Changed in place, and not written down anywhere."""

    def __init__(self) -> None:
        self._begin((0, 0))

    def _begin(self, epoch: tuple[int, int]) -> None:
        self._epoch = epoch
        self._width = 1  # steps of a cell
        self._workers: dict[Lane, _Worker] = {}
        self._judged = -1  # block
        self._slow: dict[str, int] | None = None

    def hear(self, lane: Lane, report: Report) -> None:
        """What a worker's own program says of its steps. What it said before does not count again."""
        spans = [span for span in report.spans if span.kind is SpanKind.STEP]
        epoch = (report.attempt, report.epoch)
        if not spans or epoch < self._epoch or report.source is not ReportSource.REPORT:
            return
        if epoch > self._epoch:
            self._begin(epoch)
        worker = self._workers.get(lane)
        if worker is None or worker.origin != report.origin:
            worker = self._workers[lane] = _Worker(report.origin)
        self._widen(spans)
        for span in spans:
            steps = worker.new_of(span)
            if steps is not None:
                self._enter(worker, span, *steps)

    def _widen(self, spans: list[Span]) -> None:
        took, steps = sum(s.duration_ms for s in spans), sum(s.count for s in spans)
        block = self._width * CELLS * took // steps
        if block >= BLOCK_MS // 2 or took < EVIDENCE_MS:
            return
        self._width = max(2 * self._width, -(-BLOCK_MS * steps // (CELLS * took)))
        self._judged = -1
        for worker in self._workers.values():
            worker.clear()

    def _enter(self, worker: _Worker, span: Span, first: int, last: int) -> None:
        width, own, count = self._width, span.stall_ms + span.compute_ms, span.count
        whole = width * CELLS
        step = max(first + 1, (last // whole - BLOCKS) * whole, 0)
        while step <= last:
            cell = step // width
            steps = min(last + 1, (cell + 1) * width) - step
            block = worker.block(cell // CELLS)
            block[_STEPS] += steps
            block[_TOOK] += span.duration_ms * steps // count
            block[_HEAD + cell % CELLS] += own * steps // count
            if block[_STEPS] == whole:
                worker.done = max(worker.done, cell // CELLS)
            step += steps

    def slow(self, epoch: tuple[int, int], factor: int) -> Mapping[str, int] | None:
        """The slow workers, `<slice>-<worker>`, and their median own time of a step, ms.

        None while workers of that attempt and epoch can't be compared. Of the last blocks that could be, otherwise.
        """
        if epoch != self._epoch:
            return None
        done = [w.done for w in self._workers.values() if w.done >= 0]
        if len(done) >= FEWEST:
            oldest = max(done) - BLOCKS + 2  # the one after the latest may have begun
            self._judge(min(block for block in done if block >= oldest), factor)
        return self._slow

    def _judge(self, number: int, factor: int) -> None:
        if number == self._judged:
            return
        whole = self._width * CELLS
        told = {lane: w.blocks[number] for lane, w in self._workers.items() if number in w.blocks}
        full = {lane: block for lane, block in told.items() if block[_STEPS] == whole}
        if len(full) < max(FEWEST, (len(self._workers) + 1) // 2):
            return
        cells = {lane: sorted(block[_HEAD:]) for lane, block in full.items()}
        medians = {lane: median_of(own) for lane, own in cells.items()}
        ordered = sorted(medians.values())
        took = median_of(sorted(block[_TOOK] for block in full.values())) // CELLS
        limit = median_of(ordered) + max(factor * spread_of(ordered), took // SHARE)
        self._judged = number
        before = self._slow or {}
        self._slow = {
            name: medians[lane] // self._width
            for lane, own in cells.items()
            if own[-1 if (name := f"{lane[0]}-{lane[1]}") in before else 0] > limit
        }
