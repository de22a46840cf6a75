r"""Regular expressions whose time is bounded: what users write to match reasons and messages of failures.

A decision must never hold the operator's loop, and Python's `re` takes exponential time for a pattern such as
``(a+)+$``. So a pattern is made into Glushkov's automaton: one position for each character of the pattern, the
positions that may follow each, and the set of positions reached so far as one integer. A text of n characters
costs at most n · `MAX_POSITIONS` steps, whatever the pattern. The language is a part of RE2's, which the CRD's
CEL rules compile too: literals, ``.``, classes, ``\d \w \s`` and their negations, groups, ``|``, ``* + ?``,
``{m,n}``, ``^`` and ``$``, and ``(?i)`` at the beginning. Search, not full match. There are no look-arounds,
back-references or word boundaries.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Final

MAX_PATTERN: Final = 256  # characters
MAX_POSITIONS: Final = 128  # characters after {m,n} is written out
MAX_DEPTH: Final = 16  # of groups
_KEPT: Final = 1024  # entries of a pattern's own caches

_BEGIN, _END = "\ufdd0", "\ufdd1"  # stand for the ends of the text; no text may hold them
_DIGITS: Final = (("0", "9"),)
_WORDS: Final = (("0", "9"), ("A", "Z"), ("_", "_"), ("a", "z"))
_SPACES: Final = (("\t", "\n"), ("\f", "\r"), (" ", " "))
_SHORTHANDS: Final = {"d": _DIGITS, "w": _WORDS, "s": _SPACES}
_CONTROLS: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f"}
_REPEAT: Final = re.compile(r"\{(\d{1,3})(,?)(\d{0,3})\}")
_GROUP: Final = re.compile(r"\(\?(?::|P?<\w+>)|\((?!\?)")
_META: Final = frozenset("*+?()|[")

Ranges = tuple[tuple[str, str], ...]


class PatternError(ValueError):
    """Not a pattern of this language; the message says where."""


@dataclass(frozen=True, slots=True)
class _Set:
    """The characters that a position takes."""

    ranges: Ranges
    negated: bool = False

    def takes(self, char: str) -> bool:
        inside = any(low <= char <= high for low, high in self.ranges)
        return inside != self.negated if char not in (_BEGIN, _END) else inside and not self.negated


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a pattern: whether it may be empty, and the positions it may begin and end with, as bits."""

    empty: bool
    first: int = 0
    last: int = 0


@dataclass(slots=True)
class Pattern:
    """A compiled pattern."""

    sets: list[_Set]
    follow: list[int]
    whole: _Part
    fold: bool
    _after: dict[int, int] = field(default_factory=dict)
    _masks: dict[str, int] = field(default_factory=dict)

    def search(self, text: str) -> bool:
        """Whether the pattern holds anywhere in `text`."""
        if self.whole.empty:
            return True
        state = 0
        for char in chain((_BEGIN,), text, (_END,)):
            state = (self._reached(state) | self.whole.first) & self._mask(char)
            if state & self.whole.last:
                return True
        return False

    def _reached(self, state: int) -> int:
        found = self._after.get(state)
        if found is None:
            found, rest = 0, state
            while rest:
                found |= self.follow[(rest & -rest).bit_length() - 1]
                rest &= rest - 1
            if len(self._after) < _KEPT:
                self._after[state] = found
        return found

    def _mask(self, char: str) -> int:
        found = self._masks.get(char)
        if found is None:
            same = {char, char.lower(), char.upper()} if self.fold else {char}
            found = sum(1 << i for i, s in enumerate(self.sets) if any(s.takes(c) for c in same))
            if len(self._masks) < _KEPT:
                self._masks[char] = found
        return found


@lru_cache(maxsize=512)
def compile_pattern(source: str) -> Pattern:
    """The pattern. PatternError when `source` is none, or is too long."""
    if len(source) > MAX_PATTERN:
        raise PatternError(f"{len(source)} characters; at most {MAX_PATTERN}")
    fold = source.startswith("(?i)")
    parser = _Parser(source, 4 if fold else 0)
    whole = parser.alternation(0)
    if parser.at < len(source):
        raise PatternError(f"unexpected {source[parser.at]!r} at {parser.at}")
    return Pattern(parser.sets, parser.follow, whole, fold)


class _Parser:
    """Recursive descent; parts are joined as they are read."""

    def __init__(self, source: str, at: int) -> None:
        self.source, self.at = source, at
        self.sets: list[_Set] = []
        self.follow: list[int] = []

    def alternation(self, depth: int) -> _Part:
        """Parts between bars, up to the end or a closing parenthesis."""
        if depth > MAX_DEPTH:
            raise PatternError(f"groups nested deeper than {MAX_DEPTH}")
        part = self._sequence(depth)
        while self._next() == "|":
            self.at += 1
            other = self._sequence(depth)
            part = _Part(part.empty or other.empty, part.first | other.first, part.last | other.last)
        return part

    def _sequence(self, depth: int) -> _Part:
        whole = _Part(empty=True)
        while self._next() not in ("", "|", ")"):
            whole = self._joined(whole, self._repeated(depth))
        return whole

    def _repeated(self, depth: int) -> _Part:
        start = self.at
        part = self._atom(depth)
        sign, counts = self._next(), _REPEAT.match(self.source, self.at)
        if sign and sign in "*+?":
            self.at += 1
            part = self._looped(part) if sign in "*+" else part
            part = _Part(part.empty or sign != "+", part.first, part.last)
        elif counts:
            part = self._counted(counts, start, part, depth)
        else:
            return part
        if self._next() == "?":  # the shortest match is a match too
            self.at += 1
        if self._next() in ("*", "+", "?") or _REPEAT.match(self.source, self.at):
            raise PatternError(f"nothing to repeat at {self.at}")
        return part

    def _counted(self, counts: re.Match[str], start: int, first: _Part, depth: int) -> _Part:
        """Copies of the atom at `start`, which is read again for each: m as they are, the others optional."""
        least = int(counts[1])
        endless = bool(counts[2]) and not counts[3]
        most = max(least, 1) if endless else int(counts[3] or least)
        if most < least:
            raise PatternError(f"bad counts {counts[0]}")
        whole = _Part(empty=True)
        for number in range(most):
            part = first
            if number:
                self.at = start
                part = self._atom(depth)
            if endless and number == most - 1:
                part = self._looped(part)
            whole = self._joined(whole, _Part(part.empty or number >= least, part.first, part.last))
        self.at = counts.end()
        return whole

    def _atom(self, depth: int) -> _Part:
        char = self._next()
        group = _GROUP.match(self.source, self.at)
        if group:
            self.at = group.end()
            part = self.alternation(depth + 1)
            if self._next() != ")":
                raise PatternError("missing )")
            self.at += 1
            return part
        if char == "[":
            return self._position(self._class())
        if char in _META:
            raise PatternError(f"unexpected {char!r} at {self.at}")
        self.at += 1
        if char == "\\":
            return self._position(self._escape())
        special = {".": _Set((("\n", "\n"),), negated=True), "^": _one(_BEGIN), "$": _one(_END)}
        return self._position(special.get(char) or _one(char))

    def _escape(self) -> _Set:
        """What stands after a backslash."""
        char = self._next()
        self.at += 1
        if char.lower() in _SHORTHANDS:
            return _Set(_SHORTHANDS[char.lower()], negated=char.isupper())
        if char in _CONTROLS:
            return _one(_CONTROLS[char])
        if not char or char.isalnum() or not char.isascii():
            raise PatternError(f"unknown escape \\{char}")
        return _one(char)

    def _class(self) -> _Set:
        self.at += 1
        negated = self._next() == "^"
        self.at += negated
        ranges: list[tuple[str, str]] = []
        begun = self.at
        while self._next() != "]" or self.at == begun:
            ranges += self._range()
        self.at += 1
        return _Set(tuple(ranges), negated)

    def _range(self) -> Ranges:
        low = self._class_item()
        if self._next() != "-" or self.source[self.at + 1 : self.at + 2] in ("]", ""):
            return low.ranges
        self.at += 1
        high = self._class_item()
        bad = [s for s in (low, high) if len(s.ranges) != 1 or s.ranges[0][0] != s.ranges[0][1]]
        if bad or high.ranges[0][0] < low.ranges[0][0]:
            raise PatternError(f"bad range before {self.at}")
        return ((low.ranges[0][0], high.ranges[0][0]),)

    def _class_item(self) -> _Set:
        char = self._next()
        if not char or self.source.startswith("[:", self.at):
            raise PatternError("missing ]" if not char else "named classes are not supported")
        self.at += 1
        if char != "\\":
            return _one(char)
        found = self._escape()
        if found.negated:
            raise PatternError("a negated shorthand within [ ]")
        return found

    def _position(self, takes: _Set) -> _Part:
        if len(self.sets) >= MAX_POSITIONS:
            raise PatternError(f"more than {MAX_POSITIONS} characters with {{m,n}} written out")
        self.sets.append(takes)
        self.follow.append(0)
        bit = 1 << (len(self.sets) - 1)
        return _Part(empty=False, first=bit, last=bit)

    def _joined(self, left: _Part, right: _Part) -> _Part:
        self._link(left.last, right.first)
        first = left.first | (right.first if left.empty else 0)
        last = right.last | (left.last if right.empty else 0)
        return _Part(left.empty and right.empty, first, last)

    def _looped(self, part: _Part) -> _Part:
        self._link(part.last, part.first)
        return part

    def _link(self, last: int, first: int) -> None:
        while last:
            self.follow[(last & -last).bit_length() - 1] |= first
            last &= last - 1

    def _next(self) -> str:
        return self.source[self.at : self.at + 1]


def _one(char: str) -> _Set:
    return _Set(((char, char),))
