"""``kubectl drumline promote``: end an InferenceService's canary in favour of the new revision.

It also takes a revision that the analysis refused. The annotation drumline.dev/promote on the service says which one.

Exit codes: 0 done, 1 the cluster can't be reached or refused, 2 nothing to promote, 3 no such service.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import Final

from drumline.api.inference_status import InferenceServiceStatus
from drumline.api.meta import ANNOTATION_PROMOTE
from drumline.cli import cluster, rollout_cluster
from drumline.cli.cluster import OK, UNREACHABLE
from drumline.cli.goodput import ABSENT, INVALID
from drumline.cli.rollout_cluster import Found
from drumline.cli.rollout_view import RolloutError

HELP: Final = "end an InferenceService's canary in favour of the new revision"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    rollout_cluster.add_arguments(parser)
    parser.set_defaults(action=run)


def run(args: Namespace) -> int:
    """Promote; the exit code."""
    try:
        address = rollout_cluster.address_of(args)
        revision = promotable(rollout_cluster.load(address))
        # it names the revision, so it does no harm to a service that changes at this moment
        rollout_cluster.patch(address, {"metadata": {"annotations": {ANNOTATION_PROMOTE: revision}}})
    except RolloutError as error:
        return _fail(str(error), INVALID)
    except cluster.NotFoundError as error:
        return _fail(str(error), ABSENT)
    except cluster.ClusterError as error:
        return _fail(str(error), UNREACHABLE)
    print(f"inferenceservice/{args.name}: revision {revision} is promoted")
    return OK


def promotable(found: Found) -> str:
    """The revision on its way. RolloutError when there is none, or the operator has not seen the spec yet."""
    metadata = found.service["metadata"]
    status = InferenceServiceStatus.model_validate(found.service.get("status") or {})
    if status.observed_generation != metadata.get("generation", 1):
        raise RolloutError(
            f"the operator has not looked at the latest change of {metadata['name']} yet; try again"
        )
    if status.update_revision is None or status.update_revision == status.current_revision:
        raise RolloutError(f"no revision of {metadata['name']} is on its way")
    return status.update_revision


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return code
