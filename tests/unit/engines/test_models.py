"""The tiny models: what their weights say, and that both files hold the same."""

import json
import struct
from array import array
from collections.abc import Sequence
from pathlib import Path

import pytest

from e2e.engines import checkpoint, gguf, tiny
from e2e.engines.tiny import Shape

SMALL = Shape(layers=2, width=32, heads=2, inner=48, context=64, seed=7)
PRINTABLE = [tiny.FIRST_BYTE + byte for byte in range(0x20, 0x7F)]


def _row(values: Sequence[float], index: int) -> Sequence[float]:
    return values[index * SMALL.width : (index + 1) * SMALL.width]


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def test_successors_go_in_circles_over_what_can_be_printed() -> None:
    assert sorted(tiny.successor(token) for token in PRINTABLE) == PRINTABLE
    for token in PRINTABLE:
        walked = token
        for _ in range(5):
            walked = tiny.successor(walked)
        assert walked == token
    assert {tiny.successor(token) for token in range(tiny.VOCABULARY)} == set(PRINTABLE)


def test_an_embedding_predicts_its_successor_and_nothing_unprintable() -> None:
    tensors = dict(tiny.tensors(SMALL))
    embeddings, output = tensors["model.embed_tokens.weight"].values, tensors["lm_head.weight"].values
    hidden = [other for other in range(tiny.VOCABULARY) if other not in PRINTABLE]
    for token in PRINTABLE[:10]:
        row = _row(embeddings, token)
        logits = [_dot(row, _row(output, other)) for other in range(tiny.VOCABULARY)]
        assert logits[tiny.successor(token)] == max(logits)
        assert max(logits[other] for other in hidden) < -20


def test_no_layer_writes_to_the_dimension_that_is_constant() -> None:
    for name, tensor in tiny.tensors(SMALL):
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            assert not any(tensor.values[: tensor.columns]), name


def test_the_same_shape_is_the_same_model_and_another_seed_another() -> None:
    first, again = dict(tiny.tensors(SMALL)), dict(tiny.tensors(SMALL))
    assert first == again
    other = dict(tiny.tensors(Shape(**{**vars(SMALL), "seed": 8})))
    assert first["lm_head.weight"] != other["lm_head.weight"]


def test_a_checkpoint_says_where_each_tensor_is(tmp_path: Path) -> None:
    checkpoint.write(SMALL, tmp_path)
    content = (tmp_path / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    assert length % 8 == 0
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    assert header.pop("__metadata__") == {"format": "pt"}
    tensors = dict(tiny.tensors(SMALL))
    assert set(header) == set(tensors)
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        assert array("f", body[begin:end]) == tensors[name].values, name
    assert max(entry["data_offsets"][1] for entry in header.values()) == len(body)
    assert header["model.layers.1.mlp.up_proj.weight"]["shape"] == [SMALL.inner, SMALL.width]
    assert header["model.norm.weight"]["shape"] == [SMALL.width]


def test_a_tokenizer_knows_every_byte_once(tmp_path: Path) -> None:
    checkpoint.write(SMALL, tmp_path)
    vocabulary = json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]
    assert sorted(vocabulary.values()) == list(range(tiny.VOCABULARY))
    assert vocabulary["A"] == tiny.FIRST_BYTE + ord("A")
    # The signs by which byte-level tokenizers write a space and a line feed.
    assert (vocabulary["\u0120"], vocabulary["\u010a"]) == (tiny.FIRST_BYTE + 0x20, tiny.FIRST_BYTE + 0x0A)


@pytest.mark.parametrize("shape", [tiny.TARGET, tiny.DRAFT])
def test_widths_are_what_engines_have_kernels_for(shape: Shape) -> None:
    assert shape.width == shape.heads * shape.head_width
    assert shape.head_width == 32


def test_a_gguf_file_has_its_tensors_at_the_end_and_aligned(tmp_path: Path) -> None:
    gguf.write(SMALL, tmp_path / "small.gguf")
    content = (tmp_path / "small.gguf").read_bytes()
    magic, version, tensors, keys = struct.unpack("<4sIQQ", content[:24])
    assert (magic, version, tensors, keys) == (b"GGUF", 3, 2 * 9 + 3, 20)
    output = list(tiny.tensors(SMALL))[-1][1].values
    assert content.endswith(output.tobytes())
    assert len(content) % 32 == 0
    for layer in range(SMALL.layers):
        assert f"blk.{layer}.attn_q.weight".encode() in content
