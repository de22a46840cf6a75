"""Run the stages of ``make test`` and ``make verify``, each within its time, and print what each took.

``python -m e2e.stages test|cluster|verify`` runs a list below. A stage that fails does not keep the next ones from
running, except those that need what it builds. With ``DRUMLINE_STAGES`` set to a file, results are appended to
it too, and ``python -m e2e.stages table FILE`` prints them all in one table. Standard library only.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_GRACE_SECONDS = 20
_PYTHON = sys.executable
_BIN = Path(sys.executable).parent
_EXAMPLES = ("tpu-v5p", "gpu-h100", "inference-disaggregated", "inference-tpu", "inference-edge")
_JOBS = "tests/integration/operator"
_SERVICES = "tests/integration/inference"
_REAL = "tests/realnode"
# of jobs, those whose pods, nodes or operators fail: they take as long as all others together
_RECOVERY = (
    "bad_nodes",
    "device_taint",
    "elastic",
    "failover",
    "in_place",
    "in_place_launchers",
    "nodes",
    "recovery",
    "signals",
    "spares",
)
# who shares a cluster, and with whom: queues, quotas, power, other schedulers, pools that grow
_SHARING = (
    "backfill",
    "candidates",
    "dra",
    "foreign_backends",
    "native_gang",
    "power",
    "provisioning",
    "provisioning_request",
    "queue_preemption",
    "queues",
    "quota",
)
_REAL_RECOVERY = ("causes", "in_place", "refusals", "signals", "spares")
_SERVING = tuple(sorted(str(path) for path in (Path(__file__).parent / "suites").glob("test_inference*.py")))
_PYTEST = (_PYTHON, "-m", "pytest", "-q", "-ra", "--durations=5")


_TWO = ("-n", "2", "--dist", "worksteal")


@dataclass(frozen=True)
class Stage:
    """One command with its limit in seconds.

    ``unless`` says why the stage cannot run here; ``needs`` names a stage that must not have failed.
    """

    name: str
    command: Sequence[str]
    limit: float
    unless: str | None = None
    needs: str | None = None


@dataclass(frozen=True)
class Result:
    """How a stage ended: ``outcome`` begins with ok, failed, stopped or skipped."""

    name: str
    outcome: str
    seconds: float
    limit: float

    @property
    def good(self) -> bool:
        return self.outcome == "ok" or self.outcome.startswith("skipped: needs")


def _no_real_node() -> str | None:
    if sys.platform == "linux" and os.geteuid() == 0:
        return None
    return "needs root on Linux"


def _named(folder: str, names: Iterable[str]) -> list[str]:
    return [f"{folder}/test_{name}.py" for name in names]


def _others(folder: str, names: Iterable[str]) -> list[str]:
    """The folder's tests but those."""
    return [folder, *(f"--ignore={path}" for path in _named(folder, names))]


def tests() -> list[Stage]:
    """All tests, after building what they start."""
    reason = _no_real_node()
    group = "control-plane" if reason else "all"
    return [
        Stage("build", (_PYTHON, "-m", "e2e.cluster.build", group), 1800),
        # the tests with a real vLLM need 7 GB more and are left to `make e2e`
        Stage("build engine", (_PYTHON, "-m", "e2e.engines", "llamacpp"), 1200, unless=reason, needs="build"),
        Stage("unit", (*_PYTEST, "tests/unit", "-n", "2"), 300),
        Stage(
            "control plane",
            (*_PYTEST, "tests/integration", f"--ignore={_JOBS}", f"--ignore={_SERVICES}", *_TWO),
            1200,
            needs="build",
        ),
        Stage("jobs on it", (*_PYTEST, *_others(_JOBS, (*_RECOVERY, *_SHARING)), *_TWO), 1200, needs="build"),
        Stage("sharing on it", (*_PYTEST, *_named(_JOBS, _SHARING), *_TWO), 1200, needs="build"),
        Stage("recovery on it", (*_PYTEST, *_named(_JOBS, _RECOVERY), *_TWO), 1200, needs="build"),
        Stage(
            "services on it",
            (*_PYTEST, _SERVICES, *_TWO),
            900,
            needs="build",
        ),
        Stage("chaos", (*_PYTEST, "tests/chaos"), 600, needs="build"),
        Stage(
            "real node",
            (*_PYTEST, *_others(_REAL, _REAL_RECOVERY)),
            900,
            unless=reason,
            needs="build engine",
        ),
        Stage(
            "real recovery",
            (*_PYTEST, *_named(_REAL, _REAL_RECOVERY)),
            900,
            unless=reason,
            needs="build engine",
        ),
        Stage(
            "real training", (*_PYTEST, "e2e/suites/test_jax_training.py"), 600, unless=reason, needs="build"
        ),
        Stage("real serving", (*_PYTEST, *_SERVING), 900, unless=reason, needs="build engine"),
    ]


def on_control_plane() -> list[Stage]:
    """Those tests that need a control plane alone: of which Kubernetes, ``DRUMLINE_KUBERNETES`` says."""
    build = Stage("build", (_PYTHON, "-m", "e2e.cluster.build", "control-plane"), 1800)
    return [build, *(s for s in tests() if any(a.startswith("tests/integration") for a in s.command))]


def checks() -> list[Stage]:
    """All that can be said about the code without running it, and what is generated from it."""
    stages = [
        Stage("ruff check", (str(_BIN / "ruff"), "check", "."), 60),
        Stage("ruff format", (str(_BIN / "ruff"), "format", "--check", "."), 60),
        Stage("mypy", (str(_BIN / "mypy"),), 300),
        Stage("import contracts", (str(_BIN / "lint-imports"),), 60),
        Stage("crds are current", (_PYTHON, "-m", "drumline.api.crd", "--check"), 30),
        Stage("API reference is current", (_PYTHON, "-m", "drumline.api.docs", "--check"), 30),
        Stage("chart values are current", (_PYTHON, "-m", "e2e.chart_schema", "--check"), 30),
        Stage("dashboards are current", (_PYTHON, "-m", "e2e.monitoring", "--check"), 30),
    ]
    for example in _EXAMPLES:
        command = (_PYTHON, "-m", "drumline", "plan", "-f", f"examples/{example}.yaml")
        stages.append(Stage(f"plan {example}", ("sh", "-c", '"$@" > /dev/null', "sh", *command), 30))
    return stages


LISTS = {"test": tests, "cluster": on_control_plane, "verify": checks}


def run_all(stages: Iterable[Stage]) -> list[Result]:
    """Run the stages in order."""
    results: list[Result] = []
    for stage in stages:
        result = _run_unless(stage, results)
        results.append(result)
        _record(result)
    return results


def _run_unless(stage: Stage, before: Iterable[Result]) -> Result:
    reason = stage.unless
    if any(result.name == stage.needs and not result.good for result in before):
        reason = f"{stage.needs} failed"
    if reason is not None:
        print(f"== {stage.name}: skipped, {reason}", flush=True)
        return Result(stage.name, f"skipped: {reason}", 0, stage.limit)
    return run(stage)


def run(stage: Stage) -> Result:
    """Run one stage in a process group of its own, which ends with it, at the latest at its limit."""
    print(f"\n== {stage.name} (at most {stage.limit:g} s)", flush=True)
    started = time.monotonic()
    process = subprocess.Popen(stage.command, start_new_session=True)
    try:
        code = process.wait(stage.limit)
        outcome = "ok" if code == 0 else f"failed: exit code {code}"
    except subprocess.TimeoutExpired:
        outcome = f"stopped: over its limit of {stage.limit:g} s"
    finally:
        _end(process)
    return Result(stage.name, outcome, time.monotonic() - started, stage.limit)


def _end(process: "subprocess.Popen[bytes]") -> None:
    # An interrupt lets pytest tear down and say how far it came.
    for number, seconds in ((signal.SIGINT, _GRACE_SECONDS), (signal.SIGKILL, None)):
        if number == signal.SIGINT and process.poll() is not None:
            continue
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)


def table(results: Sequence[Result]) -> str:
    """The results as text, one line a stage, and the sum."""
    width = max(len(result.name) for result in results)
    lines = [f"{'stage':<{width}}  seconds  limit  outcome"]
    lines += [
        f"{result.name:<{width}}  {result.seconds:7.1f}  {result.limit:5.0f}  {result.outcome}"
        for result in results
    ]
    lines.append(f"{'all':<{width}}  {sum(result.seconds for result in results):7.1f}")
    return "\n".join(lines)


def _record(result: Result) -> None:
    path = os.environ.get("DRUMLINE_STAGES")
    if path:
        with Path(path).open("a") as file:
            file.write(json.dumps(asdict(result)) + "\n")


def _read(path: Path) -> list[Result]:
    return [Result(**json.loads(line)) for line in path.read_text().splitlines()]


def main(arguments: Sequence[str]) -> int:
    """Run a list of stages, or print a table; the exit status is 1 when a stage was not good."""
    # A cancelled run must end its stage too, which is in a process group of its own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if len(arguments) == 2 and arguments[0] == "table":
        results = _read(Path(arguments[1]))
    elif len(arguments) == 1 and arguments[0] in LISTS:
        results = run_all(LISTS[arguments[0]]())
    else:
        print(f"usage: python -m e2e.stages {'|'.join(LISTS)} | table FILE", file=sys.stderr)
        return 2
    print("\n" + (table(results) if results else "no stage ran"), flush=True)
    return 0 if results and all(result.good for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
