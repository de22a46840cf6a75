"""Reads progress from a program's output, line by line.

`LineReader` is pure: lines in, what they say out. A preset's rules are in `drumline.worker.presets`; `auto` means
the first preset that two lines match. Until then the preset that matched first speaks, so that nothing is lost.
A user's own pattern replaces the preset's step lines, a user's commit pattern its checkpoint lines.

Lines are cut at 2,000 characters and freed of terminal colours. A step that is not greater than the one before
counts only when it is a new beginning: the same step seen twice (two streams, two formats) says nothing.

A user's pattern can be slow without end. `drumline.worker.guard.guarded` makes a reader that survives it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

from drumline.worker.presets import PRESETS, TRAINING_METRICS, Pattern, Rules

MAX_LINE: Final = 2000
MATCHES_TO_WIN: Final = 2
AUTO: Final = "auto"
_ANSI: Final = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-Z\\^_])")


class Observed(NamedTuple):
    """What one line says. None = nothing of that."""

    step: int | None = None  # this step has ended
    tokens: int | None = None  # of all devices, in the steps since the last line
    seconds: float | None = None  # one step's duration
    flops: float | None = None  # of all devices, like tokens
    loss: float | None = None
    committed_step: int | None = None  # steps up to this are in a durable checkpoint
    resumed_step: int | None = None  # training goes on from this step


class Search(Protocol):
    """A compiled pattern, guarded or not."""

    def __call__(self, line: str) -> Mapping[str, str | None] | None:
        """The named groups, or None when the line does not match."""


def searcher(pattern: str) -> Search:
    """Plain matching, with no limit of time. Raises re.error."""
    compiled = re.compile(pattern)

    def search(line: str) -> Mapping[str, str | None] | None:
        found = compiled.search(line)
        return found.groupdict() if found else None

    return search


class LineReader:
    """Reads one program's output. `devices`: how many the rates of one device count for; 0 = not known.

    Raises re.error for a pattern that is none, KeyError for a preset that there is not.
    """

    def __init__(
        self,
        preset: str = AUTO,
        pattern: str | None = None,
        commit_pattern: str | None = None,
        devices: int = 0,
        search: Callable[[str], Search] | None = None,
    ) -> None:
        compiled = search or searcher
        self._step = compiled(pattern) if pattern else None
        self._commit = compiled(commit_pattern) if commit_pattern else None
        named = PRESETS if preset == AUTO else {preset: PRESETS[preset]}
        self._readers = {name: _Preset(rules, devices) for name, rules in named.items()}
        self._chosen = "" if preset == AUTO else preset
        self._matches: dict[str, int] = {}
        self._last_step: int | None = None

    @property
    def preset(self) -> str:
        """The preset in use; "" while `auto` has not found one."""
        return self._chosen

    def read(self, line: str) -> Observed | None:
        """What a line says, or None."""
        text = _ANSI.sub("", line[: 2 * MAX_LINE])[:MAX_LINE].rstrip()
        if not text:
            return None
        found = self._own(text) or Observed()
        theirs = self._preset(text) or Observed()
        if self._step is None and theirs.step is not None:
            found = theirs._replace(committed_step=found.committed_step)
        if self._commit is None and theirs.committed_step is not None:
            found = found._replace(committed_step=theirs.committed_step)
        if found.resumed_step is None and theirs.resumed_step is not None:
            found = found._replace(resumed_step=theirs.resumed_step)
        found = self._once(found)
        return found if found != Observed() else None

    def _own(self, text: str) -> Observed | None:
        found = Observed()
        step = self._step(text) if self._step else None
        if step is not None and _integer(step.get("step")) is not None:
            found = Observed(
                step=_integer(step.get("step")),
                tokens=_integer(step.get("tokens")),
                seconds=_real(step.get("seconds")),
                flops=_real(step.get("flops")),
                loss=_real(step.get("loss")),
            )
        commit = self._commit(text) if self._commit else None
        if commit is not None:
            found = found._replace(committed_step=_integer(commit.get("step")))
        return found if found != Observed() else None

    def _preset(self, text: str) -> Observed | None:
        speaks: Observed | None = None
        leader = self._chosen or next(iter(self._matches), "")
        for name, reader in self._readers.items():
            found = reader.read(text)
            if found is None:
                continue
            if found.step is not None and not self._chosen:
                self._matches[name] = self._matches.get(name, 0) + 1
                leader = leader or name
                if self._matches[name] >= MATCHES_TO_WIN:
                    leader = name
            if name == leader or not leader:
                speaks = found
        if leader and self._matches.get(leader, 0) >= MATCHES_TO_WIN and not self._chosen:
            self._choose(leader)
        return speaks

    def _choose(self, name: str) -> None:
        self._chosen = name
        self._readers = {name: self._readers[name]}

    def _once(self, found: Observed) -> Observed:
        if found.resumed_step is not None:
            self._last_step = None
        if found.step is None:
            return found
        if found.step == self._last_step:
            return Observed(committed_step=found.committed_step, resumed_step=found.resumed_step)
        self._last_step = found.step
        return found


class _Preset:
    """One preset's rules, and what it takes to follow a save from line to line."""

    def __init__(self, rules: Rules, devices: int) -> None:
        self._rules = rules
        self._devices = devices
        self._last: int | None = None
        self._saving: int | None = None
        self._staged: int | None = None
        self._bar: tuple[int, int] | None = None
        self._total: int | None = None

    def read(self, text: str) -> Observed | None:
        step = self._steps(text)
        committed = self._commits(text, step.step if step else None)
        resumed = _first(self._rules.resumed, text)
        if step is None and committed is None and resumed is None:
            return None
        if resumed is not None:
            resumed += self._rules.before
            self._last = resumed
        if committed is not None:
            committed += self._rules.before
        return (step or Observed())._replace(committed_step=committed, resumed_step=resumed)

    def _steps(self, text: str) -> Observed | None:
        found = self._rules.step.search(text)
        if found is None:
            return self._metrics(text)
        groups = found.groupdict()
        number = next(int(groups[name] or "") for name in groups if name.startswith("step") and groups[name])
        if "total" in groups and not self._is_training(number, int(groups["total"] or "")):
            return None
        steps = number - self._last if self._last is not None and number > self._last else 1
        self._last = number
        return self._measured(number, steps, groups)

    def _measured(self, number: int, steps: int, groups: Mapping[str, str | None]) -> Observed:
        milliseconds = _real(groups.get("ms"))
        seconds = _real(groups.get("seconds")) if milliseconds is None else milliseconds / 1000
        scale = (seconds or 0.0) * steps * self._devices
        tps, tflops = _real(groups.get("tps")), _real(groups.get("tflops"))
        return Observed(
            step=number,
            seconds=seconds,
            tokens=round(tps * scale) if tps and scale else None,
            flops=tflops * 1e12 * scale if tflops and scale else None,
            loss=_real(groups.get("loss")),
        )

    def _is_training(self, number: int, total: int) -> bool:
        # evaluation has a bar as well: the training's is the one that metrics of a step were printed under
        self._bar = (number, total)
        return total == self._total and (self._last is None or number > self._last)

    def _metrics(self, text: str) -> Observed | None:
        if self._bar is None or self._rules is not PRESETS["huggingface"]:
            return None
        found = TRAINING_METRICS.search(text)
        if found is None:
            return None
        number, self._total = self._bar
        if self._last is not None and number <= self._last:
            return None
        self._last = number
        return Observed(step=number, loss=_real(found["loss"]))

    def _commits(self, text: str, step: int | None) -> int | None:
        rules = self._rules
        committed = _numbered(rules.commit, text, self._last)
        # a save that blocks is over when a later step has ended, unless a line of its own says so
        later = step is not None and self._saving is not None and step > self._saving and not rules.done
        if later or _matches(rules.done, text):
            committed, self._saving = self._saving, None
        if _matches(rules.settled, text):
            committed, self._staged = self._staged, None
        if _matches(rules.begun, text):
            self._saving = _numbered(rules.begun, text, self._last)
        if _matches(rules.staged, text):
            self._staged = _numbered(rules.staged, text, self._last)
        return committed


def _first(patterns: tuple[Pattern, ...], text: str) -> int | None:
    return _numbered(patterns, text, None)


def _numbered(patterns: tuple[Pattern, ...], text: str, default: int | None) -> int | None:
    for pattern in patterns:
        found = pattern.search(text)
        if found is not None:
            return int(found["step"]) if pattern.numbered else default
    return None


def _matches(patterns: tuple[Pattern, ...], text: str) -> bool:
    return any(pattern.search(text) for pattern in patterns)


def _integer(text: str | None) -> int | None:
    value = _real(text)
    return int(value) if value is not None and 0 <= value < 2**62 else None


def _real(text: str | None) -> float | None:
    try:
        value = float(text.replace(",", "").replace("_", "")) if text else None
    except ValueError:
        return None
    return value if value is not None and value - value == 0 else None  # neither NaN nor infinite
