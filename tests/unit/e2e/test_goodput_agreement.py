"""The ledger and the second opinion agree on runs that both are told of, each in its own way."""

import pytest

from drumline.api.goodput import GoodputStatus, State
from drumline.core.gang.goodput import Facts, status_of
from drumline.core.gang.ledger.fold import fold_all
from drumline.core.gang.ledger.ledger import begin
from drumline.core.gang.ledger.settings import LedgerSettings
from drumline.core.gang.ledger.summary import summary
from e2e.goodput_check import TOLERANCE, account, difference, productive_seconds
from tests.unit.e2e.goodput_run import REPORT_MS, START, USUAL_MS, Run, play


def accounted(run: Run) -> GoodputStatus:
    ledger = fold_all(begin(START, 2, 1, LedgerSettings()), run.events)
    return status_of(summary(ledger, ledger.at), Facts(), ledger.at)


def ms(status: GoodputStatus, state: State) -> int:
    return next((entry.ms for entry in status.states if entry.state == state), 0)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kill_at", [130, 149, 999])
def test_they_agree(seed: int, kill_at: int) -> None:
    run = play(seed, kill_at=kill_at)
    status = accounted(run)
    mine = productive_seconds(run.logs, run.containers)
    theirs = account({"status": {"goodput": status.to_json()}})
    assert mine > 50
    assert difference(mine, theirs) <= TOLERANCE
    assert sum(entry.ms for entry in status.states) == status.elapsed_ms
    assert status.provisional_ms == 0


@pytest.mark.parametrize("seed", range(4))
def test_they_agree_where_only_every_tenth_step_prints(seed: int) -> None:
    run = play(seed, every_line=10)
    status = accounted(run)
    mine = productive_seconds(run.logs, run.containers)
    # ten steps in one row hide a slow one among them, which reports of each step don't
    theirs = account({"status": {"goodput": status.to_json()}})
    assert difference(mine, theirs) <= 0.05


@pytest.mark.parametrize("seed", range(8))
def test_what_rank_0_could_not_say_any_more_is_missed(seed: int) -> None:
    run = play(seed, mute=True)
    mine = productive_seconds(run.logs, run.containers)
    theirs = account({"status": {"goodput": accounted(run).to_json()}})
    # both workers' time since the last report, at most
    assert abs(mine - theirs) <= TOLERANCE * mine + 2 * (REPORT_MS + USUAL_MS) / 1000


def test_the_killed_run_is_told_as_it_was() -> None:
    status = accounted(play(1))
    assert (status.step, status.committed_step, status.lost_steps) == (300, 300, 5)
    assert ms(status, State.LOST_PROGRESS) > 0
    assert ms(status, State.DRAINING) == 2 * 1300
    restart = {entry.state: entry.restart_ms for entry in status.states}
    assert restart["queued"] == 2 * 2000
    assert restart["compile"] > 0
    assert {ratio.name for ratio in status.ratios} >= {"scheduling", "runtime", "ettr", "held"}
