"""Write a tiny model as a GGUF file, version 3: what llama.cpp reads.

The file is a header, keys with typed values, a table of tensors, and after it the tensors themselves, each at a
multiple of 32 bytes. Everything is little-endian. Tokens are single bytes, marked as such for the vocabulary type
``llama``, so that any text can be said without a trained tokenizer.
"""

import math
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from e2e.engines import tiny
from e2e.engines.tiny import Shape, Tensor

_VERSION = 3
_ALIGNMENT = 32
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_F32 = 0  # the tensor type
_UNKNOWN, _CONTROL, _BYTE = 2, 3, 6  # kinds of tokens
_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write(shape: Shape, path: Path, name: str = "tiny") -> None:
    """Write the model to ``path``."""
    tensors = [(_tensor_name(key), tensor) for key, tensor in tiny.tensors(shape)]
    keys = list(_keys(shape, name))
    head = b"GGUF" + struct.pack("<IQQ", _VERSION, len(tensors), len(keys)) + b"".join(keys) + _table(tensors)
    with path.open("wb") as file:
        file.write(_padded(head))
        for _, tensor in tensors:
            file.write(_padded(_bytes(tensor)))


def _tensor_name(name: str) -> str:
    stem = name.removesuffix(".weight")
    if stem.startswith("model.layers."):
        _, _, layer, part = stem.split(".", 3)
        return f"blk.{layer}.{_NAMES[part]}.weight"
    return f"{_NAMES[stem]}.weight"


def _keys(shape: Shape, name: str) -> Iterator[bytes]:
    yield _text("general.architecture", "llama")
    yield _text("general.name", name)
    counts = {
        "vocab_size": tiny.VOCABULARY,
        "context_length": shape.context,
        "embedding_length": shape.width,
        "block_count": shape.layers,
        "feed_forward_length": shape.inner,
        "rope.dimension_count": shape.head_width,
        "attention.head_count": shape.heads,
        "attention.head_count_kv": shape.heads,
    }
    for key, count in counts.items():
        yield _key(f"llama.{key}", _UINT32, struct.pack("<I", count))
    yield _key("llama.attention.layer_norm_rms_epsilon", _FLOAT32, struct.pack("<f", tiny.EPSILON))
    yield _key("llama.rope.freq_base", _FLOAT32, struct.pack("<f", tiny.ROPE_BASE))
    yield from _tokenizer()


def _tokenizer() -> Iterator[bytes]:
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [_UNKNOWN, _CONTROL, _CONTROL, *[_BYTE] * 256]
    yield _text("tokenizer.ggml.model", "llama")
    yield _array("tokenizer.ggml.tokens", _STRING, [_string(token) for token in tokens])
    yield _array("tokenizer.ggml.scores", _FLOAT32, [struct.pack("<f", 0.0)] * len(tokens))
    yield _array("tokenizer.ggml.token_type", _INT32, [struct.pack("<i", kind) for kind in kinds])
    for key, token in (("bos", tiny.BEGIN), ("eos", tiny.END), ("unknown", tiny.UNKNOWN)):
        yield _key(f"tokenizer.ggml.{key}_token_id", _UINT32, struct.pack("<I", token))
    yield _key("tokenizer.ggml.add_space_prefix", _BOOL, struct.pack("<?", False))


def _table(tensors: Sequence[tuple[str, Tensor]]) -> bytes:
    table, offset = b"", 0
    for name, tensor in tensors:
        # The fastest dimension comes first.
        sizes = [tensor.columns, *([tensor.rows] if tensor.rows else [])]
        table += _string(name) + struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes)
        table += struct.pack("<IQ", _F32, offset)
        offset += len(_padded(_bytes(tensor)))
    return table


def _key(name: str, kind: int, value: bytes) -> bytes:
    return _string(name) + struct.pack("<I", kind) + value


def _text(name: str, value: str) -> bytes:
    return _key(name, _STRING, _string(value))


def _array(name: str, kind: int, values: Sequence[bytes]) -> bytes:
    return _key(name, _ARRAY, struct.pack("<IQ", kind, len(values)) + b"".join(values))


def _string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def _bytes(tensor: Tensor) -> bytes:
    values = tensor.values[:]
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def _padded(content: bytes) -> bytes:
    return content.ljust(math.ceil(len(content) / _ALIGNMENT) * _ALIGNMENT, b"\0")
