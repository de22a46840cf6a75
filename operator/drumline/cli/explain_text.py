"""``kubectl drumline explain`` as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from drumline.api.reasons import Reason
from drumline.cli.goodput_text import ASCII
from drumline.cli.goodput_words import duration
from drumline.cli.terminal import Terminal
from drumline.core.gang.clock import rfc3339
from drumline.core.gang.explain import Explanation, Holder
from drumline.core.gang.explain_line import MAX_BEFORE
from drumline.core.gang.types import Refusal

if TYPE_CHECKING:
    from drumline.cli.explain_nodes import NodesWish
    from drumline.cli.explain_view import ExplainView

NAMED: Final = 5  # gangs
_LABEL: Final = 10  # columns
_RIGHT: Final = (
    "by the right of its queue these leave for it, once each has saved a checkpoint or its grace is over"
)


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
    yield "Now", _now(view)
    if found.ever is not None:
        yield "Ever", _ever(view, found.ever)
    if view.nodes is not None:
        yield "Nodes", _nodes(view.nodes)
    if found.ever is None:
        yield "In line", _line_up(view)
        if found.refusal is not None:
            yield "To begin", _leavers(found)
            yield "When", "; ".join(_when(view))
    if view.settings.doubt:
        yield "Settings", f"{view.settings.doubt}: defaults are taken, and no power budget is known"


def _now(view: ExplainView) -> str:
    found = view.found
    if found.refusal is None:
        return f"there is room for it{_unsure(view)}"
    text = f"{found.refusal.reason}: {found.refusal.message}"
    if not found.behind:
        return text
    if found.room is None:
        return f"{text}; if it waited for nobody, there would be room for it"
    return f"{text}; nor is there room for it: {found.room.reason}: {found.room.message}"


def _unsure(view: ExplainView) -> str:
    """Why the operator may see no room all the same."""
    if view.settings.doubt:
        return ", but power budgets are not known here (see Settings)"
    if view.said and not view.said.startswith(f"{Reason.QUEUED}:"):
        return "; what the operator says may be of a look before, or room is kept for others"
    return ""


def _ever(view: ExplainView, never: Refusal) -> str:
    where = "not in this cluster" if view.nodes is None else "not on the nodes that there are"
    return f"{where}: {never.message}, even if every other gang ended"


def _nodes(wish: NodesWish) -> str:
    after = f"once it has been refused nodes for {wish.by.after_seconds} s"
    if wish.due_in is not None:
        left = f"in {duration(round(1000 * wish.due_in))}" if wish.due_in > 0 else "now"
        after = f"{after} ({left})"
    return f"{after}, it asks for nodes that are not there, by {wish.means}"


def _line_up(view: ExplainView) -> str:
    ahead, settings = view.found.ahead, view.settings
    place = f"number {len(ahead) + 1} of those that want this accelerator"
    if view.strict:
        place += " or stand in its queue, which is StrictFIFO"
    text = f"{place}; before it {_named(ahead)}" if ahead else place
    if view.aged:
        text += f"; it has waited for {duration(round(1000 * settings.aging))}, so no priority goes before it"
    return text


def _named(names: tuple[str, ...]) -> str:
    more = len(names) - NAMED
    return ", ".join((*names[:NAMED], *([f"{more} more"] if more > 0 else [])))


def _leavers(found: Explanation) -> str:
    if found.behind:
        return f"first {found.behind} has to begin, or to leave the line"
    if found.victims:
        return f"{_RIGHT}: {_holders(found.victims)}"
    if not found.leavers:
        return "no gang of its priority or a lower one holds enough: others have to end by themselves"
    return f"at once, these would have to end: {_holders(found.leavers)}"


def _holders(holders: tuple[Holder, ...]) -> str:
    return _named(tuple(map(_holder, holders)))


def _holder(holder: Holder) -> str:
    unsaved = duration(round(1000 * holder.unsaved_seconds))
    return f"{holder.name} ({holder.chips} accelerators, priority {holder.priority}, {unsaved} of work not saved)"


def _when(view: ExplainView) -> Iterator[str]:
    found = view.found
    if found.victims:
        yield "as soon as these have left"
    if found.preempts_at is not None:
        names = ", ".join(h.name for h in found.later[:NAMED])
        alone = " if those before it leave them to it" if found.ahead else ""
        yield f"from {_moment(found.preempts_at, view)} on its queue may have these leave for it{alone}: {names}"
    if found.by is not None:
        yield f"by {_moment(found.by, view)} at the latest, by {_whose(found)}, if nobody else takes the room"
    elif not found.victims:
        yield f"no telling{' otherwise' if found.preempts_at is not None else ''}: {_unbounded(found)}"


def _moment(at: float, view: ExplainView) -> str:
    return f"{rfc3339(at)} (in {duration(max(0, round(1000 * (at - view.now))))})"


def _whose(found: Explanation) -> str:
    return "the deadlines of others and of those before it" if found.ahead else "others' deadlines"


def _unbounded(found: Explanation) -> str:
    if found.endless:
        return f"of those that hold nodes or stand before it these have no deadline: {_named(found.endless)}"
    if len(found.ahead) > MAX_BEFORE:
        return f"more than {MAX_BEFORE} stand before it"
    return "others' deadlines free too little for it and for those before it"


def _line(label: str, text: str, terminal: Terminal) -> list[str]:
    head = f"{label + ':':<{_LABEL}}"
    return textwrap.wrap(
        " ".join(text.split()),
        terminal.width,
        initial_indent=f"  {head}",
        subsequent_indent=" " * (_LABEL + 2),
    )
