"""Trace files of several formats: told apart by what is in them, read, written.

csv        t_s,down_mbps[,up_mbps] or t_s,up_mbps, a row where the rates change
mahimahi   a line for each packet of 1500 bytes that may pass: the millisecond; wraps at the last; .up/.down pairs
pensieve   two columns: seconds, Mbit/s
fcc        raw tables of Measuring Broadband America (dtime, bytes_sec), or a row of 5 s samples for each line
fedscale   a pickled table of device capacities: a constant rate for each client
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from acesim.network.capacities import capacities_in
from acesim.network.files import Recording, parse_csv, parse_pensieve, written_csv, written_pensieve
from acesim.network.mahimahi import parse_mahimahi, wrapped, written_mahimahi
from acesim.network.tables import parse_fcc
from acesim.network.traces import Rates
from acesim.scenario.errors import TraceError
from acesim.scenario.units import to_mbps

FORMS = ("csv", "mahimahi", "pensieve", "fcc", "fedscale")
WRITTEN = ("csv", "mahimahi", "pensieve")
LEAST_MBPS, MOST_MBPS = 1e-3, 1e5


def read(file: str | Path, form: str | None = None) -> Recording:
    """Read the one recording of a file.

    file     a path; path#name chooses one of several recordings of a file
    form     one of FORMS; None: told by the content
    raises   TraceError with file and line for what cannot be used, or where a file has several recordings
    """
    found = read_all(file, form)
    if len(found) > 1:
        names = ", ".join(each.file.rpartition("#")[2] for each in found[:3])
        raise TraceError(str(file), None, f"holds {len(found)} traces: choose one by its name, for example "
                                          f"{found[0].file} (names: {names}, ...)")
    return found[0]


def read_all(file: str | Path, form: str | None = None) -> list[Recording]:
    """Read every recording of the files that a path, a path#name or a glob names, in order of their names."""
    path, name = _split(str(file))
    paths = [path] if Path(path).exists() or not glob.has_magic(path) else sorted(glob.glob(path, recursive=True))
    if not paths:
        raise TraceError(path, None, "no file matches")
    found: list[Recording] = []
    for each in paths:
        own = _read(each, form)
        _plausible(each, own)
        found += own
    if name is not None:
        found = [each for each in found if each.file.rpartition("#")[2] == name] if name else found
        if not found:
            raise TraceError(path, None, f"holds no trace named {name}")
    return found


def _split(file: str) -> tuple[str, str | None]:
    """Return (path, name) of path#name; a # that is part of a file's own name stays in it."""
    path, mark, name = file.rpartition("#")
    return (path, name) if mark and not Path(file).exists() else (file, None)


def _read(path: str, form: str | None) -> list[Recording]:
    try:
        content = Path(path).read_bytes()
    except OSError as fault:
        raise TraceError(path, None, f"cannot be read: {fault}") from fault
    if form is not None and form not in FORMS:
        raise TraceError(path, None, f"format = {form}: unknown (knows: {', '.join(FORMS)})")
    chosen = form or detect(path, content)
    if chosen == "fedscale":
        return capacities_in(path, content)
    text = _text(path, content)
    if chosen == "mahimahi":
        return [_pair(path, text)]
    return _PARSERS[chosen](path, text)


def _text(path: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise TraceError(path, None, f"cannot be read: {fault}") from fault


_PARSERS: Mapping[str, Callable[[str, str], list[Recording]]] = MappingProxyType({
    "csv": lambda path, text: [parse_csv(path, text)], "pensieve": lambda path, text: [parse_pensieve(path, text)],
    "fcc": parse_fcc})


def detect(path: str, content: bytes) -> str:
    """Return the format of a file's content.

    >>> detect("x", b"0.5 1.2"), detect("x", b"3"), detect("x", b"t_s,down_mbps"), detect("x", bytes([128, 4]))
    ('pensieve', 'mahimahi', 'csv', 'fedscale')
    """
    if content[:1] == b"\x80" or content[:3] == b"(dp":
        return "fedscale"
    lines = (line.strip() for line in _text(path, content).splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    if "," in first:
        heads = [head.strip().lower() for head in first.split(",")]
        return "fcc" if "bytes_sec" in heads or heads[0] == "name" else "csv"
    if first.isascii() and first.isdigit():
        return "mahimahi"
    if len(first.split()) == 2 and all(map(_is_number, first.split())):
        return "pensieve"
    if not first:
        raise TraceError(path, None, f"has no rows: nothing to read (formats: {', '.join(FORMS)})")
    raise TraceError(path, None, f"its format cannot be told from {first[:40]!r}: say which it is (knows: "
                                 f"{', '.join(FORMS)})")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _pair(path: str, text: str) -> Recording:
    """Return what a Mahimahi file holds; .up and .down of the same name are one recording."""
    stem, _, suffix = path.rpartition(".")
    own = parse_mahimahi(path, text)
    if suffix not in ("up", "down"):
        return own
    other = Path(f"{stem}.{'down' if suffix == 'up' else 'up'}")
    if not other.exists():
        return own if suffix == "down" else own._replace(down=None, up=own.down)
    second = parse_mahimahi(str(other), _text(str(other), other.read_bytes()))
    return wrapped(path, *((own, second) if suffix == "down" else (second, own)))


def _plausible(path: str, recordings: Sequence[Recording]) -> None:
    """Refuse files of rates that no link has: the unit is another than it was taken for."""
    for direction in ("down", "up"):
        ways = [rates for each in recordings if (rates := getattr(each, direction)) is not None]
        moving = np.concatenate([rates[rates > 0] for rates in ways]) if ways else np.zeros(0)
        if not moving.size:
            continue
        median = to_mbps(float(np.median(moving)))
        if not LEAST_MBPS <= median <= MOST_MBPS:
            remedy = "divide the rates by 10^6 if they are in bit/s" if median > 1 else \
                "multiply them by 1000 if they are in Gbit/s"
            raise TraceError(path, None,
                             f"{direction} has a median of {median:.3g} Mbps, which no link has (1 kbps to 100 Gbps): "
                             f"write rates in Mbit/s; {remedy}, or name the unit in the header of a CSV (down_kbps)")


def write(recording: Recording, file: str | Path, form: str) -> list[Path]:
    """Write a recording; bytes are conserved (Mahimahi: to the nearest packet of 1500 bytes).

    form      one of WRITTEN.  pensieve holds the downlink alone; mahimahi writes NAME.down and NAME.up where both
              are known and the file's suffix is one of these, else the downlink
    returns   the files written
    """
    path = Path(file)
    if form not in WRITTEN:
        raise TraceError(str(file), None, f"format = {form}: cannot be written (can: {', '.join(WRITTEN)})")
    if form != "mahimahi" or path.suffix not in (".up", ".down"):
        return _written({path: SPELLED[form](recording)})
    ways: Sequence[tuple[Path, Rates | None]] = [
        (path.with_suffix(".down"), recording.down), (path.with_suffix(".up"), recording.up)]
    return _written({way: written_mahimahi(recording.file, recording.edges_s, rates)
                     for way, rates in ways if rates is not None})


SPELLED: Mapping[str, Callable[[Recording], str]] = MappingProxyType({
    "csv": written_csv, "pensieve": written_pensieve,
    "mahimahi": lambda recording: written_mahimahi(recording.file, recording.edges_s, recording.first)})
"""Format -> the text of one file of it; Mahimahi's holds the downlink, or the only direction there is."""


def form_of(file: str | Path) -> str:
    """Return the format that a file's suffix asks for.

    >>> form_of("drive.csv"), form_of("drive.up"), form_of("drive.log")
    ('csv', 'mahimahi', 'pensieve')
    """
    form = _SUFFIXES.get(Path(file).suffix.lower())
    if form is None:
        raise TraceError(str(file), None, f"its suffix tells no format (knows: {', '.join(_SUFFIXES)}): choose one of "
                                          f"{', '.join(WRITTEN)} with --to")
    return form


_SUFFIXES: Mapping[str, str] = MappingProxyType({".csv": "csv", ".down": "mahimahi", ".up": "mahimahi",
                                                 ".log": "pensieve", ".txt": "pensieve"})


def _written(texts: Mapping[Path, str]) -> list[Path]:
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8", newline="\n")
    return list(texts)


