"""``kubectl drumline``: what a user of a cluster needs at hand."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from drumline import __version__
from drumline.cli import (
    capacity,
    explain,
    goodput,
    plan,
    queue,
    rollout_back,
    rollout_list,
    rollout_promote,
    simulate,
    why,
)

_COMMANDS: Final[Mapping[str, Any]] = {
    "capacity": capacity,
    "explain": explain,
    "goodput": goodput,
    "plan": plan,
    "promote": rollout_promote,
    "queue": queue,
    "rollback": rollout_back,
    "rollouts": rollout_list,
    "simulate": simulate,
    "why": why,
}


def parser() -> argparse.ArgumentParser:
    """The plugin's command line."""
    top = argparse.ArgumentParser(
        prog="kubectl drumline", description="TrainingJobs and InferenceServices at the command line."
    )
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, command in _COMMANDS.items():
        command.add_arguments(commands.add_parser(name, help=command.HELP, description=command.HELP))
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    args = parser().parse_args(arguments)
    code: int = args.action(args)
    return code


if __name__ == "__main__":
    sys.exit(main())
