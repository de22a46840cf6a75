"""What a user says of a job's progress: `spec.progress`, `spec.checkpoint`, `spec.model`."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from drumline.api.base import ApiModel


class ProgressSource(StrEnum):
    """How the operator learns of steps."""

    AUTO = "auto"
    LAUNCHER = "launcher"
    REPORT = "report"
    LOG = "log"
    SCRAPE = "scrape"
    NONE = "none"


class LogPreset(StrEnum):
    """Whose log lines are read."""

    AUTO = "auto"
    MAXTEXT = "maxtext"
    MAXDIFFUSION = "maxdiffusion"
    MEGATRON = "megatron"
    NEMO = "nemo"
    TORCHTITAN = "torchtitan"
    DEEPSPEED = "deepspeed"
    HUGGINGFACE = "huggingface"


class ScrapeSpec(ApiModel):
    """A Prometheus endpoint of rank 0."""

    port: int = Field(ge=1, le=65535, description="Port of rank 0's pod.", examples=[9090])
    path: str = Field(
        default="/metrics",
        max_length=256,
        pattern=r"^/[-A-Za-z0-9._~/%]*$",
        description="Path of the endpoint.",
    )
    step: str = Field(
        max_length=128,
        pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$",
        description="Metric whose value is the latest step.",
        examples=["train_step"],
    )
    tokens: str | None = Field(
        default=None,
        max_length=128,
        pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$",
        description="Counter of tokens of all chips.",
    )
    committed_step: str | None = Field(
        default=None,
        max_length=128,
        pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$",
        description="Metric whose value is the latest step in a durable checkpoint.",
    )


class Progress(ApiModel):
    """How the operator learns what the workers do."""

    source: ProgressSource = Field(
        default=ProgressSource.AUTO,
        description="`report`: the program uses drumline.worker. `launcher`: a launcher runs the command and reads "
        "its output. `log`: rank 0's log is followed. `scrape`: rank 0's metrics are. `none`: pods and nodes alone. "
        "`auto`: reports when they come, else the launcher where it applies, else the log.",
    )
    preset: LogPreset = Field(
        default=LogPreset.AUTO, description="Whose log lines `log` and `launcher` read."
    )
    pattern: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        description="Regular expression (Python) for a line that ends a step, with the named group `step`, and "
        "any of `tokens`, `seconds`, `flops` and `loss`. Goes before the preset.",
        examples=[r"step=(?P<step>\d+) tokens=(?P<tokens>\d+)"],
    )
    commit_pattern: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        description="Regular expression for a line that says a checkpoint is durable, with the group `step`.",
        examples=[r"saved checkpoint at step (?P<step>\d+)"],
    )
    scrape: ScrapeSpec | None = Field(
        default=None, description="Where to scrape. Required with source scrape, else not allowed."
    )


class RequestSignal(StrEnum):
    """Signals that ask a program for a checkpoint."""

    SIGUSR1 = "SIGUSR1"
    SIGUSR2 = "SIGUSR2"
    SIGHUP = "SIGHUP"


class OnRequest(ApiModel):
    """How the program is asked for a checkpoint."""

    signal: RequestSignal = Field(
        default=RequestSignal.SIGUSR1,
        description="What the launcher sends to the command of every worker, or to those of its descendants that "
        "handle it.",
    )
    grace_seconds: int = Field(
        default=120,
        ge=1,
        le=3600,
        description="Seconds that a checkpoint may take to become durable before the gang moves without it; less "
        "where the node goes sooner.",
        examples=[120],
    )


class CheckpointSpec(ApiModel):
    """What is known of the job's checkpoints."""

    path: str | None = Field(
        default=None,
        max_length=1024,
        description="Where they go: a path or a URL. Handed to workers as DRUMLINE_CHECKPOINT_PATH.",
        examples=["/ckpt"],
    )
    interval_seconds: int | None = Field(
        default=None,
        ge=1,
        le=2**31 - 1,
        description="Seconds between two; what a failure costs is estimated from it where nothing is reported.",
        examples=[600],
    )
    on_request: OnRequest | None = Field(
        default=None,
        description="The program saves a checkpoint when it is asked to, which it is when a node of its is about to "
        "go. Default: it is not asked; the gang moves after its next checkpoint, if one comes in time.",
    )


class Attention(StrEnum):
    """How attention FLOPs are counted."""

    CAUSAL = "causal"
    FULL = "full"


class Precision(StrEnum):
    """Against which peak MFU is measured."""

    BF16 = "bf16"
    FP8 = "fp8"
    INT8 = "int8"


class ModelSpec(ApiModel):
    """The model, as far as FLOPs a token follow from it."""

    parameters: float = Field(
        ge=1, le=10**16, description="Parameters, without embedding look-up.", examples=[8.0e9]
    )
    active_parameters: float | None = Field(
        default=None, ge=1, le=10**16, description="Parameters a token uses (MoE). Default: parameters."
    )
    layers: int | None = Field(default=None, ge=1, le=100_000, description="Layers.", examples=[32])
    heads: int | None = Field(default=None, ge=1, le=100_000, description="Attention heads.", examples=[32])
    head_dim: int | None = Field(default=None, ge=1, le=100_000, description="Head size.", examples=[128])
    sequence_length: int | None = Field(
        default=None, ge=1, le=10**9, description="Tokens of a sequence.", examples=[8192]
    )
    window: int | None = Field(
        default=None, ge=1, le=10**9, description="Attention window, tokens, if it slides."
    )
    tokens_per_step: int | None = Field(
        default=None, ge=1, le=10**15, description="Tokens of all chips in a step, where none are reported."
    )
    attention: Attention = Field(
        default=Attention.CAUSAL,
        description="`causal` counts half of the attention matrix, `full` all of it.",
    )
    precision: Precision = Field(
        default=Precision.BF16,
        description="Whose dense peak FLOP/s of the catalogue MFU is measured against.",
    )
