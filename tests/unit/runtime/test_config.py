import io
import json
import logging
from pathlib import Path

import pytest

from drumline.core.gang.topology import Topology
from drumline.runtime import config_logging
from drumline.runtime.config import Config, ConfigError, load


def test_defaults() -> None:
    assert load([], {}) == Config()


def test_flags_beat_environment_beats_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("metricsPort: 1\nworkers: 2\nleaseDuration: 30\n")
    environment = {"DRUMLINE_CONFIG": str(file), "DRUMLINE_METRICS_PORT": "3", "DRUMLINE_WORKERS": "4"}
    config = load(["--workers", "5"], environment)
    assert (config.metrics_port, config.workers, config.lease_times.duration) == (3, 5, 30.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "many"], "--workers: 'many' is not int"),
        (["--workers", "0"], "--workers: must be at least 1"),
        (
            ["--discovery", "Telepathy"],
            "--discovery: 'Telepathy' is not one of Auto, EndpointSlice, Endpoints",
        ),
        (["--lease-duration", "5"], "lease times"),
        (["--config", "/no/such/file"], "/no/such/file"),
    ],
)
def test_bad_values_are_named(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        load(arguments, {})


@pytest.mark.parametrize(
    ("text", "message"), [("wrokers: 1", "unknown settings wrokers"), ("- a", "not a mapping")]
)
def test_bad_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load(["--config", str(file)], {})


def test_a_topology_is_a_list_in_a_file_and_text_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("topology: [{preset: gke-tpu}, {preset: flat}]")
    assert [h.name for h in load(["--config", str(file)], {}).hierarchies.hierarchies] == ["gke-tpu", "flat"]
    given = load([], {"DRUMLINE_TOPOLOGY": "[{preset: flat}]"})
    assert [h.name for h in given.hierarchies.hierarchies] == ["flat"]
    assert load([], {}).hierarchies == Topology()
    file.write_text("topology: []")
    assert load(["--config", str(file)], {}).hierarchies == Topology()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[{preset: galaxy}]", "allowed presets: gke-gpu, nvidia, gke-tpu, flat"),
        ("[", "--topology: while parsing"),
    ],
)
def test_a_topology_that_cannot_be_used_ends_the_start(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(["--topology", text], {})
    assert words in str(error.value)


@pytest.fixture
def stream():
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:], root.level = before


def test_json_logs_carry_the_job(stream) -> None:
    config_logging.configure("info", "json", stream)
    with config_logging.about("ns", "llama"):
        logging.getLogger("x").info("placed %d pods", 8)
    try:
        int("bad")
    except ValueError:
        logging.getLogger("x").exception("oops")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["job"], first["message"], first["level"]) == ("ns/llama", "placed 8 pods", "info")
    assert "job" not in second
    assert "ValueError: invalid literal" in second["traceback"]


def test_text_logs_carry_the_job_too(stream) -> None:
    config_logging.configure("warning", "text", stream)
    with config_logging.about("ns", "llama"):
        logging.getLogger("x").warning("late")
        logging.getLogger("x").info("not shown")
    assert stream.getvalue().rstrip().endswith("x ns/llama: late")
