"""The garbage collector's pace in a process that serves.

Python looks for cycles whenever 700 more objects were made than freed. A report or a pass of the loop makes hundreds
and frees them all without its help, yet that look took a third of the ingest's time. Here it comes less often, and
never at what the modules made, which stays until the end.
"""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 10_000  # objects; a few MB of cycles at most
OLDER: Final = 20  # collections of one generation before the next one's


def settle() -> None:
    """Call it once, when everything is imported and nothing is served yet."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, OLDER, OLDER)
