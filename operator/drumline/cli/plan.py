"""``drumline plan``: print the objects that the operator would create for a manifest, with no cluster.

Exit codes: 0 printed, 2 the input is not valid, 3 the described nodes can't take the gang.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import Final

from drumline.api.catalog import Catalog
from drumline.cli import manifests
from drumline.cli.offline import InvalidJobError, Planned, RefusedError, job_of, plan_offline

OK: Final = 0
INVALID: Final = 2
REFUSED: Final = 3

HELP: Final = "print the objects that would be created for a TrainingJob, without a cluster"
_UNPLACED: Final = (
    "Pods are shown without a node: no --nodes given.\n"
    "The operator places the whole gang first and pins each pod to its node."
)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument("-f", "--filename", required=True, help="manifest with one TrainingJob; - for stdin")
    parser.add_argument("-n", "--namespace", default="default", help="where the manifest names none")
    parser.add_argument(
        "--nodes", metavar="FILE", help="v1.Nodes to place on, as `kubectl get nodes -o yaml`"
    )
    parser.add_argument("--attempt", type=_positive, default=1, metavar="N", help="which attempt (default 1)")
    parser.add_argument("-o", "--output", choices=("yaml", "json"), default="yaml")
    parser.set_defaults(action=run)


def run(args: Namespace) -> int:
    """Plan and print; the exit code."""
    try:
        catalog = Catalog.default()
        job = job_of(manifests.training_job(args.filename), args.namespace, catalog)
        nodes = manifests.nodes(args.nodes) if args.nodes else None
        planned = plan_offline(job, catalog, nodes, args.attempt)
    except manifests.InputError as error:
        return _fail(str(error), INVALID)
    except InvalidJobError as error:
        return _fail("\n".join(str(e) for e in error.errors), INVALID)
    except RefusedError as error:
        return _fail(str(error), REFUSED)
    _print(planned, args.output)
    return OK


def _print(planned: Planned, output: str) -> None:
    remarks = [planned.nothing] if planned.nothing else [] if planned.placed else [_UNPLACED]
    if output == "json":
        sys.stderr.write("".join(f"{remark}\n" for remark in remarks))
        sys.stdout.write(manifests.to_json([manifest for _, manifest in planned.objects]))
        return
    sys.stdout.write(manifests.comment("\n".join(remarks)))
    sys.stdout.write(manifests.to_yaml(planned.objects))


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"{message}\n")
    return code


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
