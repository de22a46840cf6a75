"""``python -m drumline``: run the operator, print the CRDs, plan a job or simulate a cluster offline."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from drumline import __version__
from drumline.api import crd
from drumline.cli import plan, simulate

_RUN = "run the operator (its own options: drumline run --help)"
_INGEST = "take workers' reports for the operator (its own options: drumline ingest --help)"
_CRDS = "print the custom resource definitions"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # its options are the shell's, and so is the time it takes to import
    if given[:1] == ["run"]:
        return _run(given[1:])
    if given[:1] == ["ingest"]:
        return _ingest(given[1:])
    args = _parser().parse_args(given)
    code: int = args.action(args)
    return code


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="drumline", description="Operator for accelerator gangs.")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    commands.add_parser("run", help=_RUN, add_help=False)
    commands.add_parser("ingest", help=_INGEST, add_help=False)
    commands.add_parser("crds", help=_CRDS, description=_CRDS).set_defaults(action=_crds)
    plan.add_arguments(commands.add_parser("plan", help=plan.HELP, description=plan.HELP))
    simulate.add_arguments(commands.add_parser("simulate", help=simulate.HELP, description=simulate.HELP))
    return top


def _crds(_args: argparse.Namespace) -> int:
    sys.stdout.write(crd.text())
    return 0


def _run(arguments: Sequence[str]) -> int:
    from drumline.runtime.shell import main as run  # noqa: PLC0415 - plan and crds need no kopf

    return run(arguments)


def _ingest(arguments: Sequence[str]) -> int:
    from drumline.runtime.ingest.process import main as ingest  # noqa: PLC0415 - nothing else serves HTTPS

    return ingest(arguments)


if __name__ == "__main__":
    sys.exit(main())
