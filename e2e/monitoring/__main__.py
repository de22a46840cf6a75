"""Write the dashboards, or check that they are up to date: ``python -m e2e.monitoring --write|--check``."""

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from drumline.api.generate import run
from e2e.monitoring.dashboards import DASHBOARDS

DIRECTORY = Path(__file__).parents[2] / "charts" / "drumline" / "dashboards"


def text(name: str) -> str:
    """The JSON of a dashboard, as Grafana imports it."""
    board = DASHBOARDS[name]().build()
    return json.dumps(board, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def main(arguments: list[str]) -> int:
    """Exit status: 1 when a file is out of date."""
    return max(run(DIRECTORY / f"drumline-{name}.json", text(name), arguments) for name in DASHBOARDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
