"""``make demo``: real training on this machine, a killed worker, and where the time went.

As root on Linux: a cluster with one real node, the operator in a pod, and examples/jax-digits.yaml in real
containers; one worker is killed mid-run, the gang restarts and goes on from its checkpoint. Without root the
same story is played on fake nodes, where nothing is trained, and the demo says so.
"""

import argparse
import re
import sys
import time
from collections.abc import Sequence

from e2e import demo_fake
from e2e.cluster import images
from e2e.cluster.build import BuildError
from e2e.cluster.process import ProcessError
from e2e.cluster.realnode import why_not
from e2e.demo_site import EXAMPLES, Site, real_site
from e2e.demo_timeline import Mark, table
from e2e.demo_watch import JobWatch, RankZeroLog, follow

JOB = "jax-digits"
_KILL_AT_STEP = 120
_SECONDS = 600


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
                keep(site)
            return 0 if good else 1
    except (BuildError, ProcessError, images.ImageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def play(site: Site) -> bool:
    """The story; whether the job survived its killed worker and completed."""
    site.checkpoints(JOB)
    watch = JobWatch(site.kubectl, JOB, lambda mark: site.say(_headline(mark)))
    site.say(f"kubectl apply -f examples/{JOB}.yaml")
    site.kubectl.apply_file(EXAMPLES / f"{JOB}.yaml")
    killed, resumed, accuracy = False, "", ""
    try:
        for line in follow(watch, RankZeroLog(site.kubectl, JOB), _SECONDS):
            step = _step(line)
            if _is_worth_showing(line):
                site.say(f"    rank 0: {line}")
            if step is not None and step >= _KILL_AT_STEP and not killed:
                killed = True
                victim = f"{JOB}-{watch.attempt}-0-1"
                site.say(f"killing the process of worker {victim}")
                site.kill_worker(victim)
            resumed = line if line.startswith("resumed") else resumed
            accuracy = line if line.startswith("test accuracy") else accuracy
    finally:
        watch.close()
    print(f"\nWhere the time went:\n{table(watch.marks)}\n")
    print(_restarts(watch))
    print(f"{resumed or 'never resumed'}; {accuracy or 'no accuracy was printed'}")
    print(_further())
    return killed and bool(resumed) and bool(accuracy) and watch.phase == "Succeeded"


def keep(site: Site) -> None:
    """Leave everything running until the user has seen enough."""
    print(f"\nThe cluster stays until Ctrl-C: export KUBECONFIG={site.kubectl.kubeconfig}", flush=True)
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        print()


def _headline(mark: Mark) -> str:
    attempt = f", attempt {mark.attempt}" if mark.attempt else ""
    return f"  {mark.phase}{attempt}"


def _step(line: str) -> int | None:
    found = re.match(r"step (\d+) ", line)
    return int(found[1]) if found else None


def _is_worth_showing(line: str) -> bool:
    """The program's own lines, every fiftieth step of them; libraries print others in between."""
    step = _step(line)
    return (
        step % 50 == 0 if step is not None else bool(re.match(r"resumed|test accuracy|\d+ processes", line))
    )


def _restarts(watch: JobWatch) -> str:
    restarts = watch.latest.get("status", {}).get("restarts", [])
    named = ", ".join(f"{entry['cause']} × {entry['count']}" for entry in restarts)
    return f"restarts: {named or 'none'}"


def _further() -> str:
    return f"""
To look further, keep the cluster with `python -m e2e.demo --keep`, and in another terminal:
  kubectl get trainingjob {JOB} -o yaml      # conditions, attempts, placement
  kubectl describe trainingjob {JOB}         # events
  kubectl logs {JOB}-2-0-0                   # the second attempt's first worker
  kubectl -n drumline-system logs deploy/drumline
Next: examples/torch-digits.yaml, docs/architecture.md."""


if __name__ == "__main__":
    sys.exit(main())
