"""What is drawn where there are colours and Unicode, and where there are none; and in what colours."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.api.goodput import State
from drumline.api.serving import ServingState
from drumline.api.status import TrainingJobStatus
from drumline.cli.goodput_text import breakdown
from drumline.cli.goodput_view import view_of
from drumline.cli.goodput_words import as_percent, dollars, duration, energy, outcome, seconds
from drumline.cli.palette import LOOKS, PROVISIONAL, ansi256, look, rgb
from drumline.cli.terminal import Terminal, apportion, bar, stacked, terminal_of
from tests.unit.cli.goodput_sample import job

PLAIN = Terminal(60)
RICH = Terminal(60, unicode=True, colour=True)


class Stream(io.StringIO):
    def __init__(self, encoding: str, *, tty: bool) -> None:
        super().__init__()
        self._encoding, self._tty = encoding, tty

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return self._tty


@given(st.lists(st.integers(0, 10**12), max_size=30), st.integers(1, 120))
def test_columns_add_up(parts: list[int], columns: int) -> None:
    widths = apportion(parts, columns)
    assert sum(widths) == (columns if any(parts) else 0)
    assert all(width >= 0 for width in widths)
    seen = [part for part in parts if part]
    if len(seen) <= columns:
        assert all((part > 0) == (width > 0) for part, width in zip(parts, widths, strict=True))


def test_a_stacked_bar_without_colours_is_letters() -> None:
    assert stacked([("queued", 100), ("productive", 300)], PLAIN, 8) == "qqPPPPPP"


def test_a_stacked_bar_with_colours_is_blocks() -> None:
    drawn = stacked([("queued", 100), ("productive", 300)], RICH, 8)
    assert drawn == "\x1b[38;5;145m██\x1b[0m\x1b[38;5;29m██████\x1b[0m"


@pytest.mark.parametrize(
    ("share", "plain", "rich"),
    [(0, "", ""), (1, "####", "████"), (0.5, "##", "██"), (0.3, "#", "█▎"), (7, "####", "████")],
)
def test_bars_of_a_share(share: float, plain: str, rich: str) -> None:
    assert bar(share, PLAIN, 4) == plain
    assert bar(share, RICH, 4) == rich


@pytest.mark.parametrize(
    ("encoding", "tty", "environment", "unicode", "colour"),
    [
        ("UTF-8", True, {}, True, True),
        ("utf8", True, {"NO_COLOR": "1"}, True, False),
        ("utf-8", True, {"TERM": "dumb"}, True, False),
        ("ascii", True, {}, False, True),
        ("utf-8", False, {}, False, False),
    ],
)
def test_what_a_stream_can_show(
    encoding: str, tty: bool, environment: dict[str, str], unicode: bool, colour: bool
) -> None:
    found = terminal_of(Stream(encoding, tty=tty), environment)
    assert (found.unicode, found.colour) == (unicode, colour)


def test_rows_line_up_in_colour() -> None:
    view = view_of(job())
    plain = breakdown(view, Terminal(80, unicode=True)).splitlines()
    rich = breakdown(view, Terminal(80, unicode=True, colour=True)).splitlines()
    assert len(plain) == len(rich)
    assert any("█" in line and "productive" in line and "\x1b[38;5;29m" in line for line in rich)
    assert "32 × nvidia-h100-80gb" in rich[0]


def test_attempts_are_marked_where_they_begin() -> None:
    lines = breakdown(view_of(job()), Terminal(80)).splitlines()
    [at] = [i for i, line in enumerate(lines) if line.startswith("Over ")]
    # 7,780,000 of 14,400,000 ms · 80 columns = 43.2
    assert lines[at + 2].index("^2") == 43
    assert lines[at + 1][45] in "cP"


def test_every_state_has_a_look_of_its_own() -> None:
    assert set(LOOKS) == {*State, *ServingState, PROVISIONAL}
    assert len({entry.letter for entry in LOOKS.values()}) == len(LOOKS)
    assert len({entry.colour for entry in LOOKS.values()}) == len(LOOKS)
    assert look("of_the_future").letter == "?"


@pytest.mark.parametrize("state", sorted(LOOKS))
def test_colours_stand_out_in_light_and_dark(state: str) -> None:
    luminance = _luminance(look(state).colour)
    assert (1 + 0.05) / (luminance + 0.05) >= 1.5
    assert (luminance + 0.05) / (_luminance("#14181c") + 0.05) >= 1.5


def _luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in rgb(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_terminal_colours() -> None:
    assert ansi256("#000000") == 16
    assert ansi256("#ffffff") == 231
    assert ansi256("#ff0000") == 196


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (12_340, "12.3 s"),
        (59_700, "1m 00s"),
        (245_000, "4m 05s"),
        (11_220_000, "3h 07m"),
        (187_200_000, "2d 04h"),
    ],
)
def test_durations(ms: int, text: str) -> None:
    assert duration(ms) == text


@pytest.mark.parametrize(
    ("ended", "phase", "text"),
    [
        ({}, "Running", "running"),
        ({"finishedAt": "t"}, "Succeeded", "Succeeded"),
        ({"finishedAt": "t"}, "Running", "ended"),
        ({"finishedAt": "t", "cause": "NodeLost"}, "Failed", "NodeLost"),
    ],
)
def test_outcomes(ended: dict[str, str], phase: str, text: str) -> None:
    attempts = [
        {"attempt": 1, "startedAt": "s", "finishedAt": "t"},
        {"attempt": 2, "startedAt": "s", **ended},
    ]
    status = TrainingJobStatus.model_validate({"phase": phase, "attempts": attempts})
    assert [outcome(attempt, status) for attempt in status.attempts] == ["ended", text]


def test_figures() -> None:
    assert seconds(1_234_567) == "1,234.567 s"
    assert as_percent("0.1234") == "12.3 %"
    assert as_percent(None) == "-"
    assert as_percent("n/a") == "n/a"
    assert dollars("1234.5") == "$ 1,234.50"
    assert dollars("?") == "?"
    assert energy(3_600_000) == "1.0 kWh"
    assert energy(1500) == "1,500 J"
