"""``kubectl drumline rollback``: return an InferenceService to an earlier revision.

Only what pods are made from is taken from the revision; replicas, autoscaling, rollout and routing stay as they are.
A person decided, so the revision gets no canary.

Exit codes: 0 done or nothing to do, 1 the cluster can't be reached or refused, 3 no such service or revision.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import Any, Final

from drumline.api.meta import ANNOTATION_PROMOTE
from drumline.cli import cluster, rollout_cluster
from drumline.cli.cluster import OK, UNREACHABLE
from drumline.cli.goodput import ABSENT
from drumline.cli.rollout_cluster import Address, ChangedError, Found
from drumline.cli.rollout_view import RolloutError, changes, history, spec_of, way_back
from drumline.core.inference.observation import Revision
from drumline.core.inference.restore import merge_patch, restored

TRIES: Final = 5
HELP: Final = "return an InferenceService to an earlier revision"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    rollout_cluster.add_arguments(parser)
    parser.add_argument(
        "--to-revision",
        type=int,
        metavar="N",
        help="its number, as `kubectl drumline rollouts` shows it; default: the current revision while another "
        "is on its way, else the one before it",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would change, and change nothing")
    parser.set_defaults(action=run)


def run(args: Namespace) -> int:
    """Go back; the exit code."""
    try:
        address = rollout_cluster.address_of(args)
        found = rollout_cluster.load(address)
        target = way_back(history(found), args.to_revision)
        now = spec_of(found)
        lines = changes(now, target.spec) if now is not None else []
        if not args.dry_run:
            _go(address, found, target)
    except (cluster.NotFoundError, RolloutError) as error:
        return _fail(str(error), ABSENT)
    except cluster.ClusterError as error:
        return _fail(str(error), UNREACHABLE)
    done = "would go back" if args.dry_run else "goes back"
    print(f"inferenceservice/{args.name} {done} to revision {target.number} ({target.name})")
    for line in lines:
        print(f"  {line}")
    return OK


def _go(address: Address, found: Found, target: Revision) -> None:
    """Patch the service. Its status may change at any moment; a change of the spec ends it (ChangedError)."""
    for left in reversed(range(TRIES)):
        try:
            rollout_cluster.patch(address, body_of(found, target))
        except ChangedError:
            generation = found.service["metadata"].get("generation")
            found = rollout_cluster.load(address)
            if not left or found.service["metadata"].get("generation") != generation:
                raise
        else:
            return


def body_of(found: Found, target: Revision) -> dict[str, Any]:
    """The merge patch of the service; only of the very object that was read.

    A spec that can't be read gives way to the whole spec of the revision.
    """
    metadata = {
        "resourceVersion": found.service["metadata"]["resourceVersion"],
        "annotations": {ANNOTATION_PROMOTE: target.name},
    }
    now = spec_of(found)
    if now is None:
        whole = merge_patch(found.service.get("spec") or {}, target.spec.to_json())
        return {"metadata": metadata, "spec": whole}
    return {"metadata": metadata, "spec": merge_patch(now.to_json(), restored(now, target.spec).to_json())}


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return code
