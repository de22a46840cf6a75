"""``kubectl drumline explain`` as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from drumline.cli.goodput_text import ASCII
from drumline.cli.goodput_words import duration
from drumline.cli.terminal import Terminal
from drumline.core.gang.clock import rfc3339
from drumline.core.gang.explain import Explanation, Holder

if TYPE_CHECKING:
    from drumline.cli.explain_view import ExplainView

NAMED: Final = 5  # gangs
_LABEL: Final = 10  # columns


def told(view: ExplainView, terminal: Terminal) -> str:
    """Some lines of text."""
    lines = [f"{view.namespace}/{view.name} waits"]
    for label, text in _parts(view):
        lines += _line(label, text, terminal)
    whole = "\n".join(lines) + "\n"
    return whole if terminal.unicode else whole.translate(ASCII)


def _parts(view: ExplainView) -> Iterator[tuple[str, str]]:
    found = view.found
    if view.said:
        yield "Operator", view.said
    if view.lost is not None:
        yield "Now", f"it stands in no line: {view.lost.refusal.reason}: {view.lost.refusal.message}"
        yield "To begin", view.lost.change
        return
    if view.queue:
        yield "Queue", view.queue
    now = found.refusal
    yield "Now", "there is room for it" if now is None else f"{now.reason}: {now.message}"
    if found.ever is not None:
        yield "Ever", f"not in this cluster: {found.ever.message}, even if every other gang ended"
        return
    yield "In line", _line_up(view)
    if now is not None:
        yield "To begin", _leavers(found)
        yield "When", _when(view)


def _victims(found: Explanation) -> str:
    names = _named(tuple(_holder(h) for h in found.victims))
    return f"by the right of its queue these leave for it, once each has saved a checkpoint or its grace is over: {names}"


def _line_up(view: ExplainView) -> str:
    ahead, settings = view.found.ahead, view.settings
    place = f"number {len(ahead) + 1} of those that want this accelerator"
    text = f"{place}; before it {_named(ahead)}" if ahead else place
    if view.aged:
        text += f"; it has waited for {duration(round(1000 * settings.aging))}, so no priority goes before it"
    return f"{text} ({settings.doubt})" if settings.doubt else text


def _named(names: tuple[str, ...]) -> str:
    more = len(names) - NAMED
    return ", ".join((*names[:NAMED], *([f"{more} more"] if more > 0 else [])))


def _leavers(found: Explanation) -> str:
    if found.victims:
        return _victims(found)
    text = _must_end(found)
    if found.soonest is None:
        return text
    wait = duration(max(1000, round(1000 * found.soonest)))
    return f"{text}. Its queue may preempt a gang that has run long enough in {wait}"


def _must_end(found: Explanation) -> str:
    if not found.leavers:
        return "no gang of its priority or a lower one holds enough: others have to end by themselves"
    return f"at once, these would have to end: {_named(tuple(_holder(h) for h in found.leavers))}"


def _holder(holder: Holder) -> str:
    unsaved = duration(round(1000 * holder.unsaved_seconds))
    return f"{holder.name} ({holder.chips} accelerators, priority {holder.priority}, {unsaved} of work not saved)"


def _when(view: ExplainView) -> str:
    if view.found.by is None:
        return f"no telling: {view.undated} of the gangs that hold nodes have no deadline"
    left = duration(round(1000 * (view.found.by - view.now)))
    return f"by {rfc3339(view.found.by)} (in {left}) at the latest, by others' deadlines, if nobody else takes the room"


def _line(label: str, text: str, terminal: Terminal) -> list[str]:
    head = f"{label + ':':<{_LABEL}}"
    return textwrap.wrap(
        " ".join(text.split()),
        terminal.width,
        initial_indent=f"  {head}",
        subsequent_indent=" " * (_LABEL + 2),
    )
