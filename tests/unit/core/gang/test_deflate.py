"""The short way to zlib loses nothing and is hardly longer than the usual one."""

from __future__ import annotations

import zlib

import pytest

from drumline.core.gang.deflate import deflated


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 511, 512, 1000, 5000, 32_767, 32_768, 200_000])
def test_it_comes_back_and_is_about_as_short(size: int) -> None:
    data = b"".join(b"[%d,%d]," % (i, i * i) for i in range(size // 6 + 1))[:size]
    short = deflated(data)
    assert zlib.decompress(short) == data
    assert len(short) <= 1.02 * len(zlib.compress(data, 9)) + 4
