"""The options that stand for settings of the operator, where these can't be read, or others are to be tried."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from math import inf
from pathlib import Path

import yaml

from drumline.core.gang.topology import Topology
from drumline.core.gang.topology_config import topology_of


def add_option(parser: ArgumentParser) -> None:
    """Declare ``--topology``, the levels of the cluster; its value is a Topology, or None."""
    parser.add_argument(
        "--topology",
        type=topology_file,
        metavar="FILE",
        help="YAML list of topology levels, as in the operator's setting (default: that setting)",
    )


def add_aging(parser: ArgumentParser) -> None:
    """Declare ``--aging``; its value is a number of seconds, or None."""
    parser.add_argument(
        "--aging",
        type=_seconds,
        metavar="SECONDS",
        help="how long a gang waits until no priority goes before it, 0: for ever (default: the operator's setting)",
    )


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < inf:
        raise ArgumentTypeError(f"given {text!r}; allowed: seconds, 0 or more")
    return value


def topology_file(path: str) -> Topology:
    """The topology that a file lists. ArgumentTypeError names what can't be used."""
    try:
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ArgumentTypeError(f"{path}: {error}") from error
    topology, errors = topology_of(document, path)
    if errors:
        raise ArgumentTypeError("; ".join(map(str, errors)))
    return topology
