"""What the lines of well-known training programs look like: data, no code of theirs.

A rule has one regular expression for each thing that a line can say:

- `step`: a step has ended. Groups: `step`, and of `seconds`, `ms`, `loss`, `tps` (tokens a second of one
  device), `tflops` (TFLOP/s of one device), whichever there are.
- `commit`: a checkpoint is durable. `step`, or else the latest step seen.
- `begun`: a save begins that blocks: durable when a later step ends, or `done` says so. `step` as above.
- `done`: the save that began last is durable.
- `staged`: a save goes on in the background. `step` as above. Durable when `settled` says so.
- `settled`: what was staged is durable by now.
- `resumed`: training goes on from `step`.

`before` is what to add to a checkpoint's number for the last step that it covers: programs that number steps
from 0 and name a checkpoint by how many are done have −1. `last_rank` says that step lines come from the last
rank, not the first. Each expression comes with a piece of text that a line must contain for it to match: nearly
all lines of a program say nothing, and this is how they cost next to nothing. No expression backtracks over more than one line, and a line is at most 2,000 characters.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_NUMBER: Final = r"-?(?:\d[\d,]*\.?\d*(?:[eE][-+]?\d+)?|nan|inf)"


class Pattern:
    """A regular expression, and a piece of text without which it cannot match."""

    __slots__ = ("_literal", "_search", "numbered")

    def __init__(self, literal: str, expression: str) -> None:
        compiled = re.compile(expression)
        self._literal = literal
        self._search = compiled.search
        self.numbered = "step" in compiled.groupindex

    def search(self, text: str) -> re.Match[str] | None:
        """The first match."""
        return self._search(text) if self._literal in text else None


class Rules(NamedTuple):
    """How one program speaks."""

    step: Pattern
    commit: tuple[Pattern, ...] = ()
    begun: tuple[Pattern, ...] = ()
    done: tuple[Pattern, ...] = ()
    staged: tuple[Pattern, ...] = ()
    settled: tuple[Pattern, ...] = ()
    resumed: tuple[Pattern, ...] = ()
    before: int = 0
    last_rank: bool = False


def _fields(*named: tuple[str, str]) -> str:
    """Optional fields in this order, with whatever between them."""
    return "".join(rf"(?:.*?{label}(?P<{name}>{_NUMBER}))?" for name, label in named)


# Orbax, under both of Google's programs. That all hosts are done it says of a failed save as well.
_ORBAX: Final = (
    Pattern("] Finished synchronous save", r"\[step=(?P<step>\d+)\] Finished synchronous save"),
    Pattern(
        "Finished saving checkpoint",
        r"\bFinished saving checkpoint(?: \(finalized tmp dir\))? to `\S*?/(?:[a-z]+_)?(?P<step>\d+)(?:/\w+)?`",
    ),
)

_MAXTEXT: Final = Rules(
    step=Pattern(
        "completed step: ",
        rf"\bcompleted step: (?P<step>\d+), seconds: (?P<seconds>{_NUMBER}),(?=.*\btotal_weights: )"
        + _fields(("tflops", "TFLOP/s/device: "), ("tps", "Tokens/s/device: "), ("loss", r"\bloss: ")),
    ),
    commit=(*_ORBAX, Pattern("Saved a checkpoint", r"\bSaved a checkpoint at step (?P<step>\d+)\.")),
    resumed=(Pattern("restoring from this", r"\brestoring from this run's directory step (?P<step>\d+)"),),
)

_MAXDIFFUSION: Final = Rules(
    step=Pattern(
        "completed step: ",
        rf"\bcompleted step: (?P<step>\d+), seconds: (?P<seconds>{_NUMBER}), "
        rf"TFLOP/s/device: (?P<tflops>{_NUMBER}), loss: (?P<loss>{_NUMBER})",
    ),
    commit=_ORBAX,
    resumed=(
        Pattern("restoring from this", r"\brestoring from this run's directory latest step (?P<step>\d+)"),
        Pattern(" checkpoint from step ", r"\bLoading \w+ checkpoint from step (?P<step>\d+)"),
    ),
)

_MEGATRON: Final = Rules(
    step=Pattern(
        " | consumed samples:",
        r"\biteration +(?P<step>\d+)/ *\d+ \| consumed samples:"
        + _fields(
            ("ms", r"\| elapsed time per iteration \(ms\): "),
            ("tflops", r"\| throughput per GPU \(TFLOP/s/GPU\): "),
            ("loss", r"\| lm loss: "),
        ),
    ),
    commit=(
        Pattern(
            "successfully saved",
            r"\bsuccessfully saved checkpoint from iteration +(?P<step>\d+) to ",
        ),
    ),
    resumed=(
        Pattern(
            "successfully loaded", r"\bsuccessfully loaded checkpoint from .* at iteration (?P<step>\d+)"
        ),
    ),
    last_rank=True,
)

_NEMO: Final = Rules(
    step=Pattern(
        "global_step",
        r"(?:\bTraining epoch \d+, iteration \d+/\d+ \|.*?\bglobal_step: "
        r"|^Epoch \d+: .*?\bglobal_step=)(?P<step>\d+)(?:\.0+)?\b"
        + _fields(("loss", r"\breduced_train_loss[:=] ?"), ("seconds", r"\btrain_step_timing in s[:=] ?")),
    ),
    commit=(
        Pattern(
            "Async checkpoint save",
            r"\bAsync checkpoint save for step (?P<step>\d+) \(.*\) finalized successfully",
        ),
    ),
    before=-1,
)

_TORCHTITAN: Final = Rules(
    step=Pattern(
        "step: ",
        rf"(?<!validate )\bstep: +(?P<step>\d+) +loss: +(?P<loss>{_NUMBER}) "
        + _fields(("tps", r"\btps: "), ("tflops", r"\btflops: ")),
    ),
    begun=(
        Pattern(
            "checkpoint",
            r"\bSaving a (?:full|model only) checkpoint (?:in \S+ )?at last step, step (?P<step>\d+)\.",
        ),
        Pattern("Saving the checkpoint.", r"\bSaving the checkpoint\."),
    ),
    done=(
        Pattern("Finished saving", r"\bFinished saving the checkpoint in "),
        Pattern("Last step", r"\bLast step checkpoint completed in "),
    ),
    staged=(Pattern("Finished staging", r"\bFinished staging the checkpoint in "),),
    settled=(Pattern("Staging the", r"\bStaging the checkpoint\."),),
    resumed=(Pattern("Loading the", r"\bLoading the checkpoint from \S*\bstep-(?P<step>\d+)"),),
)

_DEEPSPEED: Final = Rules(
    step=Pattern(
        "step",
        r"(?:\[Rank \d+\] step=(?P<step>\d+), skipped=\d+, lr="
        rf"|^steps: (?P<step2>\d+) loss: (?P<loss>{_NUMBER}) .*?iter time \(s\): (?P<seconds>{_NUMBER}) samples/sec:"
        r"|\bglobal_step=(?P<step3>\d+), RunningAvgSamplesPerSec=)",
    ),
    begun=(Pattern("[Torch]", r"\[Torch\] Checkpoint global_step(?P<step>\d+) is about to be saved!"),),
    resumed=(Pattern("[Torch]", r"\[Torch\] Begin Load checkpoint from \S*/global_step(?P<step>\d+)/"),),
)

# transformers' progress bar has the step; its dictionaries of metrics have not
_HUGGINGFACE: Final = Rules(
    step=Pattern("%|", r"^\s*\d+%\|[^|]*\| (?P<step>\d+)/(?P<total>\d+) \["),
    begun=(Pattern("Saving model", r"\bSaving model checkpoint to \S*checkpoint-(?P<step>\d+)\s*$"),),
)
TRAINING_METRICS: Final = Pattern("{'loss': ", rf"^\{{'loss': '?(?P<loss>{_NUMBER})'?, .*'epoch': ")

PRESETS: Final = {
    "maxtext": _MAXTEXT,
    "maxdiffusion": _MAXDIFFUSION,
    "megatron": _MEGATRON,
    "nemo": _NEMO,
    "torchtitan": _TORCHTITAN,
    "deepspeed": _DEEPSPEED,
    "huggingface": _HUGGINGFACE,
}
