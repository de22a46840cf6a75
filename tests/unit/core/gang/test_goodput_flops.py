"""FLOPs of known models, counted by hand."""

import pytest

from drumline.api.catalog import Catalog
from drumline.api.progress import Attention, ModelSpec, Precision
from drumline.core.gang import goodput_flops as flops

# Llama 3 8B: 8.03e9 parameters, of which 128256 · 4096 = 0.525e9 are the embedding look-up
LLAMA = ModelSpec(parameters=7.505e9, layers=32, heads=32, head_dim=128, sequence_length=8192)
H100 = Catalog.default()["nvidia-h100-80gb"]


def test_llama_3_8b_causal() -> None:
    # 6 · 7.505e9                    = 45.030000000e9
    # 12 · 32 · 32 · 128 · 8192 / 2  =  6.442450944e9
    assert flops.flops_per_token(LLAMA) == pytest.approx(51.472450944e9, rel=1e-12)


def test_full_attention_counts_twice_as_much() -> None:
    full = LLAMA.model_copy(update={"attention": Attention.FULL})
    assert flops.attention_flops_per_token(full) == 2 * flops.attention_flops_per_token(LLAMA)


def test_a_mixture_of_experts_counts_what_a_token_uses() -> None:
    # Mixtral 8x7B: 46.7e9 parameters, 12.9e9 of them for a token: 6 · 12.9e9 = 77.4e9
    model = ModelSpec(parameters=46.7e9, active_parameters=12.9e9)
    assert flops.flops_per_token(model) == pytest.approx(77.4e9)


def test_attention_is_left_out_where_the_shape_is_not_known() -> None:
    assert flops.flops_per_token(ModelSpec(parameters=1e9, layers=10, heads=8, head_dim=64)) == 6e9


@pytest.mark.parametrize(
    ("window", "attention", "keys"),
    [
        (None, Attention.CAUSAL, 4.0),  # (1 + … + 8) / 8 without the half of the diagonal
        (None, Attention.FULL, 8.0),
        (2, Attention.FULL, 2.0),
        (2, Attention.CAUSAL, 1.75),  # 2 − 4/16
        (8, Attention.CAUSAL, 4.0),
        (100, Attention.CAUSAL, 4.0),  # a window beyond the sequence changes nothing
        (100, Attention.FULL, 8.0),
    ],
)
def test_keys_of_a_query(window: int | None, attention: Attention, keys: float) -> None:
    assert flops.keys_per_query(8, window, attention) == keys


def test_causal_windows_count_what_the_mask_lets_through() -> None:
    # the mask of query i holds min(i + ½, W) keys: the diagonal counts for half
    for sequence, window in ((64, 1), (64, 16), (64, 63), (64, 64)):
        exact = sum(min(i + 0.5, window) for i in range(sequence)) / sequence
        assert flops.keys_per_query(sequence, window, Attention.CAUSAL) == pytest.approx(exact)


def test_mfu_of_llama_on_32_h100() -> None:
    # 32 chips · 989e12 FLOP/s = 31.648e15 FLOP/s; at 250,000 tokens/s the model's are
    # 250e3 · 51.472450944e9 = 12.868112736e15: 0.40660…
    peak = flops.peak_flops(H100)
    assert peak == 989e12
    done = 250e3 * 60 * flops.flops_per_token(LLAMA)  # in a minute
    assert flops.mfu(done, 32 * 60_000, peak) == pytest.approx(12.868112736 / 31.648)


def test_ideal_speed_is_mfu_of_one() -> None:
    # 31.648e15 / 51.472450944e9 = 614,853.1 tokens/s
    speed = flops.ideal_tokens_per_second(LLAMA, 989e12, 32)
    assert speed == pytest.approx(614_853, rel=1e-5)
    assert flops.mfu(speed * flops.flops_per_token(LLAMA), 32_000, 989e12) == pytest.approx(1)
    # a step of 4 Mi tokens: 4194304 / 614853.1 = 6.8216 s
    model = LLAMA.model_copy(update={"tokens_per_step": 4_194_304})
    assert flops.ideal_step_ms(model, 989e12, 32) == pytest.approx(6821.6, abs=0.1)


def test_nothing_is_made_up() -> None:
    assert flops.peak_flops(None) is None
    assert flops.peak_flops(H100, Precision.INT8) is None
    assert flops.peak_flops(H100, Precision.FP8) == 1979e12
    assert flops.peak_flops(Catalog.default()["cpu"]) is None
    assert flops.flops_per_step(LLAMA) is None
    assert flops.ideal_step_ms(LLAMA, 989e12, 32) is None
    assert flops.ideal_step_ms(LLAMA.model_copy(update={"tokens_per_step": 1}), 989e12, 0) is None
    assert flops.mfu(1e12, 0, 989e12) is None
