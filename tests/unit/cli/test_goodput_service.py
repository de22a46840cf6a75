"""``kubectl drumline goodput`` on InferenceServices in files, from end to end in this process."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from drumline.cli.goodput import ABSENT, INVALID
from drumline.cli.goodput_service_text import service_breakdown
from drumline.cli.goodput_service_view import service_view_of
from drumline.cli.main import main
from drumline.cli.terminal import Terminal
from tests.unit.cli.goodput_sample import job
from tests.unit.cli.service_sample import PREFILL, service, without_account
from tests.unit.cli.test_goodput import shown, written


def test_one_service_is_broken_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = shown(capsys, "-f", written(tmp_path, service()))
    text = re.sub(" +", " ", raw)
    assert "research/chat: Degraded, vllm llama-3-70b, 3 of 4 groups in service" in text
    assert "ROLE decode: 2 of 3 groups in service" in text
    assert "S serving 60.000 s 65.9 % in service, with requests" in text
    assert "q queued 20.000 s 22.0 % waiting for a place" in text
    assert "? of_the_future 0.500 s 0.5 % a state of a newer operator" in text
    assert "sum of states 101.000 s = accounted time 101.000 s" in text
    assert "prefill 12,000 0 100 0 0.00" in text
    assert "decode 0 8,000 98 2 0.02" in text
    assert "98.77 tokens and 2.444 requests per second of one held accelerator" in text
    assert "TTFT 95.0 % 100 within 0.5 s time to first token" in text
    assert "TPOT 80.0 % 1,000 within 0.05 s time per output token" in text
    assert "promised: 90.0 % of them" in text
    assert "SPECULATION: 60.0 % of 50 guessed tokens were right" in text
    assert "RESTARTS of groups by cause: NodeLost 3" in text
    assert "COST: 0.02 accelerator-hours held (observed)" in text
    assert "$ 1,234.50 (catalogue's price, estimated)" in text
    assert raw.isascii()
    assert max(map(len, raw.splitlines())) <= 120


def test_roles_come_as_the_service_has_them_and_states_in_their_order() -> None:
    drawn = service_breakdown(service_view_of(service()), Terminal(60))
    assert drawn.index("ROLE prefill") < drawn.index("ROLE decode")
    bars = [line for line in drawn.splitlines() if re.fullmatch(r"[a-zA-Z?]{60}", line)]
    assert bars[1] == "".join(sorted(bars[1], key="qSI?".index))
    assert bars[0] == "l" * 6 + "S" * 54


def test_a_role_that_is_gone_keeps_its_account() -> None:
    gone = {**PREFILL, "role": "old"}
    view = service_view_of(service(roles=[gone]))
    assert [role.name for role in view.roles] == ["prefill", "decode", "old"]
    assert view.roles[-1].ms == 10_000


def test_what_is_not_known_is_a_dash_or_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    young = service()
    young["status"] = {"phase": "Pending", "serving": {"at": "2026-11-21T12:00:00Z"}}
    del young["spec"]["slo"], young["spec"]["model"]
    text = shown(capsys, "-f", written(tmp_path, young))
    assert "- tokens and - requests per second" in text
    assert not re.search("SLO|SPECULATION|RESTARTS|None", text)


def test_a_sum_that_is_off_is_not_hidden(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "-f", written(tmp_path, service(elapsedMs=101_001)))
    assert "accounted time 101.001 s: off by -0.001 s" in text


def test_services_are_a_table_below_that_of_jobs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, service(), job(), without_account())
    lines = [" ".join(line.split()) for line in shown(capsys, "-f", file).splitlines()]
    assert lines[1].startswith("research llama Running")
    assert lines[2] == ""
    assert lines[3] == "NAMESPACE SERVICE PHASE GROUPS HELD HOURS TOKENS/S REQUESTS/S SLO COST"
    assert lines[4] == "research chat Degraded 3/4 0.02 98.77 2.444 80.0 % $ 1,234.50"
    assert lines[5] == "research young Pending - - - - - -"


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_for_programs(output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = yaml.safe_load(shown(capsys, "-f", written(tmp_path, service()), "-o", output))
    assert (body["kind"], body["engine"], body["model"]) == ("InferenceService", "vllm", "llama-3-70b")
    assert body["serving"]["elapsedMs"] == 101_000
    assert "resume" not in body["serving"]
    derived = body["derived"]
    assert derived["sumOfStatesMs"] == derived["elapsedMs"]
    assert derived["balanced"] is True
    decode = next(role for role in derived["roles"] if role["role"] == "decode")
    assert decode["groups"] == {"desired": 3, "current": 3, "ready": 2, "updated": 2}
    # 91 s less the 20 s in the queue
    assert decode["tokensPerAcceleratorSecond"] == round(8000 / 71, 6)
    assert decode["tpotAttainment"] == 0.8
    assert decode["ttftAttainment"] is None
    assert decode["acceptanceRate"] == 0.6
    assert body["restarts"] == [{"cause": "NodeLost", "count": 3}]


def test_a_list_for_programs_says_what_is_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, service(), job(), without_account())
    body = json.loads(shown(capsys, "-f", file, "-o", "json"))
    assert [(i["kind"], i["name"]) for i in body["items"]] == [
        ("TrainingJob", "llama"),
        ("InferenceService", "chat"),
    ]


def namesakes(path: Path) -> str:
    return written(path, job("chat"), service())


@pytest.mark.parametrize("prefix", ["infsvc", "inferenceservice", "InferenceServices.drumline.dev"])
def test_a_kind_chooses_among_namesakes(
    prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(capsys, f"{prefix}/chat", "-f", namesakes(tmp_path))
    assert text.startswith("research/chat: Degraded, vllm")
    assert shown(capsys, "tj/chat", "-f", namesakes(tmp_path)).startswith("research/chat: Running")


def test_namesakes_without_a_kind_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["goodput", "chat", "-f", namesakes(tmp_path)]) == INVALID
    assert "say trainingjob/chat or infsvc/chat" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["pod/chat", "infsvc/"])
def test_another_kind_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["goodput", name, "-f", namesakes(tmp_path)]) == INVALID
    assert "allowed: NAME" in capsys.readouterr().err


def test_no_account_and_no_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["goodput", "-f", written(tmp_path, without_account())]) == ABSENT
    assert "error: InferenceService research/young has no account yet" in capsys.readouterr().err
    broken: dict[str, Any] = service(heldMs="much")
    assert main(["goodput", "-f", written(tmp_path, broken)]) == ABSENT
    assert "status.serving.heldMs cannot be read" in capsys.readouterr().err
    assert main(["goodput", "-f", written(tmp_path, service()), "--html", "-"]) == INVALID
    assert "--html writes reports of TrainingJobs" in capsys.readouterr().err
