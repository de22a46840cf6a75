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
rank, not the first. No expression backtracks over more than one line, and a line is at most 2,000 characters.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_NUMBER: Final = r"-?(?:\d[\d,]*\.?\d*(?:[eE][-+]?\d+)?|nan|inf)"


class Rules(NamedTuple):
    """How one program speaks."""

    step: re.Pattern[str]
    commit: tuple[re.Pattern[str], ...] = ()
    begun: tuple[re.Pattern[str], ...] = ()
    done: tuple[re.Pattern[str], ...] = ()
    staged: tuple[re.Pattern[str], ...] = ()
    settled: tuple[re.Pattern[str], ...] = ()
    resumed: tuple[re.Pattern[str], ...] = ()
    before: int = 0
    last_rank: bool = False


def _all(*patterns: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(pattern) for pattern in patterns)


def _fields(*named: tuple[str, str]) -> str:
    """Optional fields in this order, with whatever between them."""
    return "".join(rf"(?:.*?{label}(?P<{name}>{_NUMBER}))?" for name, label in named)


# Orbax, under both of Google's programs. That all hosts are done it says of a failed save as well.
_ORBAX: Final = _all(
    r"\[step=(?P<step>\d+)\] Finished synchronous save",
    r"\bFinished saving checkpoint(?: \(finalized tmp dir\))? to `\S*?/(?:[a-z]+_)?(?P<step>\d+)(?:/\w+)?`",
)

_MAXTEXT: Final = Rules(
    step=re.compile(
        rf"\bcompleted step: (?P<step>\d+), seconds: (?P<seconds>{_NUMBER}),(?=.*\btotal_weights: )"
        + _fields(("tflops", "TFLOP/s/device: "), ("tps", "Tokens/s/device: "), ("loss", r"\bloss: "))
    ),
    commit=(*_ORBAX, *_all(r"\bSaved a checkpoint at step (?P<step>\d+)\.")),
    resumed=_all(r"\brestoring from this run's directory step (?P<step>\d+)"),
)

_MAXDIFFUSION: Final = Rules(
    step=re.compile(
        rf"\bcompleted step: (?P<step>\d+), seconds: (?P<seconds>{_NUMBER}), "
        rf"TFLOP/s/device: (?P<tflops>{_NUMBER}), loss: (?P<loss>{_NUMBER})"
    ),
    commit=_ORBAX,
    resumed=_all(
        r"\brestoring from this run's directory latest step (?P<step>\d+)",
        r"\bLoading \w+ checkpoint from step (?P<step>\d+)",
    ),
)

_MEGATRON: Final = Rules(
    step=re.compile(
        r"\biteration +(?P<step>\d+)/ *\d+ \| consumed samples:"
        + _fields(
            ("ms", r"\| elapsed time per iteration \(ms\): "),
            ("tflops", r"\| throughput per GPU \(TFLOP/s/GPU\): "),
            ("loss", r"\| lm loss: "),
        )
    ),
    commit=_all(r"\bsuccessfully saved checkpoint from iteration +(?P<step>\d+) to "),
    resumed=_all(r"\bsuccessfully loaded checkpoint from .* at iteration (?P<step>\d+)"),
    last_rank=True,
)

_NEMO: Final = Rules(
    step=re.compile(
        r"(?:\bTraining epoch \d+, iteration \d+/\d+ \|.*?\bglobal_step: "
        r"|^Epoch \d+: .*?\bglobal_step=)(?P<step>\d+)(?:\.0+)?\b"
        + _fields(("loss", r"\breduced_train_loss[:=] ?"), ("seconds", r"\btrain_step_timing in s[:=] ?"))
    ),
    commit=_all(r"\bAsync checkpoint save for step (?P<step>\d+) \(.*\) finalized successfully"),
    before=-1,
)

_TORCHTITAN: Final = Rules(
    step=re.compile(
        rf"(?<!validate )\bstep: +(?P<step>\d+) +loss: +(?P<loss>{_NUMBER}) "
        + _fields(("tps", r"\btps: "), ("tflops", r"\btflops: "))
    ),
    begun=_all(
        r"\bSaving a (?:full|model only) checkpoint (?:in \S+ )?at last step, step (?P<step>\d+)\.",
        r"\bSaving the checkpoint\.",
    ),
    done=_all(r"\bFinished saving the checkpoint in ", r"\bLast step checkpoint completed in "),
    staged=_all(r"\bFinished staging the checkpoint in "),
    settled=_all(r"\bStaging the checkpoint\."),
    resumed=_all(r"\bLoading the checkpoint from \S*\bstep-(?P<step>\d+)"),
)

_DEEPSPEED: Final = Rules(
    step=re.compile(
        r"(?:\[Rank \d+\] step=(?P<step>\d+), skipped=\d+, lr="
        rf"|^steps: (?P<step2>\d+) loss: (?P<loss>{_NUMBER}) .*?iter time \(s\): (?P<seconds>{_NUMBER}) samples/sec:"
        r"|\bglobal_step=(?P<step3>\d+), RunningAvgSamplesPerSec=)"
    ),
    begun=_all(r"\[Torch\] Checkpoint global_step(?P<step>\d+) is about to be saved!"),
    resumed=_all(r"\[Torch\] Begin Load checkpoint from \S*/global_step(?P<step>\d+)/"),
)

# transformers' progress bar has the step; its dictionaries of metrics have not
_HUGGINGFACE: Final = Rules(
    step=re.compile(r"^\s*\d+%\|[^|]*\| (?P<step>\d+)/(?P<total>\d+) \["),
    begun=_all(r"\bSaving model checkpoint to \S*checkpoint-(?P<step>\d+)\s*$"),
)
TRAINING_METRICS: Final = re.compile(rf"^\{{'loss': '?(?P<loss>{_NUMBER})'?, .*'epoch': ")

PRESETS: Final = {
    "maxtext": _MAXTEXT,
    "maxdiffusion": _MAXDIFFUSION,
    "megatron": _MEGATRON,
    "nemo": _NEMO,
    "torchtitan": _TORCHTITAN,
    "deepspeed": _DEEPSPEED,
    "huggingface": _HUGGINGFACE,
}
