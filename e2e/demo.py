"""``make demo``: real training on this machine, a killed worker, and where the time went.

As root on Linux: a cluster with one real node, the operator in a pod, and examples/jax-digits.yaml in real
containers; one worker is killed mid-run, the gang restarts and goes on from its checkpoint. Without root the
same story is played on fake nodes, where nothing is trained, and the demo says so.
"""

import argparse
import sys
from collections.abc import Sequence

from e2e import demo_fake
from e2e.cluster import images
from e2e.cluster.realnode import why_not
from e2e.demo_ledger import show
from e2e.demo_site import EXAMPLES, Site, real_site, wait_for_interrupt
from e2e.demo_story import tell
from e2e.demo_timeline import table
from e2e.goodput_record import recording

JOB = "jax-digits"
_KILL_AT_STEP = 120
_FURTHER = f"""
To look further, keep the cluster with `python -m e2e.demo --keep`, and in another terminal:
  kubectl get trainingjob {JOB} -o yaml      # conditions, attempts, placement
  kubectl describe trainingjob {JOB}         # events
  kubectl logs {JOB}-2-0-0                   # the second attempt's first worker
  kubectl -n drumline-system logs deploy/drumline
Next: examples/torch-digits.yaml, docs/architecture.md."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; the exit status is 1 when the job did not do what it should."""
    parser = argparse.ArgumentParser(prog="python -m e2e.demo", description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="keep the cluster until Ctrl-C")
    parser.add_argument("--fake", action="store_true", help="fake nodes even where a real one can run")
    given = parser.parse_args(arguments)
    reason = "asked for with --fake" if given.fake else why_not()
    try:
        if reason is not None:
            return demo_fake.main(reason, keep=given.keep)
        with real_site(images.worker_jax) as site:
            good = play(site)
            if given.keep:
                wait_for_interrupt(site.kubectl.kubeconfig)
            return 0 if good else 1
    except (RuntimeError, OSError) as error:
        print("\n".join([f"error: {error}", *getattr(error, "__notes__", ())]), file=sys.stderr)
        return 1


def play(site: Site) -> bool:
    """The story; whether the job survived its killed worker and completed."""
    site.checkpoints(JOB)
    site.say(f"kubectl apply -f examples/{JOB}.yaml")
    folder = site.scratch / "record"
    with recording(site.kubectl, JOB, folder):
        story = tell(site, JOB, lambda: site.kubectl.apply_file(EXAMPLES / f"{JOB}.yaml"), _KILL_AT_STEP)
    print(f"\nWhat it did, when:\n{table(story.marks)}\n")
    restarts = [f"{entry['cause']} × {entry['count']}" for entry in story.status.get("restarts", [])]
    print(
        f"restarts: {', '.join(restarts) or 'none'}; the last attempt resumed from step {story.resumed_from}"
    )
    print(f"accuracy on samples it never saw: {story.accuracy} %\n")
    balanced = show(site, JOB, folder)
    print(_FURTHER)
    whole = story.victim and story.resumed_from and story.accuracy
    return bool(whole) and balanced and story.phase == "Succeeded"


if __name__ == "__main__":
    sys.exit(main())
