"""Who reports."""

from __future__ import annotations

import pytest

from drumline.worker.identity import first_process, identity

from .conftest import ENVIRONMENT


@pytest.mark.parametrize(
    ("changes", "chosen"),
    [
        ({}, True),
        ({"DRUMLINE_WORKER": "1"}, False),
        ({"DRUMLINE_SLICE": "1"}, False),
        ({"DRUMLINE_SLICE": "1", "DRUMLINE_REPORTER": "all-slices"}, True),
        ({"DRUMLINE_SLICE": "1", "DRUMLINE_WORKER": "1", "DRUMLINE_REPORTER": "all-slices"}, False),
        ({"DRUMLINE_WORKER": "5", "DRUMLINE_REPORTER": "all-workers"}, True),
        ({"DRUMLINE_REPORTER": "none"}, False),
        ({"DRUMLINE_HELPER": "loader"}, False),
    ],
)
def test_chosen(changes: dict[str, str], chosen: bool) -> None:
    assert identity({**ENVIRONMENT, **changes}).chosen is chosen


@pytest.mark.parametrize(
    "missing",
    [
        "DRUMLINE_REPORT_URL",
        "DRUMLINE_JOB",
        "DRUMLINE_JOB_NAMESPACE",
        "DRUMLINE_JOB_UID",
        "DRUMLINE_ATTEMPT",
    ],
)
def test_without_its_environment_nothing_is_configured(missing: str) -> None:
    environ = {name: value for name, value in ENVIRONMENT.items() if name != missing}
    assert identity(ENVIRONMENT).configured
    assert not identity(environ).configured


def test_the_last_rank_is_on_the_last_worker_of_the_last_slice() -> None:
    sizes = {"DRUMLINE_SLICES": "2", "DRUMLINE_WORKERS_PER_SLICE": "4"}
    assert identity({**ENVIRONMENT, **sizes, "DRUMLINE_SLICE": "1", "DRUMLINE_WORKER": "3"}).last
    assert not identity({**ENVIRONMENT, **sizes, "DRUMLINE_SLICE": "0", "DRUMLINE_WORKER": "3"}).last


@pytest.mark.parametrize(
    ("environ", "first"),
    [
        ({}, True),
        ({"LOCAL_RANK": "0"}, True),
        ({"LOCAL_RANK": "3"}, False),
        ({"SLURM_LOCALID": "1"}, False),
        ({"LOCAL_RANK": "x"}, True),
    ],
)
def test_first_process(environ: dict[str, str], first: bool) -> None:
    assert first_process(environ) is first


def test_what_is_not_json_says_nothing_of_progress() -> None:
    for text in ("", "{", "[]", "3"):
        assert identity({"DRUMLINE_PROGRESS": text}).progress == {}
    assert identity({"DRUMLINE_PROGRESS": '{"preset":"nemo"}'}).progress == {"preset": "nemo"}
