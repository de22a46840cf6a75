"""Train a small network on handwritten digits with JAX, data-parallel over several processes.

Drumline tells each process where the others are: JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and
JAX_PROCESS_ID. Every process computes the gradient of its share of the global batch; JAX averages them. All
processes save a checkpoint together every few steps, and after a restart all of them go on from the last one.
The first process tells Drumline what it does, through the worker library that comes with the launcher.

What may be set: STEPS, BATCH, CHECKPOINT_EVERY, CHECKPOINT_PATH, and SECONDS_PER_STEP, the least time that a
step takes, which leaves time to watch a run and to break it.
"""

import contextlib
import os
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from sklearn.datasets import load_digits

sys.path.append("/drumline/launcher.pyz")
try:
    from drumline import worker
except ImportError:
    worker = None  # outside of Drumline there is nobody to tell

STEPS = int(os.environ.get("STEPS", "300"))
BATCH = int(os.environ.get("BATCH", "256"))
CHECKPOINT_EVERY = int(os.environ.get("CHECKPOINT_EVERY", "25"))
CHECKPOINT_PATH = os.environ.get("CHECKPOINT_PATH", "/checkpoints/jax-digits")
SECONDS_PER_STEP = float(os.environ.get("SECONDS_PER_STEP", "0.1"))
TEST_SAMPLES = 297
LAYERS = (64, 256, 128, 10)
LEARNING_RATE, MOMENTUM = 0.05, 0.9


def main():
    with phase("device_init"):
        join_the_others()
        mesh = Mesh(np.array(jax.devices()), ("data",))
    say(f"{jax.process_count()} processes, {jax.device_count()} devices in all")
    images, labels = load_digits(return_X_y=True)
    images = images.astype(np.float32) / 16
    train, test = slice(TEST_SAMPLES, None), slice(None, TEST_SAMPLES)

    state = new_state(mesh)
    with ocp.CheckpointManager(CHECKPOINT_PATH, options=checkpoint_options()) as checkpoints:
        state, first = resumed(checkpoints, state)
        durable = first
        for step in range(first + 1, STEPS + 1):
            started = time.monotonic()
            batch = global_batch(mesh, images[train], labels[train], step)
            state, loss = train_step(state, *batch)
            loss = float(loss)  # waits for the devices, so that a step's time is its own
            time.sleep(max(0.0, SECONDS_PER_STEP - (time.monotonic() - started)))
            if worker:
                worker.report_step(step)
            say(f"step {step} loss {loss:.4f}")
            if step % CHECKPOINT_EVERY == 0 or step == STEPS:
                save(checkpoints, step, state)
            durable = committed(durable)
        checkpoints.wait_until_finished()
        committed(durable)

    with phase("eval"):
        correct = jnp.argmax(logits(state["parameters"], images[test]), axis=1) == labels[test]
        accuracy = 100 * float(correct.mean())
    say(f"test accuracy {accuracy:.1f} %")


def phase(name):
    """What goes on until the block ends, for Drumline's account."""
    return worker.phase(name) if worker else contextlib.nullcontext()


def resumed(checkpoints, state):
    """The state to go on with and the last step it has seen."""
    latest = checkpoints.latest_step()
    if latest is None:
        return state, 0
    with phase("checkpoint_restore"):
        state = checkpoints.restore(latest, args=ocp.args.StandardRestore(state))
    if worker:
        worker.resumed_from(latest)
    say(f"resumed from step {latest}")
    return state, latest


def save(checkpoints, step, state):
    """Begin to save; only what blocks the training counts as saving."""
    began = time.monotonic()
    with phase("checkpoint_save"):
        checkpoints.save(step, args=ocp.args.StandardSave(state))
    say(f"save blocked {time.monotonic() - began:.3f} s")


def committed(known):
    """The latest checkpoint that is whole on disk; a new one is told.

    One gets its name when it is whole. Orbax's own list fails while another process deletes an old one.
    """
    names = [path.name for path in Path(CHECKPOINT_PATH).iterdir()]
    latest = max((int(name) for name in names if name.isdecimal()), default=0)
    if latest > known:
        say(f"checkpoint {latest} is durable")
        if worker:
            worker.checkpoint_committed(latest)
    return max(latest, known)


def join_the_others():
    if "JAX_PROCESS_ID" not in os.environ:
        jax.distributed.initialize()  # on a TPU the runtime's own variables say the same
        return
    jax.distributed.initialize(
        coordinator_address=os.environ["JAX_COORDINATOR_ADDRESS"],
        num_processes=int(os.environ["JAX_NUM_PROCESSES"]),
        process_id=int(os.environ["JAX_PROCESS_ID"]),
        cluster_detection_method="deactivate",
    )


def new_state(mesh):
    """Parameters and momenta, the same on every device."""
    keys = jax.random.split(jax.random.key(0), len(LAYERS))
    parameters = [
        {
            "weights": jax.random.normal(key, (inputs, outputs)) * (2 / inputs) ** 0.5,
            "biases": jnp.zeros(outputs),
        }
        for key, inputs, outputs in zip(keys, LAYERS[:-1], LAYERS[1:], strict=False)
    ]
    state = {"parameters": parameters, "momenta": jax.tree.map(jnp.zeros_like, parameters)}
    return jax.device_put(jax.tree.map(np.asarray, state), NamedSharding(mesh, P()))


def global_batch(mesh, images, labels, step):
    """The batch of a step: every process draws the same samples and contributes its share of them."""
    chosen = np.random.default_rng(step).choice(len(images), BATCH, replace=False)
    mine = np.array_split(chosen, jax.process_count())[jax.process_index()]
    sharding = NamedSharding(mesh, P("data"))
    return tuple(
        jax.make_array_from_process_local_data(sharding, values[mine]) for values in (images, labels)
    )


def logits(parameters, images):
    """The network: dense layers with ReLU between them."""
    *hidden, last = parameters
    for layer in hidden:
        images = jax.nn.relu(images @ layer["weights"] + layer["biases"])
    return images @ last["weights"] + last["biases"]


def cross_entropy(parameters, images, labels):
    return -jax.nn.log_softmax(logits(parameters, images))[jnp.arange(len(labels)), labels].mean()


@jax.jit
def train_step(state, images, labels):
    """One step of gradient descent with momentum; the mean over the sharded batch is an all-reduce."""
    loss, gradients = jax.value_and_grad(cross_entropy)(state["parameters"], images, labels)
    momenta = jax.tree.map(lambda m, g: MOMENTUM * m + g, state["momenta"], gradients)
    parameters = jax.tree.map(lambda p, m: p - LEARNING_RATE * m, state["parameters"], momenta)
    return {"parameters": parameters, "momenta": momenta}, loss


def checkpoint_options():
    return ocp.CheckpointManagerOptions(max_to_keep=2, create=True)


def say(line):
    """Print from the first process only."""
    if jax.process_index() == 0:
        print(line, flush=True)


if __name__ == "__main__":
    main()
