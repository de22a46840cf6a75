"""``kubectl drumline``: what a user of a cluster needs at hand."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from drumline import __version__
from drumline.cli import goodput, plan


def parser() -> argparse.ArgumentParser:
    """The plugin's command line."""
    top = argparse.ArgumentParser(prog="kubectl drumline", description="TrainingJobs at the command line.")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, command in (("goodput", goodput), ("plan", plan)):
        command.add_arguments(commands.add_parser(name, help=command.HELP, description=command.HELP))
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    args = parser().parse_args(arguments)
    code: int = args.action(args)
    return code


if __name__ == "__main__":
    sys.exit(main())
