"""``kubectl drumline goodput`` on files, from end to end in this process."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from drumline.cli import cluster
from drumline.cli.cluster import OK, UNREACHABLE
from drumline.cli.goodput import ABSENT, INVALID
from drumline.cli.main import main
from tests.unit.cli.goodput_sample import job, without_ledger


def written(path: Path, *jobs: dict[str, Any]) -> str:
    file = path / "jobs.yaml"
    file.write_text(yaml.safe_dump_all(jobs), encoding="utf-8")
    return str(file)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["goodput", *arguments]) == OK
    return capsys.readouterr().out


def test_one_job_is_broken_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = shown(capsys, "-f", written(tmp_path, job()))
    text = re.sub(" +", " ", raw)
    assert "research/llama: Running, 32 x nvidia-h100-80gb" in text
    assert "sum of states 460,800.001 s = lane time 460,800.001 s" in text
    assert "c compile 10,160.000 s 2.2 % 5,000.000 s reported" in text
    assert "q queued 3,840.000 s 0.8 % observed" in text
    assert "scheduling goodput 97.7 % observed" in text
    assert "20 steps were lost and run again" in text
    assert "ApplicationExit llama-1-0-1 137 20" in text
    assert "way back to attempt 2: 2m 41s: teardown 1.2 s" in text
    assert "slow: worker 0-3, median 6100 ms for its part of a step" in text
    assert "$ 1,393.73, of which $ 171.29 was not productive (catalogue's price, estimated)" in text
    assert "88.9 kWh" in text
    assert raw.isascii()
    assert max(map(len, raw.splitlines())) <= 120


def test_a_sum_that_is_off_is_not_hidden(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "-f", written(tmp_path, job(elapsedMs=460_800_002)))
    assert "lane time 460,800.002 s: off by -0.001 s" in text


def test_several_jobs_are_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "-f", written(tmp_path, job(), without_ledger())).splitlines()
    assert " ".join(lines[0].split()) == "NAMESPACE JOB PHASE ACCELERATORS HELD HOURS GOODPUT BADPUT COST"
    assert " ".join(lines[1].split()) == "research llama Running 32 x nvidia-h100-80gb 126.93 86.8 % $ 171.29"
    assert " ".join(lines[2].split()) == "research new Queued - - - -"


def test_a_name_chooses_among_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, job(), job("other"))
    assert shown(capsys, "other", "-f", file).startswith("research/other: Running")
    assert main(["goodput", "third", "-f", file]) == ABSENT
    assert "no TrainingJob or InferenceService third in it" in capsys.readouterr().err


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_for_programs(output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = yaml.safe_load(shown(capsys, "-f", written(tmp_path, job()), "-o", output))
    assert body["goodput"]["elapsedMs"] == 460_800_001
    assert "resume" not in body["goodput"]
    derived = body["derived"]
    assert derived["sumOfStatesMs"] == derived["laneTimeMs"]
    assert derived["balanced"] is True
    # held − productive − provisional = 456,960,001 − 400,000,000 − 800,000
    assert derived["badputMs"] == 56_160_001
    assert [entry["state"] for entry in derived["states"]] == [
        "queued",
        "compile",
        "productive",
        "lost_progress",
        "provisional",
    ]
    assert sum(entry["share"] for entry in derived["states"]) == pytest.approx(1, abs=1e-5)
    assert derived["ratios"] == {"scheduling": 0.9766, "ettr": 0.8681}
    assert body["attempts"][0]["cause"] == "ApplicationExit"


def test_a_list_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = json.loads(shown(capsys, "-f", written(tmp_path, job(), job("b")), "-o", "json"))
    assert [item["name"] for item in body["items"]] == ["llama", "b"]


def test_a_job_without_a_ledger_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["goodput", "-f", written(tmp_path, without_ledger())]) == ABSENT
    assert "error: TrainingJob research/new has no ledger yet" in capsys.readouterr().err


def test_a_ledger_that_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["goodput", "-f", written(tmp_path, job(lanes="many"))]) == ABSENT
    assert "status.goodput.lanes cannot be read" in capsys.readouterr().err


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["goodput", "-f", "nowhere.yaml"]) == INVALID
    assert "nowhere.yaml" in capsys.readouterr().err


def test_a_report_of_several_jobs_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, job(), job("other"))
    assert main(["goodput", "-f", file, "--html", str(tmp_path / "r.html")]) == INVALID
    assert "2 objects found" in capsys.readouterr().err


def test_a_report_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = str(tmp_path / "no" / "such" / "r.html")
    assert main(["goodput", "-f", written(tmp_path, job()), "--html", target]) == INVALID
    assert target in capsys.readouterr().err


def test_no_cluster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["goodput", "--kubeconfig", str(tmp_path / "none")]) == UNREACHABLE
    assert "cannot configure a connection" in capsys.readouterr().err


def test_the_context_says_which_namespace(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("current-context: x\ncontexts: [{name: x, context: {namespace: team}}]\n")
    second.write_text("contexts: [{name: y, context: {namespace: other}}, {name: z, context: {}}]\n")
    both = f"{first}:{second}"
    assert cluster.namespace_of(cluster.Access(both)) == "team"
    assert cluster.namespace_of(cluster.Access(both, "y")) == "other"
    assert cluster.namespace_of(cluster.Access(both, "z")) == "default"
    assert cluster.namespace_of(cluster.Access(str(tmp_path / "none"))) == "default"
