"""``kubectl drumline capacity``: the cluster's accelerators by topology, what each does, and the power that is left.

Exit codes: 0 shown, 1 the cluster can't be reached or refused.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import Final

from drumline.cli import cluster, manifests
from drumline.cli.capacity_text import drawn
from drumline.cli.capacity_view import WANTED, capacity_of, raw
from drumline.cli.terminal import terminal_of
from drumline.cli.topology_file import add_option

EVERY_LEVEL: Final = 64

HELP: Final = "draw the tree of accelerators: used, reserved, broken, free; and the power that is left"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument("-t", "--type", metavar="TYPE", help="only this accelerator type")
    parser.add_argument("--nodes", action="store_true", help="down to each node, with who holds it")
    parser.add_argument("--depth", type=_depth, metavar="N", help="at most so many levels below a type")
    add_option(parser)
    cluster.add_connection(parser)
    parser.add_argument("-o", "--output", choices=("text", "json", "yaml"), default="text")
    parser.set_defaults(action=run)


def run(args: Namespace) -> int:
    """Read and show; the exit code."""
    # what follows takes half a second to import, and other commands need none of it
    from drumline.cli import capacity_power as power  # noqa: PLC0415
    from drumline.cli.settings import raw as raw_settings  # noqa: PLC0415
    from drumline.cli.settings import read_settings  # noqa: PLC0415

    access = cluster.access_of(args)
    try:
        found = cluster.list_each(access, WANTED)
    except cluster.ClusterError as error:
        sys.stderr.write(f"error: {error}\n")
        return cluster.UNREACHABLE
    settings = read_settings(access).given(topology=args.topology)
    every = capacity_of(found, settings.catalog, settings.topology)
    trees = [tree for tree in every if args.type in (None, tree.name)]
    metered = bool(settings.power.budgets)
    supplies, faults = (
        power.standing_of(power.with_services(access, found), settings) if metered else ((), ())
    )
    depth = args.depth if args.depth is not None else EVERY_LEVEL if args.nodes else None
    if args.output == "text":
        terminal = terminal_of(sys.stdout)
        sys.stdout.write(drawn(trees, terminal, depth) + power.told(supplies, settings, terminal, faults))
    else:
        whole = {
            "accelerators": raw(trees, depth),
            "power": power.raw(supplies),
            "powerFaults": list(faults),
            "settings": raw_settings(settings),
        }
        sys.stdout.write(manifests.dump(whole, args.output))
    return cluster.OK


def _depth(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f"given {text!r}; allowed: a number of levels, 0 or more")
    return int(text)
