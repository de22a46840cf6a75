"""A gang that makes no steps any more: find out where its ranks are, say so, and end the attempt.

The ledger says when a silence is a hang. The launchers are asked for stacks; when all have answered, or after
ANSWER_SECONDS, an event tells where the ranks are, and what `failurePolicy.hang.action` says is done. The rank that is
elsewhere than its peers is the one that failed first; where none is, nobody's node is to blame. Should steps go on
meanwhile, nothing is done. Silence alone is no proof: something of the gang has to be heard, or it may be that nothing
gets through.

Each hang in a row has to last twice as long as the one before, 2^MAX_DOUBLINGS times as long at most: work that nobody
told of gets through in the end. While a checkpoint is asked for nothing is done, for that has a limit of its own. One
that is only waited for, since a node is about to go, would never come: stacks are asked for in its stead, unless all
that follows is a report.
"""

from __future__ import annotations

from typing import Final

from drumline.api.failure import HangAction
from drumline.api.goodput import Source
from drumline.api.orders import OrderKind
from drumline.api.reasons import Cause, Reason
from drumline.api.status import OrderStatus
from drumline.core.gang.clock import unix
from drumline.core.gang.detection import Moment
from drumline.core.gang.ledger.pulse import Pulse
from drumline.core.gang.stacks import Whereabouts, whereabouts
from drumline.core.training.progress_render import launches
from drumline.core.training.recovery import Ended, end_attempt
from drumline.core.training.rendering import reporting
from drumline.core.training.requests import ask, awaited, dated, settle
from drumline.core.training.view import View

ANSWER_SECONDS: Final = 15.0
HEARD_SECONDS: Final = 60.0  # what was heard longer ago is no proof that anything gets through
MAX_DOUBLINGS: Final = 3
_SOON: Final = 0.1
_NO_STACKS: Final = "no launcher runs that could tell where its ranks are"


def hang(view: View) -> View:
    """Act on a hang, once what can be known of it is known."""
    view = dated(view)
    pulse, asked = view.obs.pulse, _stacks(view)
    if not view.live or pulse is None or _began_now(view):
        return view
    if _nobody_cares(view):
        return view if asked is None else settle(view)
    if _waits_for_checkpoint(view):
        return view
    wait = _wait(view, pulse)
    if wait is None or wait > 0:
        return (view if asked is None else _over(view, pulse)).again_in(wait)
    return view if _is_told(view, pulse) else _hangs(view, pulse, asked)


def _hangs(view: View, pulse: Pulse, asked: OrderStatus | None) -> View:
    if asked is None and launches(view.spec, reporting(view.obs.settings)):
        return ask(view, OrderKind.STACKS, _silence(pulse)).again_in(ANSWER_SECONDS)
    since = max(unix(asked.at), view.obs.crew_since) if asked is not None else 0.0
    left = since + ANSWER_SECONDS - view.now
    answers = _answers(view, asked)
    if left > 0 and len(answers) < view.roster.workers:
        return view.again_in(left)
    if not answers and view.now - pulse.heard_at > HEARD_SECONDS:
        return view.again_in(ANSWER_SECONDS)
    return _act(view, pulse, answers)


def _nobody_cares(view: View) -> bool:
    return view.spec.failure_policy.hang.action is HangAction.IGNORE or bool(view.succeeded())


def _began_now(view: View) -> bool:
    """Whether this decision began the epoch, so that the pulse is of the one before."""
    return view.status.epoch != view.obs.status.epoch


def _stacks(view: View) -> OrderStatus | None:
    """The request for stacks that is outstanding."""
    asked = awaited(view)
    return asked if asked is not None and asked.kind is OrderKind.STACKS else None


def _waits_for_checkpoint(view: View) -> bool:
    asked = awaited(view)
    if asked is None or asked.kind is OrderKind.STACKS:
        return False
    return asked.kind is OrderKind.CHECKPOINT or view.spec.failure_policy.hang.action is HangAction.REPORT


def _wait(view: View, pulse: Pulse) -> float | None:
    """Seconds until it is a hang that something is done about; None: by time alone it never is."""
    if not pulse.hanging:
        return max(pulse.due, _SOON) if pulse.due is not None else None
    return _limit(view, pulse) - pulse.silent


def _limit(view: View, pulse: Pulse) -> float:
    in_a_row = 0
    for attempt in reversed(view.status.attempts[:-1]):
        if attempt.cause != Cause.HANG:
            break
        in_a_row += 1
    return float(pulse.limit * 2 ** min(in_a_row, MAX_DOUBLINGS))


def _is_told(view: View, pulse: Pulse) -> bool:
    """Whether this very hang was told of already, and that was all that was to be done."""
    order = view.status.order
    over = order is not None and order.kind is OrderKind.STACKS and order.ended_at is not None
    return over and order is not None and unix(order.at) >= pulse.progress_at


def _silence(pulse: Pulse) -> str:
    return f"no step has ended for {pulse.silent:.0f} s, since step {pulse.step}"


def _answers(view: View, asked: OrderStatus | None) -> dict[int, str]:
    """Stacks of the ranks that answered."""
    if asked is None:
        return {}
    return {i: p.stacks for i, p in view.obs.crew.items() if p.seen >= asked.number}


def _over(view: View, pulse: Pulse) -> View:
    text = f"attempt {view.status.attempt} goes on after a silence, at step {pulse.step}: nothing is done"
    return settle(view).event("Normal", Reason.HANG_OVER, text)


def _act(view: View, pulse: Pulse, answers: dict[int, str]) -> View:
    found = whereabouts({i: answers.get(i, "") for i in range(view.roster.workers)} if answers else {})
    limit = _limit(view, pulse)
    text = f"{_silence(pulse)}, and the limit is {limit:.0f} s; {str(found) or _NO_STACKS}"
    if _stacks(view) is None:
        view = ask(view, OrderKind.STACKS, _silence(pulse))  # on record, so that it is told once
    view = settle(view).event("Warning", Reason.HANG_DETECTED, f"attempt {view.status.attempt}: {text}")
    if view.spec.failure_policy.hang.action is HangAction.REPORT:
        return view
    last_step = Moment(pulse.progress_at, Source.REPORTED)
    return end_attempt(view, _ended(view, found, f"{Cause.HANG.value}: {text}", last_step), hang.__name__)


def _ended(view: View, found: Whereabouts, text: str, last_step: Moment) -> Ended:
    if found.suspect is None:
        return Ended(Cause.HANG, 0, text, nobody=True, happened=last_step)
    pod = view.current().get(found.suspect)
    return Ended(Cause.HANG, found.suspect, text, pod, last_lines=found.excerpt, happened=last_step)
