"""Archives of the log as zip files: written whole or not at all, read a segment at a time."""

from __future__ import annotations

import gc
import hashlib
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from domain.archive import (
    HEAD_BYTES_MAX,
    HEADS,
    MANIFEST,
    SEGMENT_EVENTS,
    Manifest,
    SegmentEntry,
    head_lines,
    parse_head,
    segment_name,
)
from domain.breaks import BrokenHistoryError
from domain.checkpoint import SignerKey
from domain.merkle import leaf_hash
from domain.ranges import levels_over, peaks_of, root_of
from domain.record import Record
from domain.segment import SegmentFacts, SegmentJob

_MANIFEST_BYTES_MAX = 1 << 28
_SEGMENT_BYTES_MAX = 1 << 28
_LOCAL_HEADER = struct.Struct("<4s5HLLLHH")
# Nothing in the file tells when it was made: the same history is the same archive.
_DATE = (1980, 1, 1, 0, 0, 0)


def write_archive(
    path: Path,
    records: Iterable[Record],
    *,
    heads: Sequence[tuple[int, str]],
    signers: Sequence[SignerKey],
    progress: Callable[[int], None],
    segment_events: int = SEGMENT_EVENTS,
) -> Manifest:
    """Write everything up to the last head; `BrokenHistoryError` where events are missing."""
    last = heads[-1][0]
    aside = path.with_name(f"{path.name}.part")
    segments: list[SegmentEntry] = []
    try:
        with zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as file:
            for first, leaves in _pieces(records, last, segment_events):
                data = b"".join(leaf + b"\n" for leaf in leaves)
                peaks = peaks_of(levels_over([leaf_hash(leaf) for leaf in leaves]), len(leaves))
                _add(file, segment_name(len(segments)), data)
                segments.append(
                    SegmentEntry(
                        first=first,
                        events=len(leaves),
                        sha256=hashlib.sha256(data).hexdigest(),
                        root=root_of(peaks),
                    )
                )
                progress(first + len(leaves) - 1)
            manifest = Manifest(
                origin=signers[0].name,
                segment_events=segment_events,
                signers=tuple(signers),
                segments=tuple(segments),
            )
            _add(file, HEADS, head_lines(heads))
            _add(file, MANIFEST, manifest.text.encode())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return manifest


def _pieces(
    records: Iterable[Record], last: int, segment_events: int
) -> Iterator[tuple[int, list[bytes]]]:
    """Leaves in segments with their first positions, to the position `last` without a hole."""
    leaves: list[bytes] = []
    position = 0
    for record in records:
        if position == last:
            break
        position += 1
        if record.position != position:
            raise BrokenHistoryError(position, "gap", expected=position, found=record.position)
        leaves.append(record.leaf)
        if len(leaves) == segment_events:
            yield position - len(leaves) + 1, leaves
            leaves = []
    if position != last:
        raise BrokenHistoryError(
            position + 1, "truncated", expected=f"{last} events", found=position
        )
    if leaves:
        yield position - len(leaves) + 1, leaves


def _add(file: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, _DATE)
    info.external_attr = 0o644 << 16
    file.writestr(info, data, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedSegment:
    """Where a segment lies in its file, for whichever process reads it."""

    path: Path
    offset: int
    packed_bytes: int
    is_deflated: bool

    def __call__(self) -> bytes:
        """The segment's bytes; ValueError where they cannot be unpacked."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            packed = file.read(self.packed_bytes)
        if len(packed) != self.packed_bytes:
            msg = "the file ends in the middle of it"
            raise ValueError(msg)
        if not self.is_deflated:
            return packed
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = unpacker.decompress(packed, _SEGMENT_BYTES_MAX)
        except zlib.error as damage:
            msg = f"it cannot be unpacked: {damage}"
            raise ValueError(msg) from damage
        if not unpacker.eof:
            msg = f"it is cut short, or unpacks to more than {_SEGMENT_BYTES_MAX} bytes"
            raise ValueError(msg)
        return data


class ZipArchive:
    """Implements `Archive`; holds the manifest, reads the rest when it is asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with zipfile.ZipFile(path) as file:
                self._members = {info.filename: info for info in file.infolist()}
                self.manifest = Manifest.parse(self._read(file, MANIFEST))
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as bad:
            raise BrokenHistoryError(0, "file", expected="an archive", found=bad) from bad

    def heads(self) -> Iterator[tuple[int, str]]:
        try:
            with zipfile.ZipFile(self._path) as file, file.open(self._member(HEADS)) as lines:
                while line := lines.readline(HEAD_BYTES_MAX):
                    yield parse_head(line)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as damage:
            raise BrokenHistoryError(0, HEADS, expected="signed heads", found=damage) from damage

    def loader(self, index: int) -> Callable[[], bytes]:
        info = self._member(segment_name(index))
        with self._path.open("rb") as file:
            file.seek(info.header_offset)
            header = file.read(_LOCAL_HEADER.size)
        if len(header) != _LOCAL_HEADER.size:
            raise BrokenHistoryError(0, info.filename, expected="a zip entry", found="the end")
        *_, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
        return PackedSegment(
            path=self._path,
            offset=info.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes,
            packed_bytes=min(info.compress_size, _SEGMENT_BYTES_MAX),
            is_deflated=info.compress_type == zipfile.ZIP_DEFLATED,
        )

    def _member(self, name: str) -> zipfile.ZipInfo:
        info = self._members.get(name)
        if info is None:
            raise BrokenHistoryError(0, "file", expected=f"{name} in the archive", found="none")
        return info

    def _read(self, file: zipfile.ZipFile, name: str) -> bytes:
        info = self._member(name)
        if info.file_size > _MANIFEST_BYTES_MAX:
            raise BrokenHistoryError(
                0, name, expected=f"at most {_MANIFEST_BYTES_MAX} bytes", found=info.file_size
            )
        return file.read(info)


def is_archive(path: Path) -> bool:
    """Whether a file looks like an archive; whether it is a good one, reading it tells."""
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def in_processes(
    check: Callable[[SegmentJob], SegmentFacts], jobs: Iterable[SegmentJob]
) -> Iterator[SegmentFacts]:
    """As `map`, on every core, with at most two segments a core under way."""
    workers = len(os.sched_getaffinity(0))
    waiting = iter(jobs)
    begun: list[Future[SegmentFacts]] = []
    # Fresh processes: a copy of this one would hold whatever its threads held. What they make has
    # no cycles, so that looking for some is a fifth of their time for nothing.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=gc.disable)
    with pool:
        try:
            for job in waiting:
                begun.append(pool.submit(check, job))
                if len(begun) >= 2 * workers:
                    yield begun.pop(0).result()
            for future in begun:
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)
