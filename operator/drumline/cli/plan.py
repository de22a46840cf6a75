"""``drumline plan``: print the objects that the operator would create for a manifest, with no cluster.

Exit codes: 0 printed, 2 the input is not valid, 3 the described nodes can't take the gang.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from typing import Final

from drumline.api.candidates import choices, with_candidate
from drumline.api.catalog import Catalog
from drumline.api.meta import INFERENCE_SERVICE
from drumline.cli import manifests
from drumline.cli.offline import InvalidJobError, Planned, RefusedError, job_of, plan_offline
from drumline.cli.offline_service import plan_service, service_of
from drumline.core.gang.topology import Topology

OK: Final = 0
INVALID: Final = 2
REFUSED: Final = 3

HELP: Final = (
    "print the objects that would be created for a TrainingJob or an InferenceService, without a cluster"
)
_UNPLACED: Final = (
    "Pods are shown without a node: no --nodes given.\n"
    "The operator places the whole gang first and pins each pod to its node."
)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument(
        "-f",
        "--filename",
        required=True,
        help="manifest with one TrainingJob or InferenceService; - for stdin",
    )
    parser.add_argument("-n", "--namespace", default="default", help="where the manifest names none")
    parser.add_argument(
        "--nodes", metavar="FILE", help="v1.Nodes to place on, as `kubectl get nodes -o yaml`"
    )
    parser.add_argument(
        "--attempt", type=_positive, default=1, metavar="N", help="which attempt of a job (default 1)"
    )
    parser.add_argument(
        "--candidate",
        type=int,
        default=0,
        metavar="N",
        help="which of a job's spec.accelerator.candidates to plan for, the first being 1 (default 0: spec.accelerator)",
    )
    parser.add_argument("-o", "--output", choices=("yaml", "json"), default="yaml")
    parser.set_defaults(action=run)


def run(args: Namespace) -> int:
    """Plan and print; the exit code."""
    try:
        catalog = Catalog.default()
        manifest = manifests.one_of_ours(args.filename)
        nodes = manifests.nodes(args.nodes) if args.nodes else None
        planned = _planned(manifest, args, catalog, nodes)
    except manifests.InputError as error:
        return _fail(str(error), INVALID)
    except InvalidJobError as error:
        return _fail("\n".join(str(e) for e in error.errors), INVALID)
    except RefusedError as error:
        return _fail(str(error), REFUSED)
    _print(planned, args.output)
    return OK


def _planned(
    manifest: manifests.Manifest, args: Namespace, catalog: Catalog, nodes: list[manifests.Manifest] | None
) -> Planned:
    if manifest["kind"] == INFERENCE_SERVICE:
        return plan_service(service_of(manifest, args.namespace, catalog), catalog, nodes)
    job = job_of(manifest, args.namespace, catalog)
    others = choices(job.spec) - 1
    if not 0 <= args.candidate <= others:
        raise manifests.InputError(f"--candidate: given {args.candidate}; allowed: 0 to {others}")
    job = replace(job, spec=with_candidate(job.spec, args.candidate))
    level, known = job.spec.scheduling.placement.level, Topology().level_names()
    if nodes is None and level and level not in known:
        text = f"spec.scheduling.placement.level: given {level!r}, which the setting `topology` would have to name; built in"
        sys.stderr.write(f"{text}: {', '.join(known)}\n")
    return plan_offline(job, catalog, nodes, args.attempt)


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
