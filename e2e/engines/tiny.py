"""Tiny Llama models with made-up weights, and how an engine may predict them.

No model hub is needed: weights come from a seeded generator, so the same ``Shape`` is the same model everywhere.
The weights are random, but not aimless. Each token's embedding is a random direction, and the row of the output
matrix that belongs to its *successor* is the same direction: so a token mostly predicts its successor, and the
layers between, which are random, disturb that. Successors form short cycles over the printable characters. What
follows from it:

- text is printable ASCII and never ends by itself, so ``max_tokens`` alone decides how long an answer is: one
  dimension of the residual stream is constant, no layer writes to it, and the output matrix uses it as a bias;
- greedy text repeats itself, so n-gram speculation finds something;
- another model with the same successors agrees with this one most of the time, so it can be its draft model, and
  how often a guess is accepted depends on the temperature.
"""

import itertools
import math
import random
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

UNKNOWN, BEGIN, END = 0, 1, 2
FIRST_BYTE = 3
VOCABULARY = FIRST_BYTE + 256
_PRINTABLE = range(FIRST_BYTE + 0x20, FIRST_BYTE + 0x7F)
_CYCLE = 5
_CONSTANT = 1.0
_NOISE = 0.6  # of a layer's matrices, relative to what keeps a vector's length
_CERTAINTY = 6.0  # logit of the successor; all others are about normal around zero
_FORBIDDEN = -30.0  # logit of what is not printable


@dataclass(frozen=True)
class Shape:
    """The size of a model and the seed of its weights; ``width`` is a multiple of ``heads``."""

    layers: int
    width: int
    heads: int
    inner: int
    context: int
    seed: int

    @property
    def head_width(self) -> int:
        return self.width // self.heads


@dataclass(frozen=True)
class Tensor:
    """A matrix of ``rows`` × ``columns``, or a vector where ``rows`` is 0; row by row."""

    rows: int
    columns: int
    values: "array[float]"


TARGET = Shape(layers=4, width=128, heads=4, inner=256, context=2048, seed=1)
DRAFT = Shape(layers=1, width=64, heads=2, inner=128, context=2048, seed=2)
EPSILON = 1e-5
ROPE_BASE = 10000.0


def successor(token: int) -> int:
    """The token that this one most probably is followed by: the next in its cycle of printable characters."""
    if token not in _PRINTABLE:
        return _PRINTABLE[token % len(_PRINTABLE)]
    place = token - _PRINTABLE.start
    first = place - place % _CYCLE
    return _PRINTABLE[first + (place + 1 - first) % _CYCLE]


def tensors(shape: Shape) -> Iterator[tuple[str, Tensor]]:
    """All tensors by their names in a Hugging Face checkpoint of a Llama."""
    chance = random.Random(shape.seed)
    embeddings = _embeddings(shape, chance)
    yield "model.embed_tokens.weight", _matrix(embeddings)
    for layer in range(shape.layers):
        for name, tensor in _layer(shape, chance):
            yield f"model.layers.{layer}.{name}.weight", tensor
    yield "model.norm.weight", _ones(shape.width)
    yield "lm_head.weight", _matrix(_output(shape, embeddings))


def _embeddings(shape: Shape, chance: random.Random) -> list[list[float]]:
    rows = [[chance.gauss(0, 1) for _ in range(shape.width)] for _ in range(VOCABULARY)]
    for row in rows:
        row[0] = _CONSTANT
    return rows


def _layer(shape: Shape, chance: random.Random) -> Iterator[tuple[str, Tensor]]:
    width, inner = shape.width, shape.inner
    yield "input_layernorm", _ones(width)
    for name in ("q", "k", "v"):
        yield f"self_attn.{name}_proj", _random(width, width, chance)
    yield "self_attn.o_proj", _random(width, width, chance, writes=True)
    yield "post_attention_layernorm", _ones(width)
    yield "mlp.gate_proj", _random(inner, width, chance)
    yield "mlp.up_proj", _random(inner, width, chance)
    yield "mlp.down_proj", _random(width, inner, chance, writes=True)


def _random(rows: int, columns: int, chance: random.Random, *, writes: bool = False) -> Tensor:
    spread = _NOISE / math.sqrt(columns)
    matrix = [[chance.gauss(0, spread) for _ in range(columns)] for _ in range(rows)]
    if writes:
        matrix[0] = [0.0] * columns
    return _matrix(matrix)


def _output(shape: Shape, embeddings: list[list[float]]) -> list[list[float]]:
    rows = [[0.0] * shape.width for _ in range(VOCABULARY)]
    for row in rows:
        row[0] = _FORBIDDEN
    for token in _PRINTABLE:
        follower = rows[successor(token)]
        follower[:] = [value * _CERTAINTY / shape.width for value in embeddings[token]]
        follower[0] = 0.0
    return rows


def _ones(size: int) -> Tensor:
    return Tensor(0, size, array("f", [1.0] * size))


def _matrix(rows: list[list[float]]) -> Tensor:
    return Tensor(len(rows), len(rows[0]), array("f", itertools.chain.from_iterable(rows)))
