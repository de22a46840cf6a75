"""`drumline simulate` from end to end, in this process."""

from __future__ import annotations

import csv
import json
import re
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from drumline.__main__ import main
from drumline.api.wire import wire_names
from drumline.cli.main import main as kubectl_main
from drumline.cli.simulate import add_arguments
from drumline.cli.simulate_trace import TraceLine
from e2e.cluster.nodes import describe

EXAMPLES = Path(__file__).parents[3] / "examples" / "simulate"
TRACE, CLUSTER, QUEUES = (str(EXAMPLES / name) for name in ("trace.csv", "cluster.yaml", "queues.yaml"))
H100 = "nvidia-h100-80gb"

# as in the READMEs of the two traces; the numbers are made up
PAI_TASKS = """\
j1,worker,2.0,Terminated,1000.0,1600.0,600.0,29.3,100.0,V100
j1,ps,1.0,Terminated,1005.0,1610.0,600.0,29.3,,V100
j1,evaluator,1.0,Failed,1010.0,1700.0,600.0,29.3,50.0,V100
j2,tensorflow,1.0,Terminated,1200.0,1300.0,600.0,29.3,25.0,T4
j3,tensorflow,1.0,Running,1300.0,,600.0,29.3,800.0,V100M32
j4,xComputeWorker,4.0,Terminated,1400.0,1500.0,600.0,29.3,0.0,MISC
"""
PAI_JOBS = """\
j1,i1,u1,Terminated,900.0,1700.0
j2,i2,u2,Terminated,1190.0,1300.0
"""
HELIOS = """\
job_id,user,vc,gpu_num,cpu_num,node_num,state,submit_time,start_time,end_time,duration,queue
11,u1,vcA,1,1,1,COMPLETED,2020-06-09 18:41:01,2020-06-09 18:41:01,2020-06-09 18:51:01,600,0
12,u2,vcB,16,64,2,FAILED,2020-06-09 18:41:31,2020-06-09 18:41:31,2020-06-09 18:45:31,240,0
13,u2,vcB,12,64,1,TIMEOUT,2020-06-09 18:42:01,2020-06-09 18:42:01,2020-06-09 18:42:11,10,0
14,u3,vcA,0,8,1,CANCELLED,2020-06-09 18:41:28,2020-06-09 18:41:28,2020-06-09 18:51:28,600,0
"""


def written(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def small(path: Path, hosts: int = 4) -> str:
    text = f"nodes: [{{count: {hosts}, accelerator: {H100}}}]"
    return written(path / "cluster.yaml", text)


def simulated(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["simulate", *arguments, "-o", "json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["simulate", *arguments]) == 2
    out, err = capsys.readouterr()
    assert not out
    return err


def test_the_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert kubectl_main(["simulate", "--trace", TRACE, "--cluster", CLUSTER, "--check"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("10 jobs on 2,560 accelerators: makespan ")
    assert "10 completed" in out
    for word in ("product", "research", H100, "tpu-v5p", "Jain"):
        assert word in out


def test_the_example_within_power_budgets(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    power = str(EXAMPLES / "power.yaml")
    told = simulated(capsys, "--trace", TRACE, "--cluster", CLUSTER, "--check", "--power", power)
    assert told["total"]["completed"] == 10
    assert 0.5 < told["powerPeak"] <= 1
    bad = tmp_path / "power.yaml"
    bad.write_text("[{level: row, watts: 1}]")
    said = refused(capsys, "--trace", TRACE, "--cluster", CLUSTER, "--power", str(bad))
    assert f"{bad}[0].level: given 'row'; allowed: " in said


def test_the_example_with_queues_and_failures(capsys: pytest.CaptureFixture[str]) -> None:
    more = ("--mtbf-node-hours", "5000", "--checkpoint-interval", "1800", "--check", "--queues", QUEUES)
    runs = [
        simulated(capsys, "--trace", TRACE, "--cluster", CLUSTER, *more, "--seed", s) for s in ("1", "1", "2")
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert runs[0]["total"]["completed"] == 10
    assert runs[0]["nodeFailures"] > 0
    assert 0 < runs[0]["total"]["goodput"] < 1
    assert {s["queue"]: s["weight"] for s in runs[0]["shares"]} == {"product": 1, "research": 2}


def test_json_lines_and_real_nodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        {"submitSeconds": 0, "durationSeconds": 60, "accelerator": H100, "workersPerSlice": 2},
        {"submitSeconds": 5, "durationSeconds": 60, "accelerator": H100, "failuresAtSeconds": [30]},
        {"submitSeconds": 6, "durationSeconds": 60, "accelerator": "tpu-v5p", "topology": "2x2x2"},
    ]
    trace = written(tmp_path / "jobs.jsonl", "".join(f"{json.dumps(line)}\n" for line in lines))
    nodes = yaml.safe_dump(describe("2 hosts of h100", "a v5p 2x2x2 slice"))
    found = simulated(capsys, "--trace", trace, "--nodes", written(tmp_path / "nodes.yaml", nodes), "--check")
    assert (found["makespan"], found["total"]["restarts"]) == (160, 1)
    assert {t["name"]: t["chips"] for t in found["types"]} == {H100: 16, "tpu-v5p": 8}


def test_the_timeline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = f"submitSeconds,durationSeconds,accelerator,workersPerSlice\n0,60,{H100},4\n9,30,{H100},1\n"
    timeline = tmp_path / "timeline.csv"
    arguments = ("--trace", written(tmp_path / "t.csv", trace), "--cluster", small(tmp_path))
    simulated(capsys, *arguments, "--timeline", str(timeline))
    with timeline.open(newline="") as file:
        rows = [(r["at"], r["held"], r["free"], r["waiting"], r["running"]) for r in csv.DictReader(file)]
    assert [tuple(float(cell) for cell in row) for row in rows] == [
        (0, 32, 0, 0, 1),
        (9, 32, 0, 1, 1),
        (60, 8, 24, 0, 1),
        (90, 0, 32, 0, 0),
    ]


def test_a_trace_of_pai(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--trace", written(tmp_path / "pai_task_table.csv", PAI_TASKS), "--format", "pai")
    arguments += ("--accelerator", H100, "--cluster", small(tmp_path))
    found = simulated(capsys, *arguments)
    assert found["total"]["jobs"] == 2
    assert found["total"]["productive"] == 3 * 700 + 100
    assert found["makespan"] == 700
    jobs = written(tmp_path / "pai_job_table.csv", PAI_JOBS)
    with_jobs = simulated(capsys, *arguments, "--job-table", jobs)
    assert [q["name"] for q in with_jobs["queues"]] == ["u1", "u2"]
    header = "job_name,task_name,inst_num,status,start_time,end_time,plan_cpu,plan_mem,plan_gpu,gpu_type\n"
    written(tmp_path / "pai_task_table.csv", header + PAI_TASKS)
    assert simulated(capsys, *arguments) == found


def test_a_trace_of_helios(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--trace", written(tmp_path / "cluster_log.csv", HELIOS), "--format", "helios")
    arguments += ("--accelerator", H100, "--cluster", small(tmp_path), "--check")
    assert main(["simulate", *arguments, "-o", "json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert "1 jobs without GPUs or without an end are left out" in err
    assert {q["name"]: q["jobs"] for q in found["queues"]} == {"vcA": 1, "vcB": 2}
    # 12 GPUs on one node are more than a host has: two workers of six
    assert found["total"]["productive"] == 600 + 16 * 240 + 12 * 10


def test_impossible_jobs_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = f"submitSeconds,durationSeconds,accelerator,workersPerSlice\n0,60,{H100},5\n0,60,tpu-v5p,\n"
    trace = trace.replace("tpu-v5p", H100)
    found = simulated(
        capsys, "--trace", written(tmp_path / "t.csv", trace), "--cluster", small(tmp_path), "--check"
    )
    assert (found["total"]["impossible"], found["total"]["completed"]) == (1, 1)


def test_impossible_jobs_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header = "submitSeconds,durationSeconds,accelerator,workersPerSlice,name\n"
    rows = "".join(f"0,60,{H100},{5 + n},big{n}\n" for n in range(7))
    trace = written(tmp_path / "t.csv", f"{header}{rows}0,60,{H100},1,small\n")
    arguments = ("--trace", trace, "--cluster", small(tmp_path))
    found = simulated(capsys, *arguments)["impossible"]
    assert [job["name"] for job in found] == [f"big{n}" for n in range(7)]
    assert f"40 × {H100}" in found[0]["why"]
    assert main(["simulate", *arguments]) == 0
    out = capsys.readouterr().out
    assert f"  big4: {found[4]['why']}\n  and 2 more; -o json names all\n" in out
    assert "big5" not in out


def test_a_quota_that_is_too_small_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = {"quotas": [{"accelerator": H100, "nominalQuota": 8}], "namespaceSelector": {}}
    queue = {"apiVersion": "drumline.dev/v1alpha1", "kind": "AcceleratorQueue", "spec": spec}
    queues = written(tmp_path / "q.yaml", yaml.safe_dump(queue | {"metadata": {"name": "tiny"}}))
    rows = f"submitSeconds,durationSeconds,accelerator,workersPerSlice,queue\n0,60,{H100},2,tiny\n"
    arguments = ("--trace", written(tmp_path / "t.csv", rows), "--cluster", small(tmp_path))
    [job] = simulated(capsys, *arguments, "--queues", queues)["impossible"]
    assert (job["queue"], job["why"]) == ("tiny", f"needs 16 × {H100}; queue tiny can have 8 at most")


def test_a_queue_of_weight_0_has_no_fair_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def queue(name: str, weight: float, quota: int) -> dict[str, Any]:
        quotas = [{"accelerator": H100, "nominalQuota": quota}]
        spec = {"cohort": "all", "fairSharing": {"weight": weight}, "quotas": quotas, "namespaceSelector": {}}
        api = {"apiVersion": "drumline.dev/v1alpha1", "kind": "AcceleratorQueue"}
        return api | {"metadata": {"name": name}, "spec": spec}

    all_of_them = [queue("w0", 0, 0), queue("w1", 1, 0), queue("w3", 3, 0), queue("pool", 1, 32)]
    queues = written(tmp_path / "q.yaml", yaml.safe_dump_all(all_of_them))
    rows = [f"0,60,{H100},{name}\n" for _ in range(8) for name in ("w0", "w1", "w3")]
    trace = written(tmp_path / "t.csv", "submitSeconds,durationSeconds,accelerator,queue\n" + "".join(rows))
    arguments = ("--trace", trace, "--cluster", small(tmp_path), "--queues", queues)
    found = simulated(capsys, *arguments)
    fair = {(share["queue"], share["weight"]): share["fair"] for share in found["shares"]}
    assert fair["w0", 0] == 0
    assert fair["w3", 3] > fair["w1", 1] > 0
    assert found["jain"] > 0.5
    flagged = simulated(capsys, *arguments, "--weight", "w1=0")
    assert {s["queue"]: s["fair"] for s in flagged["shares"] if s["weight"] == 0}["w1"] == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"x,60,{H100},1", "t.csv:2: submitSeconds: given 'x'; allowed: a number"),
        (f"0,0,{H100},1", "t.csv:2: durationSeconds: given '0'; allowed: more than 0"),
        (f"0,nan,{H100},1", "t.csv:2: durationSeconds: "),
        ("0,60,h100,1", "t.csv:2: accelerator.type: unknown accelerator 'h100'"),
        (f",60,{H100},1", "t.csv:2: submitSeconds: "),
        (f"0,60,{H100},1,Required,blok", "t.csv:2: placementLevel: given 'blok'; allowed: block, subblock, "),
    ],
)
def test_a_bad_row_is_refused(
    line: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = "submitSeconds,durationSeconds,accelerator,workersPerSlice,placementPolicy,placementLevel\n"
    trace = written(tmp_path / "t.csv", f"{header}{line}\n")
    assert message in refused(capsys, "--trace", trace, "--cluster", small(tmp_path))


def test_other_bad_input_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cluster, empty = small(tmp_path), written(tmp_path / "empty.csv", "submitSeconds\n")
    bad = written(tmp_path / "bad.yaml", "nodes: [{count: 3, accelerator: gpu}]")
    assert "nodes[0].accelerator: given 'gpu'; allowed: " in refused(
        capsys, "--trace", TRACE, "--cluster", bad
    )
    assert "no job in it" in refused(capsys, "--trace", empty, "--cluster", cluster)
    assert "No such file" in refused(capsys, "--trace", str(tmp_path / "none"), "--cluster", cluster)
    helios = written(tmp_path / "log.csv", "job_id,vc\n")
    assert "--accelerator: given None; allowed: " in refused(
        capsys, "--trace", helios, "--format", "helios", "--cluster", cluster
    )
    assert "no column duration, gpu_num, node_num, submit_time" in refused(
        capsys, "--trace", helios, "--format", "helios", "--accelerator", H100, "--cluster", cluster
    )
    pai = ("--trace", helios, "--format", "pai", "--accelerator", H100, "--cluster", cluster)
    assert "given 2 columns; allowed: 10" in refused(capsys, *pai)
    broken = written(tmp_path / "t.jsonl", "{\n")
    assert "t.jsonl:1: " in refused(capsys, "--trace", broken, "--cluster", cluster)


def test_bad_queues_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--trace", TRACE, "--cluster", CLUSTER, "--queues")
    assert "no AcceleratorQueue.drumline.dev in it" in refused(capsys, *arguments, CLUSTER)
    queues = list(yaml.safe_load_all(Path(QUEUES).read_text(encoding="utf-8")))
    one = written(tmp_path / "one.yaml", yaml.safe_dump(queues[0]))
    assert "trace.csv:5: queue: given 'product'; allowed: research" in refused(capsys, *arguments, one)
    queues[1]["spec"]["default"] = True
    two = written(tmp_path / "two.yaml", yaml.safe_dump({"kind": "List", "items": queues}))
    assert "default: given research and product; allowed: one" in refused(capsys, *arguments, two)
    queues[0]["spec"]["cohort"] = "A B"
    odd = written(tmp_path / "odd.yaml", yaml.safe_dump(queues[0]))
    assert "research: spec.cohort: given 'A B'" in refused(capsys, *arguments, odd)


def test_every_column_and_option_is_documented() -> None:
    text = (EXAMPLES.parents[1] / "docs" / "simulate.md").read_text(encoding="utf-8")
    columns = {
        name
        for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert columns == set(wire_names(TraceLine))
    parser = ArgumentParser()
    add_arguments(parser)
    options = {option for action in parser._actions for option in action.option_strings if option[1] == "-"}
    assert options - {"--help", "--output"} <= set(re.findall(r"--[\w-]+", text))


def test_the_limit_takes_the_first_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulated(capsys, "--trace", TRACE, "--cluster", CLUSTER, "--limit", "3")["total"]["jobs"] == 3
