"""The PyTorch example, replicated and sharded: it loses a worker, resumes and completes."""

from pathlib import Path

import pytest

from e2e.demo_ledger import adds_up
from e2e.demo_site import EXAMPLES, Site
from e2e.demo_story import tell


@pytest.fixture(scope="module", autouse=True)
def _torch(site: Site) -> None:
    site.torch()


@pytest.mark.parametrize("parallelism", ["ddp", "fsdp"])
def test_a_killed_worker_costs_a_restart_and_no_more(site: Site, parallelism: str, tmp_path: Path) -> None:
    name = f"torch-{parallelism}"
    manifest = tmp_path / "job.yaml"
    example = (EXAMPLES / "torch-digits.yaml").read_text()
    manifest.write_text(example.replace("torch-digits", name).replace("value: ddp", f"value: {parallelism}"))
    checkpoints = site.checkpoints(name)

    story = tell(site, name, lambda: site.kubectl.apply_file(manifest), kill_at_step=120)

    assert story.phase == "Succeeded"
    assert story.victim == f"{name}-1-0-1"
    assert story.status["attempt"] == 2
    assert f"2 processes, {parallelism}" in story.lines
    assert story.resumed_from in {100, 125}
    assert story.accuracy is not None
    assert story.accuracy > 90
    assert (checkpoints / "digits" / "step-300").is_dir()
    goodput = story.status["goodput"]
    assert adds_up(goodput)
    assert (goodput["source"], goodput["step"]) == ("reported", 300), "read by the launcher from its lines"
    assert goodput["committedStep"] == 300
    assert goodput["lostSteps"] > 0
