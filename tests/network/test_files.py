"""Trace files: what is read, and what is refused with a line number."""

import numpy as np
import pytest

from acesim.network.files import as_trace, read_csv
from acesim.scenario.errors import TraceError


def write(folder, text):
    path = folder / "tram.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_two_directions(tmp_path):
    recording = read_csv(write(tmp_path, "# a tram\nt_s,down_mbps,up_mbps\n10,8,0.8\n\n11,16,1.6\n13,0,0\n"))
    assert recording.edges_s.tolist() == [0, 1, 3, 5]  # the last row lasts as long as the one before it
    assert recording.down.tolist() == [1e6, 2e6, 0]
    assert as_trace(recording, "up", 1.0).bytes_per_s == pytest.approx([1e5, 2e5, 2e5, 0, 0])
    assert as_trace(recording, "down", 2.0).bytes_per_s.tolist() == [1.5e6, 1e6, 0.5e6]  # plays on until it is full


@pytest.mark.parametrize(("offset_s", "end", "expected"), [
    (1.0, "loop", [2, 2, 0, 0, 1]), (0.5, "loop", [1.5, 2, 1, 0, 0.5]), (3.0, "loop", [0, 0, 1, 2, 2]),
    (1.0, "hold", [2, 2, 0, 0]), (2.0, "error", [2, 0, 0])])
def test_offsets_conserve_bytes(tmp_path, offset_s, end, expected):
    recording = read_csv(write(tmp_path, "t_s,down_mbps\n0,8\n1,16\n3,0\n"))
    trace = as_trace(recording, "down", 1.0, offset_s, end)
    assert (trace.bytes_per_s / 1e6) == pytest.approx(np.array(expected))
    assert trace.end == end


@pytest.mark.parametrize(("text", "place", "rule"), [
    ("", "tram.csv", "columns are missing"),
    ("time,rate\n0,1\n", "tram.csv:1", "columns are time,rate"),
    ("t_s,down_mbps\n0,1\n1\n", "tram.csv:3", "has 1 fields: must have 2"),
    ("t_s,down_mbps\n0,1\n1,fast\n", "tram.csv:3", "must be a number"),
    ("t_s,down_mbps\n0,1\n1,-2\n", "tram.csv:3", "down_mbps = -2: must be finite and >= 0"),
    ("t_s,down_mbps\n0,1\n1,nan\n", "tram.csv:3", "must be finite"),
    ("t_s,down_mbps\n0,1\n# note\n0,2\n", "tram.csv:4", "times must ascend"),
    ("t_s,down_mbps\n0,1\n", "tram.csv", "needs 2 or more"),
    ("t_s,down_mbps\n0,20000000\n1,20000000\n", "tram.csv:2", "bit/s"),
])
def test_what_is_refused(tmp_path, text, place, rule):
    path = write(tmp_path, text)
    with pytest.raises(TraceError) as caught:
        read_csv(path)
    assert rule in str(caught.value)
    assert str(caught.value).startswith(str(path.parent / place) + ": ")


def test_missing_file_column_and_offset(tmp_path):
    with pytest.raises(TraceError, match=r"nowhere\.csv: cannot be read"):
        read_csv(tmp_path / "nowhere.csv")
    recording = read_csv(write(tmp_path, "t_s,down_mbps\n0,8\n1,16\n"))
    with pytest.raises(TraceError, match="no column up_mbps"):
        as_trace(recording, "up", 1.0)
    with pytest.raises(TraceError, match=r"offset = 2 s: must lie in the trace"):
        as_trace(recording, "down", 1.0, 2.0)
    empty = read_csv(write(tmp_path, "t_s,down_mbps\n0,0\n1,0\n"))
    with pytest.raises(TraceError, match=r"tram\.csv \(down\): the rate is zero everywhere"):
        as_trace(empty, "down", 1.0)


@pytest.mark.parametrize("rows", ["0,8\n1,8\n1.2,8\n", "0,8\n.001,8\n", "0,8\n5,8\n5.0005,8\n"])
@pytest.mark.parametrize("end", ["loop", "hold"])
@pytest.mark.parametrize("step_s", [0.1, 1.0, 7.0])
def test_a_rate_that_never_changes_does_not_on_any_grid(tmp_path, rows, end, step_s):
    recording = read_csv(write(tmp_path, f"t_s,down_mbps\n{rows}"))
    assert as_trace(recording, "down", step_s, end=end).bytes_per_s == pytest.approx(1e6)
    stepped = recording.stepped(step_s)
    assert stepped.down == pytest.approx(1e6)
    assert stepped.edges_s[-1] == recording.edges_s[-1]  # and so the bytes are the same


def test_steps_without_number_are_refused(tmp_path):
    recording = read_csv(write(tmp_path, "t_s,down_mbps\n0,8\n1e6,8\n"))
    for cut in (lambda: recording.stepped(1e-3), lambda: as_trace(recording, "down", 1e-3)):
        with pytest.raises(TraceError, match=r"tram.csv: is 2e\+06 s long: at steps of 0.001 s more than 100,000,000"):
            cut()
