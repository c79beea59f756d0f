"""A grouped body as bytes: the levels, then for each group its scale, its values and their places."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from acesim.compressors.layout import LEVEL_BITS, Layout
from acesim.compressors.menu import Operator, places_bytes
from acesim.compressors.packing import bytes_of, pack, unpack
from acesim.compressors.rounding import GroupedBody
from acesim.compressors.topk import kept
from acesim.compressors.uniform import from_unsigned, to_unsigned
from acesim.seam import Vector


def spell(body: GroupedBody, layout: Layout) -> bytes:
    """Return the bytes of a body at the proxy's scale; none when every group is skipped."""
    if layout.are("skip")[body.picks].all():
        return b""
    parts, at = [pack(body.picks, LEVEL_BITS)], 0
    for group, (start, size) in enumerate(zip(layout.starts.tolist(), layout.sizes.tolist(), strict=True)):
        operator = layout.menu[body.picks[group]]
        if operator.kind == "float":
            parts.append(body.floats[at:at + size].astype(f"<f{operator.bits // 8}").tobytes())
            at += size
        elif operator.kind != "skip":
            parts.append(body.scales[group].astype("<f4").tobytes())
            parts.append(_spell_codes(body.codes[start:start + size], operator))
    return b"".join(parts)


def read(data: bytes, layout: Layout) -> GroupedBody:
    """Return the body that `spell` has written."""
    sizes = layout.sizes.tolist()
    codes, scales = np.zeros(sum(sizes), np.int8), np.zeros(len(sizes), np.float32)
    if not data:
        skip = int(np.flatnonzero(layout.are("skip"))[0])
        return GroupedBody(np.full(len(sizes), skip, np.uint8), codes, scales, np.zeros(0, np.float32))
    picks = unpack(data, LEVEL_BITS, len(sizes)).astype(np.uint8)
    floats: list[Vector] = [np.zeros(0, np.float32)]
    at = bytes_of(len(sizes), LEVEL_BITS)
    for group, (start, size) in enumerate(zip(layout.starts.tolist(), sizes, strict=True)):
        operator = layout.menu[picks[group]]
        end = at + sum(operator.block(size))
        if operator.kind == "float":
            floats.append(np.frombuffer(data[at:end], f"<f{operator.bits // 8}").astype(np.float32))
        elif operator.kind != "skip":
            scales[group] = np.frombuffer(data, "<f4", 1, at)[0]
            codes[start:start + size] = _read_codes(data[at + 4:end], operator, size)
        at = end
    return GroupedBody(picks, codes, scales, np.concatenate(floats))


def _spell_codes(codes: NDArray[np.int8], operator: Operator) -> bytes:
    if operator.kind != "sparse":
        return pack(to_unsigned(codes, operator.bits), operator.bits)
    places = _places(codes, kept(operator.ratio, codes.size))
    values = pack(to_unsigned(codes[places], operator.bits), operator.bits)
    if _as_bitmap(places.size, codes.size):
        marks = np.zeros(codes.size, np.bool_)
        marks[places] = True
        return values + pack(marks, 1)
    return values + pack(places, (codes.size - 1).bit_length())


def _read_codes(data: bytes, operator: Operator, size: int) -> NDArray[np.int8]:
    if operator.kind != "sparse":
        return from_unsigned(unpack(data, operator.bits, size), operator.bits)
    count = kept(operator.ratio, size)
    rest = data[bytes_of(count, operator.bits):]
    bitmap = _as_bitmap(count, size)
    places = np.flatnonzero(unpack(rest, 1, size)) if bitmap else unpack(rest, (size - 1).bit_length(), count)
    codes = np.zeros(size, np.int8)
    codes[places] = from_unsigned(unpack(data, operator.bits, count), operator.bits)
    return codes


def _as_bitmap(count: int, size: int) -> bool:
    return places_bytes(count, size) == bytes_of(size, 1)


def _places(codes: NDArray[np.int8], count: int) -> NDArray[np.int64]:
    """Return exactly `count` places: those of the codes that are not 0, filled up with the first that are."""
    sent = codes != 0
    spare = np.flatnonzero(~sent)[:count - int(np.count_nonzero(sent))]
    sent[spare] = True
    return np.flatnonzero(sent)
