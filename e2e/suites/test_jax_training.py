"""A JAX job trains in two real pods, loses one, resumes from its checkpoint and completes.

Meanwhile the operator is killed as well. The ledger of all this adds up, and a second opinion, which reads only
the pods' logs and when their containers began and ended, comes to the same.
"""

import json
from pathlib import Path

from e2e.demo_ledger import adds_up, opinions
from e2e.demo_site import EXAMPLES, Site
from e2e.demo_story import tell
from e2e.demo_timeline import transitions
from e2e.goodput_check import TOLERANCE
from e2e.goodput_record import recording

STEPS = 600  # long enough for another operator to take over in the middle


def test_a_killed_worker_and_a_killed_operator_cost_a_restart_and_no_more(site: Site, tmp_path: Path) -> None:
    checkpoints = site.checkpoints("jax-digits")
    manifest = tmp_path / "job.yaml"
    example = (EXAMPLES / "jax-digits.yaml").read_text()
    manifest.write_text(example.replace('value: "300"', f'value: "{STEPS}"'))
    folder = tmp_path / "record"
    with recording(site.kubectl, "jax-digits", folder):
        story = tell(
            site,
            "jax-digits",
            lambda: site.kubectl.apply_file(manifest),
            kill_at_step=120,
            later=(200, site.kill_operator),
        )

    (folder / "job.json").write_text(json.dumps(story.job))  # for who wants to look into it
    assert story.phase == "Succeeded"
    assert story.victim == "jax-digits-1-0-1"
    assert story.status["attempt"] == 2
    assert sum(entry["count"] for entry in story.status["restarts"]) == 1
    # A checkpoint is due every 25 steps, and saving goes on beside the training.
    assert story.resumed_from in {75, 100, 125}
    assert story.accuracy is not None
    assert story.accuracy > 90
    assert any(path.name == str(STEPS) for path in (checkpoints / "digits").iterdir())
    phases = [mark.phase for mark in transitions(story.marks)]
    assert phases.index("Running") < phases.index("Restarting") < phases.index("Succeeded")

    goodput = story.status["goodput"]
    states = {entry["state"]: entry for entry in goodput["states"]}
    assert adds_up(goodput)
    assert (goodput["source"], goodput["step"], goodput["provisionalMs"]) == ("reported", STEPS, 0)
    assert goodput["lostSteps"] >= 120 - story.resumed_from
    assert states["lost_progress"]["ms"] > 0
    assert states["draining"]["restartMs"] > 0
    assert states["checkpoint_restore"]["restartMs"] > 0
    assert story.status["attempts"][0]["lostSteps"] == goodput["lostSteps"]
    here, there, off = opinions(story.job, folder)
    assert off <= TOLERANCE, f"{there:.3f} by the ledger, {here:.3f} by the logs"
