"""FLOPs of a model, by convention, and how near the hardware's peak a job comes.

A training token costs six FLOPs for each parameter that it meets: two forward, four backward (a multiply and
an add each; the backward pass computes gradients of both inputs and weights). Attention adds twelve for each
layer, head, head dimension and key that a query looks at. Source: PaLM, arXiv 2204.02311, appendix B.
What is recomputed (rematerialisation) is not counted: this is the model's work, not the hardware's.
"""

from __future__ import annotations

from typing import Final

from drumline.api.catalog import AcceleratorType
from drumline.api.progress import Attention, ModelSpec, Precision

FLOPS_PER_PARAMETER: Final = 6
FLOPS_PER_KEY: Final = 12


def keys_per_query(sequence: int, window: int | None, attention: Attention) -> float:
    """Mean number of keys a query looks at in a sequence of `sequence` tokens.

    `full`: all T, or W where a window slides. `causal`: query i sees min(i, W) keys, W − W²/2T on average
    over a sequence, so T/2 without a window (what Megatron-LM and MaxText count).
    """
    seen = min(sequence, window or sequence)
    return float(seen) if attention is Attention.FULL else seen - seen * seen / (2 * sequence)


def attention_flops_per_token(model: ModelSpec) -> float:
    """12·L·H·Q·keys; 0 when layers, heads, head size or sequence length is not known."""
    if not (model.layers and model.heads and model.head_dim and model.sequence_length):
        return 0.0
    keys = keys_per_query(model.sequence_length, model.window, model.attention)
    return FLOPS_PER_KEY * model.layers * model.heads * model.head_dim * keys


def flops_per_token(model: ModelSpec) -> float:
    """FLOPs of one training token, forward and backward: 6·N + attention.

    N are the parameters without the embedding look-up; of a mixture of experts only those that a token uses.
    """
    parameters = model.active_parameters or model.parameters
    return FLOPS_PER_PARAMETER * parameters + attention_flops_per_token(model)


def flops_per_step(model: ModelSpec) -> float | None:
    """FLOPs of a step of all chips; None when its tokens are not known."""
    return flops_per_token(model) * model.tokens_per_step if model.tokens_per_step else None


def peak_flops(entry: AcceleratorType | None, precision: Precision = Precision.BF16) -> float | None:
    """Dense peak FLOP/s of one chip at a precision; None when the catalogue does not give it."""
    return entry.peak_flops.get(precision.value) if entry else None


def mfu(flops: float, chip_ms: float, peak: float) -> float | None:
    """Model FLOPs utilisation: FLOPs ÷ (chip-seconds × peak FLOP/s of a chip). None without time.

    A figure above 1 says that the model, its tokens or the peak is stated wrong.
    """
    return flops * 1000 / (chip_ms * peak) if chip_ms > 0 and peak > 0 else None


def ideal_tokens_per_second(model: ModelSpec, peak: float, chips: int) -> float:
    """Tokens a second of `chips` chips that did nothing but the model's FLOPs at their peak."""
    return chips * peak / flops_per_token(model)


def ideal_step_ms(model: ModelSpec, peak: float, chips: int) -> float | None:
    """Milliseconds of a step at the peak; None when its tokens are not known or there is no peak."""
    flops = flops_per_step(model)
    return 1000 * flops / (chips * peak) if flops and chips > 0 and peak > 0 else None
