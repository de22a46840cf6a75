"""What a terminal can show: columns, Unicode, colours. Bars and tables are drawn with what it can."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TextIO

from drumline.cli.palette import ansi256, look

MAX_WIDTH: Final = 120
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"


@dataclass(frozen=True, slots=True)
class Terminal:
    """`width` in columns. Without `unicode` only ASCII is written."""

    width: int = 80
    unicode: bool = False
    colour: bool = False


def terminal_of(stream: TextIO, environment: Mapping[str, str] = os.environ) -> Terminal:
    """What `stream` can show: colours only on a terminal and unless NO_COLOR is set (no-color.org)."""
    tty = stream.isatty()
    encoding = (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "")
    colour = tty and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
    width = shutil.get_terminal_size((100, 24)).columns if tty else 100
    return Terminal(min(max(width, 60), MAX_WIDTH), tty and encoding == "utf8", colour)


def paint(state: str, text: str, terminal: Terminal) -> str:
    """`text` in a state's colour, where there are colours."""
    if not (terminal.colour and text):
        return text
    return f"\x1b[38;5;{ansi256(look(state).colour)}m{text}\x1b[0m"


def swatch(state: str, terminal: Terminal, columns: int = 1) -> str:
    """A run of a state: blocks where there are colours, else its letter."""
    if terminal.colour:
        return paint(state, ("█" if terminal.unicode else look(state).letter) * columns, terminal)
    return look(state).letter * columns


def stacked(parts: Sequence[tuple[str, int]], terminal: Terminal, columns: int) -> str:
    """One bar of states, each as long as its part of the sum. A part that is not 0 is at least seen."""
    widths = apportion([ms for _, ms in parts], columns)
    return "".join(swatch(state, terminal, n) for (state, _), n in zip(parts, widths, strict=True))


def apportion(parts: Sequence[int], columns: int) -> list[int]:
    """Whole columns in proportion, in sum `columns`, by largest remainders.

    Where there are columns enough, a part that is not 0 gets one at the cost of the widest. All 0 where
    nothing is to be shown.
    """
    whole = sum(parts)
    if whole <= 0:
        return [0] * len(parts)
    widths = [columns * part // whole for part in parts]
    by_remainder = sorted(range(len(parts)), key=lambda i: -(columns * parts[i] % whole))
    for i in by_remainder[: columns - sum(widths)]:
        widths[i] += 1
    unseen = [i for i, part in enumerate(parts) if part > 0 and widths[i] == 0]
    for i in unseen:
        widest = max(range(len(parts)), key=widths.__getitem__)
        if widths[widest] > 1:
            widths[widest] -= 1
            widths[i] = 1
    return widths


def bar(share: float, terminal: Terminal, columns: int) -> str:
    """A share of one as a bar of at most `columns`, to an eighth of a column where there is Unicode."""
    share = min(max(share, 0.0), 1.0)
    if not terminal.unicode:
        return "#" * round(share * columns)
    eighths = round(share * columns * 8)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """Columns as wide as their widest cell, three spaces between; `right` are aligned to the right."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    to_right = set(right)
    return [
        "   ".join(
            cell.rjust(widths[i]) if i in to_right else cell.ljust(widths[i]) for i, cell in enumerate(line)
        ).rstrip()
        for line in lines
    ]
