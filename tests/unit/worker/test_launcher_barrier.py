"""Processes behind the launcher's barrier, with an operator that gives orders."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from drumline.api.report import Report

from .operator_desk import Desk
from .pod import FIRST, SLEEPER, Pod, launcher, operator, pod

__all__ = ["launcher", "operator", "pod"]

EPOCHS = """
import os, sys, time
epoch = int(os.environ["DRUMLINE_EPOCH"])
print("epoch", epoch, flush=True)
if epoch < 2:
    sys.exit(10 + epoch)
"""


def test_a_process_that_fails_is_followed_when_the_operator_says_so(pod: Pod, operator: Desk) -> None:
    operator.order(**FIRST)
    process = pod.start(EPOCHS)
    for epoch in range(2):
        ended = operator.reaches("Ended", epoch)
        assert (ended.exit_code, ended.attempt, ended.job.uid) == (10 + epoch, 3, "0a1b")
        assert ended.text.splitlines() == [f"exit code {10 + epoch}", f"epoch {epoch}"]
        operator.order(epoch=epoch + 1, go=False)
        assert operator.reaches("Held", epoch + 1).exit_code == 0
        operator.order(epoch=epoch + 1, go=True)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (0, b"epoch 0\nepoch 1\nepoch 2\n"), errors
    states = [(m.epoch, m.state.value) for m in operator.musters]
    assert list(dict.fromkeys(states)) == [
        (0, "Held"),
        (0, "Running"),
        (0, "Ended"),
        (1, "Held"),
        (1, "Running"),
        (1, "Ended"),
        (2, "Held"),
        (2, "Running"),
    ]
    assert len({m.origin for m in operator.musters}) == 1
    assert operator.connections == 1, "what is said meanwhile needs no connection of its own"
    assert list((pod.folder / "tmp").iterdir()) == []


def test_an_ended_process_has_its_successor_at_once_where_all_may_go(pod: Pod, operator: Desk) -> None:
    operator.order(**FIRST)
    process = pod.start(EPOCHS)
    operator.reaches("Ended", 0)
    began = time.monotonic()
    operator.order(epoch=2, go=True)
    assert process.wait(60) == 0
    assert time.monotonic() - began < 20.0, "it does not wait until its poll is over"


def test_orders_of_a_later_epoch_end_a_process_and_what_it_left(pod: Pod, operator: Desk) -> None:
    operator.order(**FIRST)
    process = pod.start(
        """
        import os, signal, subprocess, sys, time
        epoch = os.environ["DRUMLINE_EPOCH"]
        if epoch == "0":
            signal.signal(signal.SIGTERM, lambda *_: None)
            more = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
            orphan = subprocess.Popen(["sh", "-c", f"{sys.executable} -c '{more}' & echo $!"], stdout=-1)
            open("orphan", "w").write(orphan.stdout.readline().decode())
            time.sleep(60)
        """
    )
    orphan = int(pod.wait_for("orphan"))
    began = time.monotonic()
    operator.order(epoch=1, go=False, grace_seconds=0.3)
    operator.reaches("Held", 1)
    assert 0.3 <= time.monotonic() - began < 30.0
    assert not _runs(orphan)
    operator.order(epoch=1, go=True)
    assert process.wait(60) == 0


def test_a_process_that_obeys_is_not_waited_for(pod: Pod, operator: Desk) -> None:
    operator.order(**FIRST)
    process = pod.start(SLEEPER)
    pod.wait_for("running-0")
    began = time.monotonic()
    operator.order(epoch=1, grace_seconds=30.0)
    assert process.wait(60) == 0
    assert time.monotonic() - began < 25.0
    pod.wait_for("running-1")


def test_an_attempt_that_is_over_ends_the_wait_as_the_process_ended(pod: Pod, operator: Desk) -> None:
    operator.order(**FIRST)
    process = pod.start("print('the reason'); raise SystemExit(42)")
    operator.reaches("Ended")
    operator.refuse(409)
    assert process.wait(60) == 42
    assert pod.log.read_text() == "exit code 42\nthe reason"


def test_a_reader_that_is_slow_gets_all_of_the_last_process(pod: Pod, operator: Desk) -> None:
    operator.order(**FIRST)
    process = pod.start("import os; os.write(1, b'x' * 150_000); os._exit(6)")
    operator.reaches("Ended")
    operator.refuse(409)
    time.sleep(0.2)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, len(output)) == (6, 150_000)


def test_the_last_words_are_those_of_the_last_process(pod: Pod, operator: Desk) -> None:
    operator.order(**FIRST)
    process = pod.start(EPOCHS)
    operator.reaches("Ended", 0)
    assert pod.log.read_text() == "exit code 10\nepoch 0"
    operator.order(epoch=1)
    operator.reaches("Ended", 1)
    operator.refuse(409)
    assert process.wait(60) == 11
    assert pod.log.read_text() == "exit code 11\nepoch 1"


@pytest.mark.parametrize("status", [503, 404])
def test_where_nobody_answers_it_ends_as_its_process_did(pod: Pod, operator: Desk, status: int) -> None:
    operator.order(**FIRST)
    pod.environ["DRUMLINE_BARRIER_SECONDS"] = "3.0"
    process = pod.start("raise SystemExit(7)")
    operator.reaches("Ended")
    operator.refuse(status)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (
        7,
        b"drumline: nobody has said for 3 s what is to be done; ending\n",
    )


@pytest.mark.parametrize("seconds", ["inf", "1e12"])
def test_it_may_wait_for_ever(pod: Pod, operator: Desk, seconds: str) -> None:
    operator.order(**FIRST)
    pod.environ["DRUMLINE_BARRIER_SECONDS"] = seconds
    process = pod.start("raise SystemExit(7)")
    operator.reaches("Ended")
    operator.refuse(409)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (7, b"")


@pytest.mark.parametrize(
    ("url", "barrier"),
    [("http://[", "0"), ("http://[", "1"), ("http://127.0.0.1:none/v1/report", "0"), ("ftp://there/v1", "0")],
)
def test_an_address_that_is_none_does_not_concern_the_command(pod: Pod, url: str, barrier: str) -> None:
    pod.environ |= {"DRUMLINE_REPORT_URL": url, "DRUMLINE_BARRIER": barrier}
    process = pod.start("print('ran'); raise SystemExit(7)")
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors.count(b"Traceback")) == (7, b"ran\n", 0), errors


def test_a_signal_ends_the_wait(pod: Pod, operator: Desk) -> None:
    operator.order(**FIRST)
    process = pod.start("raise SystemExit(7)")
    operator.reaches("Ended")
    process.terminate()
    assert process.wait(60) == 143


def test_a_process_that_a_signal_ended_has_no_successor(pod: Pod, operator: Desk) -> None:
    operator.order(**FIRST)
    process = pod.start(SLEEPER)
    pod.wait_for("running-0")
    process.terminate()
    assert process.wait(60) == -signal.SIGTERM


def test_a_restarted_container_begins_with_the_epoch_that_is(pod: Pod, operator: Desk) -> None:
    operator.order(epoch=2, go=False)
    pod.environ["PET_RDZV_ID"] = "job-3-0"
    process = pod.start("import os; print(os.environ['DRUMLINE_EPOCH'], os.environ['PET_RDZV_ID'])")
    operator.reaches("Held", 2)
    operator.order(epoch=2, go=True)
    output, _ = process.communicate(timeout=60)
    assert output == b"2 job-3-0-2\n"


@pytest.mark.parametrize("silent", [False, True])
def test_a_process_begins_where_nobody_answers(pod: Pod, operator: Desk, silent: bool) -> None:
    operator.refuse(503)
    listening = socket.create_server(("127.0.0.1", 0))
    if silent:
        pod.environ["DRUMLINE_REPORT_URL"] = f"http://127.0.0.1:{listening.getsockname()[1]}/v1/report"
    hurry = f"""
import sys
sys.path.insert(0, {str(pod._launcher)!r})
from drumline.worker import barrier, launcher
barrier.ASK_SECONDS = {0.3 if silent else 3.0}
sys.exit(launcher.main([sys.executable, "-c", "raise SystemExit(0)"], sys.path[0]))
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", hurry], env=pod.environ, check=False, timeout=60)
    assert done.returncode == 0
    assert [m.state.value for m in operator.musters[:1]] == ([] if silent else ["Held"])
    listening.close()


def test_without_a_barrier_orders_of_epochs_concern_nobody(pod: Pod, operator: Desk) -> None:
    del pod.environ["DRUMLINE_BARRIER"]
    operator.order(epoch=4, go=False)
    program = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\nraise SystemExit(9)"
    process = pod.start(program)
    operator.until(lambda m: m.digest.startswith("4"))
    (pod.folder / "go").touch()
    assert process.wait(60) == 9
    assert {(m.epoch, m.state.value) for m in operator.musters} == {(0, "Running")}


def test_each_epoch_reports_by_itself(pod: Pod, operator: Desk) -> None:
    operator.order(**FIRST)
    pod.environ.update(PET_RDZV_ID="job-3-0", DRUMLINE_LAUNCHER_MARKER="of somebody else")
    process = pod.start(
        """
        import json, os, sys
        names = ("DRUMLINE_EPOCH", "PET_RDZV_ID", "DRUMLINE_LAUNCHER_MARKER", "DRUMLINE_STACKS", "PYTHONPATH")
        print(json.dumps([os.environ[n] for n in names]))
        sys.exit(0 if os.environ["DRUMLINE_EPOCH"] == "1" else 3)
        """
    )
    operator.reaches("Ended")
    operator.order(epoch=1)
    output, _ = process.communicate(timeout=60)
    first, second = map(json.loads, output.splitlines())
    assert (first[:2], second[:2]) == (["0", "job-3-0"], ["1", "job-3-0-1"])
    assert all(a != b for a, b in zip(first[2:4], second[2:4], strict=True))
    assert first[4].count("hooks") == second[4].count("hooks") == 1


def test_each_epoch_has_a_reporter_of_its_own(pod: Pod, operator: Desk) -> None:
    operator.order(**FIRST)
    pod.environ["DRUMLINE_REPORTER"] = "first"
    pod.environ["DRUMLINE_PROGRESS"] = json.dumps({"source": "launcher", "pattern": r"STEP (?P<step>\d+)"})
    process = pod.start(
        """
        import os, sys, time
        epoch = int(os.environ["DRUMLINE_EPOCH"])
        for step in range(3):
            print("STEP", 10 * epoch + step, flush=True)
        while not os.path.exists(f"reported-{epoch}"):
            time.sleep(0.01)
        sys.exit(0 if epoch == 1 else 3)
        """
    )
    last = []
    for epoch in range(2):
        operator.order(epoch=epoch)
        # there may be more than one report, and what one has need not be in the next
        operator.reported(epoch, lambda told, first=10 * epoch: _steps(told) == [first, first + 1, first + 2])
        (pod.folder / f"reported-{epoch}").touch()
        last.append(operator.reported(epoch, lambda told: any(r.final for r in told))[-1])
    assert process.wait(60) == 0
    assert [report.exit.splitlines()[0] for report in last] == ["exit code 3", "exit code 0"]
    assert last[0].origin != last[1].origin


def _steps(reports: list[Report]) -> list[int]:
    return sorted({span.step for report in reports for span in report.spans if span.step is not None})


@pytest.mark.skipif(os.geteuid() != 0, reason="making a process namespace takes root")
def test_as_a_containers_first_process_it_ends_all_others(pod: Pod, operator: Desk) -> None:
    operator.order(**FIRST)
    program = """
import os, subprocess, sys
if os.environ["DRUMLINE_EPOCH"] == "0":
    subprocess.Popen(["setsid", "env", "-i", "/bin/sleep", "60"])
    sys.exit(5)
print(open("/proc/self/stat").read().split()[0], [p for p in os.listdir("/proc") if p.isdigit()])
"""
    inside = [sys.executable, str(pod._launcher), "--", sys.executable, "-c", program]
    unshare = ["unshare", "--pid", "--mount-proc", "--fork", "--kill-child", *inside]
    process = subprocess.Popen(unshare, env=pod.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    pod.processes.append(process)
    operator.reaches("Ended")
    operator.order(epoch=1)
    output, errors = process.communicate(timeout=60)
    own, _, others = output.decode().partition(" ")
    assert (process.returncode, others.strip()) == (0, f"['1', '{own}']"), errors


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
