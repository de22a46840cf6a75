"""zlib for short texts: the same format, by a compressor no larger than what there is to compress.

The usual one takes 256 KiB, clears them, and gives them back for each text: of a text of a few hundred bytes that is
nine tenths of the time. The window need not exceed the data; the tables follow it.
"""

from __future__ import annotations

import zlib
from typing import Final

_LEAST, _MOST = 9, 15  # bits of a window
_TABLES: Final = 6  # bits by which the compressor's tables are smaller than its window


def deflated(data: bytes) -> bytes:
    """`data`, compressed as much as zlib can, for any zlib to decompress."""
    bits = min(_MOST, max(_LEAST, len(data).bit_length()))
    compressor = zlib.compressobj(9, zlib.DEFLATED, bits, bits - _TABLES)
    return compressor.compress(data) + compressor.flush()
