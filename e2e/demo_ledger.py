"""The end of the demo: where the accelerators' time went, by the ledger and by a second opinion."""

import json
from pathlib import Path
from typing import Any

from drumline.cli.main import main as kubectl_drumline
from e2e.demo_site import REPOSITORY, Site
from e2e.goodput_check import TOLERANCE, account, difference, productive_seconds, read_folder

REPORT = REPOSITORY / "build" / "goodput.html"


def show(site: Site, job: str, folder: Path) -> bool:
    """Print the ledger of a job that is over, and write it as HTML; whether it adds up and is agreed with.

    `folder` is what `goodput_record` kept of its pods.
    """
    REPORT.parent.mkdir(exist_ok=True)
    where = ["--kubeconfig", str(site.kubectl.kubeconfig)]
    print(f"$ kubectl drumline goodput {job}", flush=True)
    kubectl_drumline(["goodput", job, *where])
    kubectl_drumline(["goodput", job, *where, "--html", str(REPORT)])
    manifest = site.kubectl.get("trainingjob", job)
    (folder / "job.json").write_text(json.dumps(manifest))
    here, there, off = opinions(manifest, folder)
    print(
        f"\nproductive worker-seconds: {there:.3f} by the ledger, {here:.3f} by pods' logs and container times "
        f"alone ({100 * off:.2f} % apart)\nas a page with a timeline: {REPORT.relative_to(REPOSITORY)}"
    )
    return adds_up(manifest["status"]["goodput"]) and off <= TOLERANCE


def opinions(manifest: dict[str, Any], folder: Path) -> tuple[float, float, float]:
    """Productive worker-seconds by logs and container times, by the ledger, and how far they are apart."""
    here, there = productive_seconds(*read_folder(folder)), account(manifest)
    return here, there, difference(here, there)


def adds_up(goodput: dict[str, Any]) -> bool:
    """Whether the states and provisional time are the whole, to the millisecond."""
    settled = sum(int(entry["ms"]) for entry in goodput["states"])
    return settled + int(goodput["provisionalMs"]) == int(goodput["elapsedMs"])
