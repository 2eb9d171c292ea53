"""Files that are compressed in one of the ways joblib knows, unpacked in pieces up to a limit."""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import Any

from lart_mini.reading.budget import MIB, TooMuch

LZMA_MEMORY = 128 * MIB  # that the file may ask of the unpacking itself; the strongest preset takes 65
PIECE = MIB
LZ4 = b"\x04\x22\x4d\x18"

# What a file of each kind begins with; no pickle does. Bit 5 of zlib's window bits: gzip as well.
KINDS: tuple[tuple[bytes, Any], ...] = (
    (b"\x78", lambda: zlib.decompressobj()),
    (b"\x1f\x8b", lambda: zlib.decompressobj(zlib.MAX_WBITS | 32)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, LZMA_MEMORY)),
    (b"\x5d\x00", lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, LZMA_MEMORY)),
)
LONGEST_MAGIC = max(len(prefix) for prefix in (LZ4, *(prefix for prefix, _ in KINDS)))


def is_packed(start: bytes) -> bool:
    """Does a file that begins with these LONGEST_MAGIC bytes need `unpacked`?"""
    return start.startswith((LZ4, *(prefix for prefix, _ in KINDS)))


def unpacked(content: bytes, most: int) -> bytes:
    """The content as it was before zlib, gzip, bz2, xz or lzma; what is none of these comes as it is.

    Raises TooMuch where it would have more than `most` bytes, EOFError where it is cut, ValueError for lz4,
    which Python cannot read by itself, and what the decompressors raise for damaged data.
    """
    if content.startswith(LZ4):
        raise ValueError("lz4; read and write it again with joblib, compress='zlib'")
    for prefix, decompressor in KINDS:
        if content.startswith(prefix):
            return _inflate(decompressor(), content, most)
    return content


def _inflate(decompressor: Any, content: bytes, most: int) -> bytes:
    pieces, total, position = [], 0, 0
    held = b""  # what zlib has not looked at yet
    while not decompressor.eof:
        if not held and getattr(decompressor, "needs_input", True):
            if position >= len(content):
                raise EOFError
            held = content[position : position + PIECE]
            position += PIECE
        piece = decompressor.decompress(held, most + 1 - total)
        held = getattr(decompressor, "unconsumed_tail", b"")
        total += len(piece)
        if total > most:
            raise TooMuch(f"more than {most // MIB} MiB")
        pieces.append(piece)
    return b"".join(pieces)
