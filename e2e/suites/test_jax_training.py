"""A JAX job trains in two real pods, loses one, resumes from its checkpoint and completes."""

from e2e.demo_site import EXAMPLES, Site
from e2e.demo_story import tell
from e2e.demo_timeline import transitions


def test_a_killed_worker_costs_a_restart_and_no_more(site: Site) -> None:
    checkpoints = site.checkpoints("jax-digits")
    story = tell(
        site, "jax-digits", lambda: site.kubectl.apply_file(EXAMPLES / "jax-digits.yaml"), kill_at_step=120
    )

    assert story.phase == "Succeeded"
    assert story.victim == "jax-digits-1-0-1"
    assert story.status["attempt"] == 2
    assert sum(entry["count"] for entry in story.status["restarts"]) == 1
    # A checkpoint is due every 25 steps, and saving goes on beside the training.
    assert story.resumed_from in {75, 100, 125}
    assert story.accuracy is not None
    assert story.accuracy > 90
    assert any(path.name == "300" for path in (checkpoints / "digits").iterdir())
    phases = [mark.phase for mark in transitions(story.marks)]
    assert phases.index("Running") < phases.index("Restarting") < phases.index("Succeeded")
