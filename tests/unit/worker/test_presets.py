"""Lines in the formats of the real programs, with made-up numbers. Each case names where the format stands."""

from __future__ import annotations

import pytest

from drumline.worker.patterns import LineReader, Observed
from drumline.worker.presets import PRESETS

LOGGED = "I1121 09:12:31.318212 140237 max_logging.py:26] "  # absl's prefix


def _read(preset: str, *lines: str, devices: int = 0) -> list[Observed]:
    reader = LineReader(preset, devices=devices)
    found = (reader.read(line) for line in lines)
    return [observed for observed in found if observed is not None]


def _steps(found: list[Observed]) -> list[int | None]:
    return [o.step for o in found if o.step is not None]


def _commits(found: list[Observed]) -> list[int | None]:
    return [o.committed_step for o in found if o.committed_step is not None]


# AI-Hypercomputer/maxtext: src/maxtext/common/metric_logger.py, src/maxtext/common/checkpointing.py
def test_maxtext() -> None:
    found = _read(
        "maxtext",
        LOGGED + "restoring from this run's directory step 99",
        LOGGED
        + "completed step: 100, seconds: 2.500, TFLOP/s/device: 181.234, Tokens/s/device: 4096.000, "
        + "total_weights: 1572864, loss: 9.774, lm_loss: 9.774, perplexity: 17571.0",
        "[Rampup Batch Size Phase], completed step: 101, seconds: 2.000, total_weights: 786432, loss: 9.700",
        LOGGED + "Completed eval step: 3, seconds: 1.204, running loss=9.1",
        LOGGED + "Started an asynchronous checkpoint save for step 101",
        LOGGED + "Saved a checkpoint at step 101.",
        devices=8,
    )
    assert found == [
        Observed(resumed_step=99),
        Observed(step=100, seconds=2.5, tokens=81920, flops=pytest.approx(181.234e12 * 20), loss=9.774),
        Observed(step=101, seconds=2.0, loss=9.7),
        Observed(committed_step=101),
    ]


# google/orbax: checkpoint/orbax/checkpoint/_src/path/atomicity.py, checkpoint_manager.py (under both programs)
@pytest.mark.parametrize("preset", ["maxtext", "maxdiffusion"])
@pytest.mark.parametrize(
    "line",
    [
        "[process=0][thread=async_save] Finished saving checkpoint (finalized tmp dir) to `/ckpt/run/checkpoints/40`.",
        "[process=0][thread=async_save] Finished saving checkpoint (finalized tmp dir) to `gs://b/run/40/items`.",
        "[process=0][thread=MainThread][step=40] Finished synchronous save.",
    ],
)
def test_orbax(preset: str, line: str) -> None:
    assert _read(preset, line) == [Observed(committed_step=40)]


def test_orbax_does_not_take_a_failed_save_for_a_good_one() -> None:
    # logged in a `finally`
    line = "[process=0][thread=save_finalize][step=40] CheckpointManager Save Finalize is done on all hosts."
    assert _read("maxtext", line) == []


# AI-Hypercomputer/maxdiffusion: src/maxdiffusion/train_utils.py, checkpointing/checkpointing_utils.py
def test_maxdiffusion() -> None:
    found = _read(
        "maxdiffusion",
        "restoring from this run's directory latest step 6",
        "completed step: 7, seconds: 0.512, TFLOP/s/device: 95.120, loss: 0.134",
        "Checkpoint for step 7 saved.",  # said before the background save has ended
        devices=4,
    )
    assert found == [
        Observed(resumed_step=6),
        Observed(step=7, seconds=0.512, flops=pytest.approx(95.12e12 * 0.512 * 4), loss=0.134),
    ]


# NVIDIA/Megatron-LM: megatron/training/training.py, megatron/training/checkpointing.py
MEGATRON = (
    " [2026-11-20 11:02:13.123456] iteration {:8d}/     500 | consumed samples:        12800 |"
    " elapsed time per iteration (ms): 1843.2 | throughput per GPU (TFLOP/s/GPU): 412.7 |"
    " learning rate: 2.999E-04 | global batch size:   128 | lm loss: 7.512345E+00 | loss scale: 1.0 |"
    " grad norm: 1.234 | number of skipped iterations:   0 | number of nan iterations:   0 |"
)
FLOPS = pytest.approx(412.7e12 * 1.8432 * 10 * 16)


def test_megatron() -> None:
    found = _read(
        "megatron",
        "  successfully loaded checkpoint from /ckpt [ t 1/8, gtp_remat 1/1, p 1/2 ] at iteration 90",
        MEGATRON.format(100),
        MEGATRON.format(110),
        "  [2026-11-20 11:02:20.123456] successfully saved checkpoint from iteration     110 to /ckpt [ t 1/8, p 1/2 ]",
        devices=16,
    )
    assert found == [
        Observed(resumed_step=90),
        Observed(step=100, seconds=1.8432, flops=FLOPS, loss=7.512345),
        Observed(step=110, seconds=1.8432, flops=FLOPS, loss=7.512345),
        Observed(committed_step=110),
    ]
    assert PRESETS["megatron"].last_rank  # print_rank_last


# NVIDIA/NeMo: nemo/lightning/pytorch/callbacks/progress_printer.py, model_checkpoint.py
def test_nemo() -> None:
    found = _read(
        "nemo",
        "Training epoch 0, iteration 98/249 | lr: 1.961e-06 | global_batch_size: 8 | global_step: 98 | "
        "reduced_train_loss: 1.315 | train_step_timing in s: 7.126",
        "Training epoch 0, iteration 99/249 | lr: 3.922e-06 | global_batch_size: 8 | global_step: 99 | "
        "reduced_train_loss: 1.253 | train_step_timing in s: 2.505 | consumed_samples: 800",
        "Validation: iteration 1/10",
        "[NeMo I 2026-11-20 10:01:02 nemo_logging:393] Async checkpoint save for step 100 "
        "(/results/checkpoints/default--reduced_train_loss=1.25.ckpt) finalized successfully.",
    )
    assert found == [
        Observed(step=98, seconds=7.126, loss=1.315),
        Observed(step=99, seconds=2.505, loss=1.253),
        Observed(committed_step=99),  # 100 are done: 0 to 99
    ]


# NVIDIA/NeMo: nemo/lightning/pytorch/callbacks/megatron_progress_bar.py (a bar of tqdm's)
def test_nemo_progress_bar() -> None:
    line = (
        "Epoch 0: : 100%|██████████| 100/100 [10:48<00:00, reduced_train_loss=0.0172, global_step=99.00, "
        "consumed_samples=25600.0, train_step_timing in s=3.130]"
    )
    assert _read("nemo", line) == [Observed(step=99, seconds=3.13)]


# pytorch/torchtitan: torchtitan/components/metrics.py, torchtitan/tools/logging.py (colours are kept in pipes)
TITAN = "[titan] 2026-11-20 10:00:00,123 - root - INFO - "
TITAN_STEP = (
    TITAN + "\x1b[31mstep: {:2}  \x1b[32mloss:  7.81234  \x1b[38;2;180;60;0mgrad_norm:  1.4321  "
    "\x1b[36mmemory: 30.50GiB(38.15%)  \x1b[34mtps: 8,123  \x1b[36mtflops: 389.12  \x1b[35mmfu: 39.34%\x1b[39m"
)


def test_torchtitan_steps() -> None:
    found = _read(
        "torchtitan",
        TITAN + "Loading the checkpoint from ./outputs/checkpoint/step-20.",
        TITAN_STEP.format(30),
        TITAN + "\x1b[33mvalidate step: 30  \x1b[32mloss:  7.1000  \x1b[36mmemory: 30.50GiB(38.15%)",
        TITAN_STEP.format(40),
    )
    assert found == [
        Observed(resumed_step=20),
        Observed(step=30, loss=7.81234),
        Observed(step=40, loss=7.81234),
    ]


# pytorch/torchtitan: torchtitan/components/checkpointer/dcp.py
def test_torchtitan_synchronous_checkpoints() -> None:
    found = _read(
        "torchtitan",
        TITAN_STEP.format(10),
        TITAN + "Saving the checkpoint.",
        TITAN_STEP.format(11),
        TITAN + "Finished saving the checkpoint in 12.34 seconds.",
        TITAN + "Saving a full checkpoint at last step, step 15.",
        TITAN + "Last step checkpoint completed in 9.87s",
    )
    assert _commits(found) == [10, 15]


def test_torchtitan_background_checkpoints_are_durable_when_the_next_begins() -> None:
    found = _read(
        "torchtitan",
        TITAN_STEP.format(10),
        TITAN + "Staging the checkpoint.",
        TITAN + "Finished staging the checkpoint in 0.50 seconds.",
        TITAN_STEP.format(20),
        TITAN + "Staging the checkpoint.",
        TITAN + "Finished staging the checkpoint in 0.50 seconds.",
    )
    assert _commits(found) == [10]


# deepspeedai/DeepSpeed: deepspeed/runtime/engine.py, deepspeed/utils/{logging,timer}.py, runtime/pipe/engine.py
DEEPSPEED = "[2026-11-20 10:00:00,123] [INFO] [logging.py:107:log_dist] [Rank 0] "


def test_deepspeed() -> None:
    found = _read(
        "deepspeed",
        DEEPSPEED + "[Torch] Begin Load checkpoint from /ckpt/global_step480/mp_rank_00_model_states.pt...",
        DEEPSPEED + "step=490, skipped=2, lr=[0.0001], mom=[(0.9, 0.999)]",
        "[2026-11-20 10:00:00,124] [INFO] [timer.py:264:stop] epoch=0/micro_step=980/global_step=490, "
        "RunningAvgSamplesPerSec=120.5, CurrSamplesPerSec=121.2, MemAllocated=10.1GB, MaxMemAllocated=30.2GB",
        "steps: 500 loss: 2.1034 iter time (s): 1.204 samples/sec: 26.578",
        DEEPSPEED + "[Torch] Checkpoint global_step500 is about to be saved!",
        DEEPSPEED + "step=510, skipped=2, lr=[0.0001], mom=[(0.9, 0.999)]",
    )
    assert found == [
        Observed(resumed_step=480),
        Observed(step=490),
        Observed(step=500, seconds=1.204, loss=2.1034),
        Observed(step=510, committed_step=500),
    ]


# huggingface/transformers: src/transformers/trainer_callback.py (ProgressCallback), trainer.py
def test_huggingface() -> None:
    found = _read(
        "huggingface",
        "Map: 100%|██████████| 1000/1000 [00:01<00:00, 812.11 examples/s]",
        "  0%|          | 0/300 [00:00<?, ?it/s]",
        "  3%|▎         | 9/300 [00:09<04:51,  1.00s/it]",
        "  3%|▎         | 10/300 [00:10<04:50,  1.00s/it]",
        "{'loss': 2.3145, 'grad_norm': 1.2345, 'learning_rate': 4.8e-05, 'epoch': 0.1}",
        "  4%|▎         | 11/300 [00:11<04:49,  1.00s/it]",
        "Saving model checkpoint to ./out/checkpoint-11",
        "  5%|▌         | 1/20 [00:00<00:02,  8.00it/s]",  # evaluation
        "100%|██████████| 20/20 [00:02<00:00,  8.00it/s]",
        "{'eval_loss': 2.1, 'eval_runtime': 2.5, 'epoch': 0.11}",
        "  4%|▍         | 12/300 [00:16<04:48,  1.00s/it]",
    )
    assert found == [
        Observed(step=10, loss=2.3145),
        Observed(step=11),
        Observed(step=12, committed_step=11),
    ]


def test_huggingface_since_version_5_prints_numbers_as_words() -> None:
    found = _read(
        "huggingface",
        "  3%|▎         | 10/300 [00:10<04:50,  1.00s/it]",
        "{'loss': '2.3145', 'grad_norm': '1.2345', 'learning_rate': '4.8e-05', 'epoch': '0.1'}",
    )
    assert found == [Observed(step=10, loss=2.3145)]


FIRST_LINES = {
    "maxtext": "completed step: {}, seconds: 0.1, TFLOP/s/device: 1.0, Tokens/s/device: 2.0, total_weights: 3, loss: 1.0",
    "maxdiffusion": "completed step: {}, seconds: 0.5, TFLOP/s/device: 95.1, loss: 0.1",
    "megatron": " [2026-11-20 11:02:13.123456] iteration {}/ 500 | consumed samples: 1 | lm loss: 1.0E+00 |",
    "nemo": "Training epoch 0, iteration 1/9 | lr: 1e-06 | global_batch_size: 8 | global_step: {} | x: 1",
    "torchtitan": "[titan] x - root - INFO - step: {}  loss:  7.8  grad_norm:  1.4",
    "deepspeed": DEEPSPEED + "step={}, skipped=0, lr=[0.1], mom=[(0.9, 0.999)]",
}


@pytest.mark.parametrize("preset", sorted(FIRST_LINES))
def test_auto_finds_out(preset: str) -> None:
    reader = LineReader()
    found = [reader.read(FIRST_LINES[preset].format(step)) for step in (1, 2, 3)]
    assert [o.step for o in found if o] == [1, 2, 3]
    assert reader.preset == preset


@pytest.mark.parametrize("preset", sorted(FIRST_LINES))
def test_no_preset_reads_anothers_steps(preset: str) -> None:
    readers = [name for name in PRESETS if _steps(_read(name, FIRST_LINES[preset].format(7)))]
    assert readers == [preset]


def test_auto_finds_transformers_out() -> None:
    reader = LineReader()
    for step in (10, 20):
        reader.read(f"  3%|▎         | {step}/300 [00:10<04:50,  1.00s/it]")
        reader.read("{'loss': 2.3, 'grad_norm': 1.2, 'learning_rate': 4.8e-05, 'epoch': 0.1}")
    assert reader.preset == "huggingface"
