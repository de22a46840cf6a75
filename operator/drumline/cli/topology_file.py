"""The option ``--topology FILE``: the levels of a cluster, as its operator's setting `topology` lists them."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path

import yaml

from drumline.core.gang.topology import Topology
from drumline.core.gang.topology_config import topology_of


def add_option(parser: ArgumentParser) -> None:
    """Declare the option; its value is a Topology."""
    parser.add_argument(
        "--topology",
        type=topology_file,
        default=Topology(),
        metavar="FILE",
        help="YAML list of topology levels, as in the operator's setting (default: every preset)",
    )


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
