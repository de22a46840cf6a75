"""``kubectl drumline queue`` as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from drumline.api.queue import AcceleratorQueueSpec, QueueUsage, Reclaim, WithinQueue
from drumline.cli.goodput_text import ASCII
from drumline.cli.goodput_words import duration
from drumline.cli.terminal import Terminal, apportion, table
from drumline.core.gang.standing import Standing

if TYPE_CHECKING:
    from drumline.cli.queue_view import GangView, QueuesView, QueueView
    from drumline.cli.settings import Settings

NAMED: Final = 20  # gangs of a list
BAR: Final = 16  # columns
_BLOCKS: Final = "█▓·"  # used of its own, borrowed, free of its own
_LETTERS: Final = "#+."
_STANDINGS: Final = {
    Standing.SERVED_FIRST: "others leave for it",
    Standing.KEPT: "what comes free is kept for it",
}
_TIMES: Final = str.maketrans({"×": "x"})


def overview(view: QueuesView, terminal: Terminal) -> str:
    """All queues, then who waits in which order."""
    line = _line(view), _order(view.line, view.settings, terminal)
    parts = (_queues(view, terminal), _troubles(view, terminal), *line, _lost(view, terminal))
    return _joined(parts, terminal)


def detail(queue: QueueView, view: QueuesView, terminal: Terminal) -> str:
    """One queue of them: what it may use, who holds it, who waits."""
    now = view.now
    parts = (
        _head(queue, terminal),
        _quotas(queue, terminal),
        _holds(queue, now),
        _own_line(queue, now, terminal),
        _order(queue.line, view.settings, terminal),
    )
    return _joined(parts, terminal)


def _joined(parts: Iterable[Iterable[str]], terminal: Terminal) -> str:
    text = "\n\n".join("\n".join(lines) for part in parts if (lines := list(part))) + "\n"
    return text if terminal.unicode else text.translate(ASCII).translate(_TIMES)


def _queues(view: QueuesView, terminal: Terminal) -> Iterator[str]:
    if not view.queues:
        yield "there is no AcceleratorQueue: all gangs stand in one line, without quotas"
        return
    header = ["QUEUE", "COHORT", "WEIGHT", "SHARE", "HOLD", "WAIT"]
    header += ["ACCELERATOR", "USED", "QUOTA", "BORROWED", "LENT", ""]
    rows = [row for queue in view.queues for row in _rows(queue, terminal)]
    yield from table(header, rows, right=(2, 3, 4, 5, 7, 8, 9, 10))
    blocks = _BLOCKS if terminal.unicode else _LETTERS
    yield ""
    yield f"{blocks[0]} used of its own, {blocks[1]} borrowed, {blocks[2]} not used of its own; chips; * the default queue"


def _rows(queue: QueueView, terminal: Terminal) -> Iterator[list[str]]:
    spec = queue.spec
    star = "*" if spec is not None and spec.default else ""
    first = [f"{queue.name}{star}", (spec.cohort if spec is not None else None) or "-"]
    first += [f"{spec.fair_sharing.weight:g}" if spec is not None else "-", queue.status.share or "-"]
    first += [str(len(queue.holds)), str(len(queue.line))]
    for usage in queue.usage or (None,):
        cells = ["-", "", "", "", "", ""] if usage is None else _cells(usage, terminal)
        yield [*first, *cells]
        first = [""] * len(first)


def _cells(usage: QueueUsage, terminal: Terminal) -> list[str]:
    counts = (usage.used, usage.nominal, usage.borrowed, usage.lent)
    return [usage.accelerator, *map(str, counts), _bar(usage, terminal)]


def _bar(usage: QueueUsage, terminal: Terminal) -> str:
    own = usage.used - usage.borrowed
    blocks = _BLOCKS if terminal.unicode else _LETTERS
    widths = apportion((own, usage.borrowed, max(0, usage.nominal - own)), BAR)
    return "".join(sign * width for sign, width in zip(blocks, widths, strict=True))


def _troubles(view: QueuesView, terminal: Terminal) -> Iterator[str]:
    for queue in view.queues:
        yield from _trouble(queue, terminal)


def _trouble(queue: QueueView, terminal: Terminal) -> Iterator[str]:
    if queue.trouble is not None:
        yield from _wrapped(f"{queue.name}: {queue.trouble.reason}: {queue.trouble.message}", terminal)
    elif queue.fault:
        yield from _wrapped(f"{queue.name} can't be used: {queue.fault}", terminal)


def _line(view: QueuesView) -> Iterator[str]:
    if not view.line:
        yield "nobody waits"
        return
    yield "In line, next first:"
    header = ["", "GANG", "QUEUE", "CHIPS", "ACCELERATOR", "PRIORITY", "WAITS", "WHY"]
    rows = (
        [str(place), g.name, g.queue or "-", *_asked(g, view.now)] for place, g in enumerate(view.line, 1)
    )
    yield from _some(header, list(rows), right=(0, 3, 5))


def _order(line: Sequence[GangView], settings: Settings, terminal: Terminal) -> Iterator[str]:
    """What the order rests on, where it is told of anybody and is not the operator's own word."""
    if any(gang.aged for gang in line):
        waited = duration(round(1000 * settings.aging))
        yield from _wrapped(
            f"aged: has waited for {waited}, and no priority goes before it any more", terminal
        )
    if settings.doubt and len(line) > 1:
        text = f"the order is by the defaults where the operator's may be another: {settings.doubt}"
        yield from _wrapped(text, terminal)


def _asked(gang: GangView, now: float) -> list[str]:
    waits = duration(max(0, round(1000 * (now - gang.since))))
    said = [gang.reason or "-", *(["aged"] if gang.aged else [])]
    if gang.standing is not None:
        said.append(_STANDINGS[gang.standing])
    return [str(gang.chips), gang.accelerator or "-", str(gang.priority), waits, ", ".join(said)]


def _some(header: list[str], rows: Sequence[list[str]], right: Iterable[int]) -> Iterator[str]:
    yield from table(header, rows[:NAMED], right=right)
    if len(rows) > NAMED:
        yield f"and {len(rows) - NAMED} more"


def _lost(view: QueuesView, terminal: Terminal) -> Iterator[str]:
    if not view.lost:
        return
    yield "In no line, since it can't be told in which:"
    for gang in view.lost[:NAMED]:
        yield from _wrapped(f"{gang.name}: {gang.reason}: {gang.message}", terminal)
    if len(view.lost) > NAMED:
        yield f"and {len(view.lost) - NAMED} more"


def _head(queue: QueueView, terminal: Terminal) -> Iterator[str]:
    spec = queue.spec
    if spec is None:
        yield queue.name
    else:
        cohort = f"cohort {spec.cohort}" if spec.cohort else "no cohort"
        default = ", the default queue" if spec.default else ""
        share = f", share {queue.status.share}" if queue.status.share is not None else ""
        weight = f"weight {spec.fair_sharing.weight:g}"
        yield f"{queue.name}: {cohort}, {weight}{share}, {spec.queueing_strategy.value}{default}"
        yield from _wrapped(_preempts(spec), terminal)
        if spec.max_run_seconds is not None:
            yield f"a job may be admitted for {duration(1000 * spec.max_run_seconds)}"
        if spec.namespace_selector is None:
            yield "no namespace may use it: it has no namespaceSelector"
    yield from _trouble(queue, terminal)


def _preempts(spec: AcceleratorQueueSpec) -> str:
    rules, whom = spec.preemption, []
    if rules.within_queue is WithinQueue.LOWER_PRIORITY:
        whom.append("gangs of a lower priority in the queue")
    if rules.reclaim_within_cohort is not Reclaim.NEVER:
        lower = " of a lower priority" if rules.reclaim_within_cohort is Reclaim.LOWER_PRIORITY else ""
        whom.append(f"gangs{lower} of other queues that have borrowed, within its own quota")
    if not whom:
        return "its gangs preempt nobody"
    return f"its gangs may preempt {' and '.join(whom)}, none before it has run {duration(1000 * rules.min_run_seconds)}"


def _quotas(queue: QueueView, terminal: Terminal) -> Iterator[str]:
    if not queue.usage:
        return
    quotas = {q.accelerator: q for q in queue.spec.quotas} if queue.spec is not None else {}
    header = ["ACCELERATOR", "USED", "QUOTA", "BORROWED", "AT MOST", "LENT", "AT MOST", ""]
    cells = []
    for usage in queue.usage:
        quota = quotas.get(usage.accelerator)
        most = _limit(quota.borrowing_limit) if quota is not None else "-"
        lends = _limit(quota.lending_limit) if quota is not None else "-"
        counts = [str(usage.used), str(usage.nominal), str(usage.borrowed), most, str(usage.lent), lends]
        cells.append([usage.accelerator, *counts, _bar(usage, terminal)])
    yield from table(header, cells, right=range(1, 7))


def _limit(limit: int | None) -> str:
    return "all" if limit is None else str(limit)


def _holds(queue: QueueView, now: float) -> Iterator[str]:
    if not queue.holds:
        yield "nobody holds accelerators of it"
        return
    header = ["HOLDS", "CHIPS", "ACCELERATOR", "PRIORITY", "FOR"]
    rows = [
        [
            g.name,
            str(g.chips),
            g.accelerator,
            str(g.priority),
            duration(max(0, round(1000 * (now - g.since)))),
        ]
        for g in queue.holds
    ]
    yield from _some(header, rows, right=(1, 3))


def _own_line(queue: QueueView, now: float, terminal: Terminal) -> Iterator[str]:
    if not queue.line:
        yield "nobody waits"
        return
    header = ["", "IN LINE", "CHIPS", "ACCELERATOR", "PRIORITY", "WAITS", "WHY"]
    rows = [[str(place), g.name, *_asked(g, now)] for place, g in enumerate(queue.line, 1)]
    yield from _some(header, rows, right=(0, 2, 4))
    first = queue.line[0]
    if first.message:
        yield ""
        yield from _wrapped(f"{first.name}: {first.message}", terminal)


def _wrapped(text: str, terminal: Terminal) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), terminal.width, subsequent_indent="  ")
