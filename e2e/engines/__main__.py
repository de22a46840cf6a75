"""Build the engines and their models: ``python -m e2e.engines [llamacpp|vllm|all]``."""

import argparse
import sys
from collections.abc import Callable, Sequence

from e2e.cluster.images_layers import ImageError
from e2e.engines import llamacpp, models, vllm

_PARTS: dict[str, tuple[Callable[[], object], ...]] = {
    "llamacpp": (models.models, llamacpp.image),
    "vllm": (models.models, vllm.image, vllm.trees),
    "all": (models.models, llamacpp.image, vllm.image, vllm.trees),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what is missing; the exit status is 1 when something could not be built."""
    parser = argparse.ArgumentParser(prog="python -m e2e.engines", description=__doc__)
    parser.add_argument("engine", nargs="?", default="all", choices=sorted(_PARTS))
    try:
        for build in _PARTS[parser.parse_args(arguments).engine]:
            build()
    except ImageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
