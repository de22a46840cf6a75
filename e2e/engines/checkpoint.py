"""Write a tiny model as a Hugging Face checkpoint: what vLLM and most other engines read.

A directory with ``config.json``, ``model.safetensors`` (a JSON header with the place of each tensor, then their
bytes) and a tokenizer whose tokens are single bytes, so that it needs no training and knows any text.
"""

import json
import struct
import sys
from pathlib import Path
from typing import Any

from e2e.engines import tiny
from e2e.engines.tiny import Shape, Tensor


def write(shape: Shape, directory: Path) -> None:
    """Write the model into ``directory``, which is made where it is missing."""
    directory.mkdir(parents=True, exist_ok=True)
    _write_weights(shape, directory / "model.safetensors")
    files = {
        "config.json": _config(shape),
        "generation_config.json": {"bos_token_id": tiny.BEGIN, "eos_token_id": tiny.END},
        "tokenizer.json": _tokenizer(),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<s>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "model_max_length": shape.context,
        },
    }
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content, indent=1))


def _write_weights(shape: Shape, path: Path) -> None:
    tensors = dict(tiny.tensors(shape))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in tensors.items():
        size = len(tensor.values) * tensor.values.itemsize
        sizes = [*([tensor.rows] if tensor.rows else []), tensor.columns]
        header[name] = {"dtype": "F32", "shape": sizes, "data_offsets": [offset, offset + size]}
        offset += size
    encoded = json.dumps(header).encode()
    encoded = encoded.ljust(-len(encoded) % 8 + len(encoded))
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        for tensor in tensors.values():
            file.write(_bytes(tensor))


def _bytes(tensor: Tensor) -> bytes:
    values = tensor.values[:]
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def _config(shape: Shape) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "vocab_size": tiny.VOCABULARY,
        "hidden_size": shape.width,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "head_dim": shape.head_width,
        "hidden_act": "silu",
        "max_position_embeddings": shape.context,
        "rms_norm_eps": tiny.EPSILON,
        "rope_theta": tiny.ROPE_BASE,
        "tie_word_embeddings": False,
        "bos_token_id": tiny.BEGIN,
        "eos_token_id": tiny.END,
    }


def _tokenizer() -> dict[str, Any]:
    special = {"<unk>": tiny.UNKNOWN, "<s>": tiny.BEGIN, "</s>": tiny.END}
    vocabulary = special | {_letter(byte): tiny.FIRST_BYTE + byte for byte in range(256)}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "added_tokens": [{"id": number, "content": token, **plain} for token, number in special.items()],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {"type": "BPE", "unk_token": "<unk>", "vocab": vocabulary, "merges": []},
    }


def _letter(byte: int) -> str:
    """The character by which byte-level tokenizers write a byte: itself, or one above 255 if it cannot be seen."""
    return chr(byte) if _is_visible(byte) else chr(256 + sum(not _is_visible(other) for other in range(byte)))


def _is_visible(byte: int) -> bool:
    return 0x21 <= byte <= 0x7E or 0xA1 <= byte <= 0xAC or 0xAE <= byte <= 0xFF
