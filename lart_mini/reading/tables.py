"""Tables as text: .csv, .csv.gz and MOTChallenge's .txt, unpacked, in UTF-8, no blank lines at the end."""

from __future__ import annotations

import codecs
import gzip
import os
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from lart_mini.files import BadInput
from lart_mini.reading.budget import MIB, read_bytes

LARGEST = 2048 * MIB  # bytes of text; 60 rows for each box of AVA's validation set are a fifth of it
FOLDED = 100  # a text may have this many times the bytes of its gzip: rows of numbers have ten times, or
UNQUESTIONED = 64 * MIB  # this many bytes
GZIP, UTF_16 = b"\x1f\x8b", (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_END = 4096  # bytes of a file's end in which its last row is looked for


def table_bytes(path: str | Path, most: int = LARGEST) -> bytes:
    """A table's text in UTF-8: unpacked, without byte order mark and blank lines at the end; b"" of no rows.

    Gzip, of any number of members, is unpacked piece by piece; UTF-16 is told by its byte order mark; \\r
    alone ends lines where there is no \\n. Raises BadInput for what cannot be read, is no text, is a gzip
    that is damaged, cut short or unpacks to too much, or has more than `most` bytes.
    """
    path = Path(path)
    try:
        content = read_bytes(path, most)
    except FileNotFoundError as error:
        raise BadInput(path, "file", "a readable file", error.strerror) from None
    if content.startswith(GZIP):
        content = _unpacked(path, content, most)
    if content.startswith(UTF_16):
        content = _from_utf_16(path, content)
    content = content.removeprefix(codecs.BOM_UTF8)
    if b"\0" in content:
        line = 1 + content.count(b"\n", 0, content.index(b"\0"))
        raise BadInput(path, f"line {line}", "text", "a zero byte")
    start = content[:_END]
    if b"\r" in start and b"\n" not in start:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return content.rstrip() if _ends_blank(content[-_END:]) else content


def is_ready(path: str | Path, columns: int) -> bool:
    """Whether the file's bytes are what `table_bytes` would give, and its first row has all `columns`."""
    if not Path(path).is_file():
        return False
    try:
        with Path(path).open("rb") as file:
            first = file.readline(2**16)
            file.seek(-min(_END, file.seek(0, os.SEEK_END)), os.SEEK_END)
            end = file.read()
    except OSError:
        return False
    if first.startswith((GZIP, *UTF_16)) or b"\0" in first or b"\r" in first.removesuffix(b"\r\n"):
        return False
    return first.count(b",") >= columns - 1 and not _ends_blank(end)


def table_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Number, from 1, and text of every line that is not blank. Raises BadInput as `table_bytes` does."""
    content = table_bytes(path, most=LARGEST // 8)
    check_utf_8(path, content)
    for number, line in enumerate(BytesIO(content), start=1):
        if text := line.decode().strip():
            yield number, text


def check_utf_8(path: str | Path, content: bytes) -> None:
    """Raise BadInput naming the first line that is not UTF-8."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = 1 + content.count(b"\n", 0, error.start)
        found = f"the byte {content[error.start]:#04x}"
        raise BadInput(path, f"line {line}", "text in utf-8", found) from None


def _ends_blank(end: bytes) -> bool:
    """Whether the last line of a file's `end` is blank, or there is none."""
    lines = end.splitlines()
    return not lines or not lines[-1].strip()


def _unpacked(path: Path, packed: bytes, most: int) -> bytes:
    most = min(most, max(UNQUESTIONED, FOLDED * len(packed)))
    parts: list[bytes] = []
    size, line = 0, 1
    try:
        with gzip.GzipFile(fileobj=BytesIO(packed)) as file:
            while part := file.read1(MIB):
                parts.append(part)
                size, line = size + len(part), line + part.count(b"\n")
                if size > most:
                    raise BadInput(path, "file", f"at most {most / MIB:,.0f} MiB unpacked", "more")
    except EOFError:
        raise BadInput(path, f"line {line}", "a complete gzip file", "one that is cut short") from None
    except (OSError, zlib.error) as error:
        raise BadInput(path, f"line {line}", "gzip data", error) from None
    return b"".join(parts)


def _from_utf_16(path: Path, content: bytes) -> bytes:
    try:
        return content.decode("utf-16").encode()
    except UnicodeError as error:
        raise BadInput(path, "file", "text in utf-16", error) from None
