"""The second opinion on productive seconds, on logs made up by hand."""

import ast
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from e2e import goodput_check
from e2e.goodput_check import (
    TOLERANCE,
    Container,
    Lines,
    account,
    difference,
    main,
    productive_seconds,
    read_folder,
)
from e2e.goodput_record import container_of

START = 1_763_600_400.0
RECORDED = Path(__file__).parents[2] / "golden" / "goodput"


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(START + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "789Z"


def log(*said: tuple[float, str]) -> str:
    return "".join(f"{stamp(at)} {text}\n" for at, text in said)


def steps(first: int, last: int, at: float, every: float = 1.0) -> list[tuple[float, str]]:
    """Steps `first` to `last`, the first of which ends at `at`."""
    return [(at + every * (n - first), f"step {n} loss 0.5") for n in range(first, last + 1)]


def gang(attempt: int, start: float, stop: float, code: int = 0, workers: int = 2) -> list[Container]:
    return [
        Container(f"job-{attempt}-0-{n}", attempt, START + start, START + stop, code) for n in range(workers)
    ]


def test_it_shares_no_code_with_what_it_checks() -> None:
    tree = ast.parse(Path(goodput_check.__file__).read_text())
    names = [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    names += [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    assert not [name for name in names if name.startswith(("drumline", "e2e"))]


def test_one_attempt_that_succeeds() -> None:
    # step 1 ends 9 s after the start and counts as the usual 1 s; 2 to 10 take 1 s each: 10 s, twice
    text = log((2, "2 processes, 2 devices in all"), *steps(1, 10, 9), (19, "test accuracy 96 %"))
    assert productive_seconds({1: text}, gang(1, 0, 20)) == pytest.approx(20)


def test_steps_that_were_run_again_do_not_count() -> None:
    # 1 to 7, of which 5 are kept; then 6 to 10 again, all kept: 10 steps of 1 s, twice
    first = log(*steps(1, 7, 5))
    second = log((40, "resumed from step 5"), *steps(6, 10, 50))
    containers = [*gang(1, 0, 12, code=137), *gang(2, 30, 55)]
    assert productive_seconds({1: first, 2: second}, containers) == pytest.approx(20)


def test_an_attempt_keeps_no_more_than_any_later_one_left() -> None:
    # the third attempt went on from 2, behind where the second began: 2 + 0 + 8 steps, one worker
    logs = {
        1: log(*steps(1, 7, 5)),
        2: log((40, "resumed from step 5"), *steps(6, 8, 50)),
        3: log((70, "resumed from step 2"), *steps(3, 10, 80)),
    }
    containers = [*gang(1, 0, 12, 1, 1), *gang(2, 30, 53, 1, 1), *gang(3, 60, 90, 0, 1)]
    assert productive_seconds(logs, containers) == pytest.approx(10)


def test_steps_between_two_lines_share_the_time() -> None:
    # lines at 10, 20, 30, 4 s apart: 0.4 s a step. 25 kept: 10 · 0.4 + 4 + 2 = 10 s; then 26 to 30: 2 s
    first = log((9, "step 10 loss 1"), (13, "step 20 loss 1"), (17, "step 30 loss 1"))
    second = log((40, "resumed from step 25"), (50, "step 30 loss 1"))
    containers = [*gang(1, 0, 18, 1, 1), *gang(2, 30, 51, 0, 1)]
    assert productive_seconds({1: first, 2: second}, containers) == pytest.approx(12)


def test_what_blocked_inside_a_step_does_not_count() -> None:
    text = log(*steps(1, 3, 5), (7.5, "checkpoint 3 save blocked 0.6 s"), (8.6, "step 4 loss 1"))
    assert productive_seconds({1: text}, gang(1, 0, 9, 0, 1)) == pytest.approx(4)


def test_a_slow_step_counts_as_a_usual_one() -> None:
    # 29 steps of 1 s, one of 8 s, after which all are 7 s later; MAD counts as 1 ms, so the slow one is worth 1.003 s
    text = log(*steps(1, 29, 5), *steps(30, 40, 41))
    assert productive_seconds({1: text}, gang(1, 0, 60, 0, 1)) == pytest.approx(40.003)


def test_a_slow_step_is_not_known_before_twenty() -> None:
    text = log(*steps(1, 5, 5), *steps(6, 10, 17))  # step 6 takes 8 s
    assert productive_seconds({1: text}, gang(1, 0, 60, 0, 1)) == pytest.approx(17)


def test_without_success_only_what_is_durable_counts() -> None:
    text = log(*steps(1, 6, 5), (10.1, "checkpoint 6 is durable"), *steps(7, 9, 11))
    assert productive_seconds({1: text}, gang(1, 0, 14, 1, 1)) == pytest.approx(6)
    assert productive_seconds({1: log(*steps(1, 6, 5))}, gang(1, 0, 14, 1, 1)) == 0


def test_only_while_all_containers_run() -> None:
    # rank 1 is gone between 10 and 11 s; step 8 would have ended at 12
    containers = [*gang(1, 0, 20, 0, 1), Container("job-1-0-1", 1, START, START + 10, 0)]
    assert productive_seconds({1: log(*steps(1, 8, 5))}, containers) == pytest.approx(2 * 7)


def test_lines_that_are_not_the_programs_own() -> None:
    text = "no time here\n" + log((1, "WARNING step 9 of init"), *steps(1, 3, 5)) + "\n"
    assert productive_seconds({1: text}, gang(1, 0, 9, 0, 1)) == pytest.approx(3)
    assert productive_seconds({1: ""}, gang(1, 0, 9)) == 0
    assert productive_seconds({}, []) == 0


def test_other_words() -> None:
    text = log((1, "it=1"), (2, "it=2"), (3, "it=3"))
    lines = Lines(step=r"^it=(?P<step>\d+)")
    assert productive_seconds({1: text}, gang(1, 0, 4, 0, 1), lines) == pytest.approx(3)


def goodput(productive_ms: int) -> dict[str, Any]:
    states = [{"state": "queued", "ms": 5}, {"state": "productive", "ms": productive_ms}]
    return {"status": {"goodput": {"states": states, "chipsPerLane": 8}}}


def test_the_account_is_in_accelerator_time() -> None:
    assert account(goodput(160_000)) == 20
    assert difference(20, 20.1) == pytest.approx(0.005)
    assert difference(0, 0) == 0
    assert difference(0, 1) == 1


@pytest.mark.parametrize(
    ("milliseconds", "code", "word"), [(160_800, 0, "agrees"), (164_000, 1, "DISAGREES")]
)
def test_from_files(
    milliseconds: int, code: int, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {
        "attempt": 1,
        "startedAt": "2025-11-20T01:00:00Z",
        "finishedAt": "2025-11-20T01:00:20Z",
        "exitCode": 0,
    }
    containers = [{"pod": f"job-1-0-{n}", "rank": n, **entry} for n in range(2)]
    (tmp_path / "containers.json").write_text(json.dumps(containers))
    (tmp_path / "1.log").write_text(log(*steps(1, 10, 9)))
    (tmp_path / "job.json").write_text(json.dumps(goodput(milliseconds)))
    assert main([str(tmp_path), "--job", str(tmp_path / "job.json")]) == code
    out = capsys.readouterr().out
    assert "20.000 productive worker-seconds" in out
    assert word in out
    assert main([str(tmp_path)]) == 0


def test_a_real_run_on_a_busy_machine() -> None:
    """examples/jax-digits.yaml with one worker killed, as recorded; logs without other programs' lines."""
    job = json.loads((RECORDED / "job.json").read_text())
    mine = productive_seconds(*read_folder(RECORDED))
    assert mine == pytest.approx(59.764, abs=0.001)
    assert account(job) == pytest.approx(59.958)
    assert difference(mine, account(job)) <= TOLERANCE
    goodput = job["status"]["goodput"]
    assert sum(entry["ms"] for entry in goodput["states"]) == goodput["elapsedMs"]


def test_what_a_pod_says_of_its_container() -> None:
    pod: dict[str, Any] = {
        "metadata": {
            "name": "job-2-0-0",
            "labels": {"drumline.dev/attempt": "2", "drumline.dev/rank": "0"},
        },
        "spec": {"containers": [{"name": "train"}, {"name": "side"}]},
        "status": {
            "containerStatuses": [
                {"name": "side", "state": {"running": {"startedAt": "z"}}},
                {
                    "name": "train",
                    "state": {"terminated": {"startedAt": "a", "finishedAt": "b", "exitCode": 1}},
                },
            ]
        },
    }
    found = {"pod": "job-2-0-0", "attempt": 2, "rank": 0, "startedAt": "a", "finishedAt": "b", "exitCode": 1}
    assert container_of(pod) == found
    assert container_of({**pod, "status": {}}) is None
