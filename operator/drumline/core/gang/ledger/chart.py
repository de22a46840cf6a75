"""The timeline: what most lanes did, as a picture. No figure is taken from it.

Entries (label, wall ms, attempt) from the job's beginning on, without gaps. Up time is entered as UP and given
another label from the front as reports tell of it, since both go forward in time; so are provisional steps when
they settle. Of more than MAX_TIMELINE entries the shortest quarter is merged into neighbours: a pass over them,
an entry of which takes in at most one other. Wall time is never lost by that, only labels of short entries.
"""

from __future__ import annotations

from itertools import groupby

from drumline.api.goodput import MAX_TIMELINE
from drumline.core.gang.ledger.codes import UP, label

Entry = tuple[int, int, int]
ALL = 1 << 62  # as much wall time as there is


def _merged(entries: list[Entry]) -> list[Entry]:
    short = sorted(e[1] for e in entries)[len(entries) // 4]
    out: list[Entry] = [entries[0]]
    grown = False
    for entry in entries[1:]:
        last = out[-1]
        if min(entry[1], last[1]) <= short and not grown:
            longer = entry if entry[1] > last[1] else last
            out[-1] = (longer[0], entry[1] + last[1], longer[2])
            grown = True
        else:
            out.append(entry)
            grown = False
    return out


class Chart:
    """Entries; those before `head` have a state for good."""

    __slots__ = ("entries", "head")

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.head = 0
        self._skip()

    def copy(self) -> Chart:
        """One of its own."""
        new = object.__new__(Chart)
        new.entries, new.head = self.entries[:], self.head
        return new

    def _skip(self) -> None:
        entries, i = self.entries, self.head
        while i < len(entries) and entries[i][0] < UP:
            i += 1
        self.head = i

    def append(self, code: int, wall: int, attempt: int) -> None:
        """The next `wall` ms."""
        entries = self.entries
        if entries and entries[-1][0] == code and entries[-1][2] == attempt:
            entries[-1] = (code, entries[-1][1] + wall, attempt)
            return
        entries.append((code, wall, attempt))
        self._shrink()

    def _shrink(self) -> None:
        if len(self.entries) > MAX_TIMELINE:
            self.join()
        self._skip()

    def join(self) -> None:
        """Fewer entries."""
        if self.entries:
            self.entries, self.head = _merged(self.entries), 0

    def relabel(self, source: int, wall: int, target: int) -> None:
        """The earliest `wall` ms that are labelled `source` are `target`."""
        i = self.head
        while wall > 0 and i < len(self.entries):
            code, have, _ = self.entries[i]
            if code != source:
                i += 1
                continue
            used = min(wall, have)
            wall -= used
            i = self._put(i, used, target)
        self._shrink()

    def _put(self, i: int, used: int, target: int) -> int:
        entries = self.entries
        code, have, attempt = entries[i]
        if i and entries[i - 1][0] == target and entries[i - 1][2] == attempt:
            entries[i - 1] = (target, entries[i - 1][1] + used, attempt)
        else:
            entries.insert(i, (target, used, attempt))
            i += 1
        if used == have:
            del entries[i]
        else:
            entries[i] = (code, have - used, attempt)
        return i

    def texts(self) -> tuple[str, ...]:
        """`<state>:<wall ms>:<attempt>`, oldest first."""
        named = ((label(code), wall, attempt) for code, wall, attempt in self.entries)
        groups = groupby(named, key=lambda e: (e[0], e[2]))
        return tuple(f"{name}:{sum(e[1] for e in group)}:{attempt}" for (name, attempt), group in groups)
