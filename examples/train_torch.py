"""Train a small network on handwritten digits with PyTorch, started by torchrun on every worker.

Drumline sets torchrun's variables (PET_NNODES, PET_NODE_RANK, PET_MASTER_ADDR, …); torchrun starts
PET_NPROC_PER_NODE processes and tells each its rank. PARALLELISM chooses between DistributedDataParallel
(``ddp``: every process has all parameters) and fully sharded data parallelism (``fsdp``: every process has a
share of them). Checkpoints are sharded either way, and a restart goes on from the last whole one.

What else may be set: STEPS, BATCH, CHECKPOINT_EVERY, CHECKPOINT_PATH, and SECONDS_PER_STEP, the least time
that a step takes, which leaves time to watch a run and to break it.
"""

import os
import shutil
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from sklearn.datasets import load_digits
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

STEPS = int(os.environ.get("STEPS", "300"))
BATCH = int(os.environ.get("BATCH", "256"))
CHECKPOINT_EVERY = int(os.environ.get("CHECKPOINT_EVERY", "25"))
CHECKPOINT_PATH = Path(os.environ.get("CHECKPOINT_PATH", "/checkpoints/torch-digits"))
SECONDS_PER_STEP = float(os.environ.get("SECONDS_PER_STEP", "0.1"))
PARALLELISM = os.environ.get("PARALLELISM", "ddp")
TEST_SAMPLES = 297


def main():
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    say(f"{dist.get_world_size()} processes, {PARALLELISM}")
    images, labels = load_digits(return_X_y=True)
    images, labels = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    train, test = slice(TEST_SAMPLES, None), slice(None, TEST_SAMPLES)

    model = parallel(
        nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    first = restore(model, optimizer)
    for step in range(first + 1, STEPS + 1):
        started = time.monotonic()
        mine = share_of_batch(len(labels[train]), step)
        loss = nn.functional.cross_entropy(model(images[train][mine]), labels[train][mine])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            dist.all_reduce(mean := loss.detach() / dist.get_world_size())
            say(f"step {step} loss {mean:.4f}")
        if step % CHECKPOINT_EVERY == 0 or step == STEPS:
            save(model, optimizer, step)
        time.sleep(max(0.0, SECONDS_PER_STEP - (time.monotonic() - started)))

    with torch.no_grad():
        accuracy = (model(images[test]).argmax(dim=1) == labels[test]).float().mean()
    say(f"test accuracy {100 * accuracy:.1f} %")
    dist.destroy_process_group()


def parallel(model):
    """The model, spread over all processes."""
    if PARALLELISM == "ddp":
        return DistributedDataParallel(model)
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for layer in model:
        if isinstance(layer, nn.Linear):
            fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def share_of_batch(samples, step):
    """This process's share of a step's batch: every process draws the same samples."""
    generator = torch.Generator().manual_seed(step)
    chosen = torch.randperm(samples, generator=generator)[:BATCH]
    return chosen.tensor_split(dist.get_world_size())[dist.get_rank()]


def save(model, optimizer, step):
    """Save under a name of its own, and rename when it is whole: a killed run leaves no half checkpoint."""
    partial = CHECKPOINT_PATH / f".step-{step}"
    dcp.save(training_state(model, optimizer), checkpoint_id=partial)
    if dist.get_rank() == 0:
        shutil.rmtree(CHECKPOINT_PATH / f"step-{step}", ignore_errors=True)
        partial.rename(CHECKPOINT_PATH / f"step-{step}")
        say(f"checkpoint {step} is durable")
        for old in saved_steps()[:-2]:
            shutil.rmtree(CHECKPOINT_PATH / f"step-{old}")


def restore(model, optimizer):
    """Load the last checkpoint, if there is one, and return its step; 0 where there is none."""
    steps = saved_steps()
    # Nobody may save before everybody has looked.
    dist.barrier()
    if not steps:
        return 0
    state = training_state(model, optimizer)
    dcp.load(state, checkpoint_id=CHECKPOINT_PATH / f"step-{steps[-1]}")
    set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
    say(f"resumed from step {steps[-1]}")
    return steps[-1]


def training_state(model, optimizer):
    parameters, momenta = get_state_dict(model, optimizer)
    return {"model": parameters, "optimizer": momenta}


def saved_steps():
    """The steps of all whole checkpoints, oldest first."""
    return sorted(int(path.name.removeprefix("step-")) for path in CHECKPOINT_PATH.glob("step-*"))


def say(line):
    """Print from the first process only."""
    if dist.get_rank() == 0:
        print(line, flush=True)


if __name__ == "__main__":
    main()
