"""Trace files of all formats: by hand, there and back, and what is refused."""

import csv
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acesim.network.files import Recording, as_trace
from acesim.network.formats import detect, form_of, read, read_all, write
from acesim.scenario.errors import TraceError
from acesim.scenario.units import from_mbps

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "traces"


def put(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def passed(recording, direction="down"):
    return float((getattr(recording, direction) * np.diff(recording.edges_s)).sum())


def test_mahimahi_by_hand(tmp_path):
    found = read(put(tmp_path, "drive", "0\n1\n3\n3\n10\n"))
    assert found.edges_s.tolist() == [0, 0.001, 0.002, 0.003, 0.009, 0.01]
    assert found.down.tolist() == [3e6, 0, 3e6, 0, 1.5e6]
    assert found.up is None
    assert passed(found) == pytest.approx(5 * 1500)


def test_mahimahi_pairs_wrap(tmp_path):
    put(tmp_path, "drive.up", "2\n")
    down = put(tmp_path, "drive.down", "1\n5\n")
    for name in (down, tmp_path / "drive.up"):
        found = read(name)
        assert passed(found) == pytest.approx(2 * 1500)
        assert passed(found, "up") == pytest.approx(2 * 1500)  # at 2 and 4; the third lies beyond the longer one's end
        assert found.edges_s[-1] == 0.005


def test_pensieve_by_hand(tmp_path):
    found = read(put(tmp_path, "cooked.log", "0.5 8\n1.5\t16\n3.5 0.8\n"))
    assert found.edges_s.tolist() == [0, 1, 3, 5]
    assert found.down == pytest.approx([1e6, 2e6, 1e5])


def test_csv_with_units(tmp_path):
    found = read(put(tmp_path, "x.csv", "t_ms,down_kbps,up_gbps\n0,8000,0.008\n500,16000,0.016\n"))
    assert found.edges_s.tolist() == [0, 0.5, 1]
    assert found.down.tolist() == found.up.tolist() == [1e6, 2e6]


def test_fcc(tmp_path):
    rows = ["1,a.net,1000,900", "1,a.net,3000,1500", "2,b.net,50000,40000"]
    raw = put(tmp_path, "curr_httpgetmt.csv", "unit_id,target,bytes_sec_interval,bytes_sec\n" + "\n".join(rows))
    found = read_all(raw)
    assert [each.file.rpartition("#")[2] for each in found] == ["1@a.net", "2@b.net"]
    assert found[0].down.tolist() == [1000, 3000]
    assert found[0].edges_s.tolist() == [0, 5, 10]
    with pytest.raises(TraceError, match=r"holds 2 traces: choose one by its name, for example .*#1@a\.net"):
        read(raw)
    assert read(f"{raw}#2@b.net").down.tolist() == [50000]
    with pytest.raises(TraceError, match="holds no trace named 3"):
        read(f"{raw}#3")
    compact = put(tmp_path, "fcc.csv", "name,v0_mbps,v1_mbps\na,8,16\nb,8,\n")
    assert [each.down.tolist() for each in read_all(compact)] == [[1e6, 2e6], [1e6]]
    with pytest.raises(TraceError, match=r"fcc\.csv:2: fast: every rate must be a number"):
        read_all(put(tmp_path, "fcc.csv", "name,v0_mbps\na,fast\n"))


def test_fcc_with_spaces_in_its_header(tmp_path):
    found = read_all(put(tmp_path, "fcc.csv", "unit_id, dtime, target, bytes_sec\n1, x, a.net, 1000\n"))
    assert [(each.file.rpartition("#")[2], each.down.tolist()) for each in found] == [("1@a.net", [1000])]


@pytest.mark.parametrize(("text", "rule"), [
    ("name,v0_mbps,v1_mbps,v2_mbps\nl0,1,2,\nl1,1,,2\n", "an empty field: every rate must be a number"),
    ("name,v0_mbps\nl0,1\nl1,1,2\n", "has 1 fields more than the first line has columns"),
    ("unit_id,bytes_sec\n1,1000\n1,1000,7,7\n", "has 2 fields more than the first line has columns"),
    ("name,v0_mbps\nl0,1\nl1,\n", "has no rates"),
])
def test_fcc_fields_that_have_no_place(tmp_path, text, rule):
    with pytest.raises(TraceError, match=rf"fcc\.csv:3: {rule}"):
        read_all(put(tmp_path, "fcc.csv", text))


def test_fedscale_capacities(tmp_path):
    path = tmp_path / "client_device_capacity"
    path.write_bytes(pickle.dumps({1: {"computation": 86.0, "communication": 8000.0},
                                   7: {"computation": 20.0, "communication": 16000.0}}))
    found = read_all(path)
    assert [each.down.tolist() for each in found] == [[1e6], [2e6]]
    assert read(f"{path}#7").down.tolist() == [2e6]


class Malicious:
    """Unpickling this would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_code_of_a_pickle_runs(tmp_path, protocol):
    prey, path = tmp_path / "prey", tmp_path / "capacity"
    content = pickle.dumps({1: {"communication": Malicious(str(prey))}}, protocol)
    path.write_bytes(content)
    with pytest.raises(TraceError, match=r"is no table of device capacities: it names (posix|nt)\.mkdir"):
        read_all(path, "fedscale")
    assert not prey.exists()
    pickle.loads(content)  # the pickle does what it says when it is let
    assert prey.exists()


@pytest.mark.parametrize("content", [
    b"\x80\x04", b"\x80\x04.", b"\x80\x02cbuiltins\neval\n(S'1'\ntR.", b"\x80\x02cos\nsystem\n(S'true'\ntR.",
    b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.", b"\x80\x02P7\n.", b"\x80\x02}q\x00K\x01Ns.",
    pickle.dumps([1]), pickle.dumps({}), pickle.dumps({1: {"communication": -1.0}}),
    pickle.dumps({1: {"communication": 10**5000}}), b"\x80\x04\x82\x01."])
def test_bad_pickles_are_refused(tmp_path, content):
    path = tmp_path / "capacity"
    path.write_bytes(content)
    with pytest.raises(TraceError, match="capacity: "):
        read_all(path)


@pytest.mark.parametrize(("name", "text", "place", "rule"), [
    ("m", "1\n3\n2\n", "m:3", "2 after 3: times must not fall"),
    ("m", "1\n3.5\n", "m:2", "must be a whole number of milliseconds"),
    ("m", "1\n\u00b2\n", "m:2", "must be a whole number of milliseconds"),
    ("m", "1\n" + "9" * 5000 + "\n", "m:2", "of at most 13 digits"),
    ("m", "0\n0\n", "m", "has no packets after millisecond 0"),
    ("p", "0 1\n1 2 3\n", "p:2", "has 3 fields: must have 2"),
    ("p", "0 1\n1 -2\n", "p:2", "must be finite and >= 0"),
    ("x", "hello world\n", "x", "its format cannot be told from 'hello world'"),
    ("b.csv", "t_s,down_mbps\n0,200000\n1,300000\n", "b.csv", "median of 2.5e+05 Mbps"),
    ("s.csv", "t_s,down_mbps\n0,0.0001\n1,0.0002\n", "s.csv", "median of 0.00015 Mbps"),
    ("f.csv", "unit_id,dtime,bytes_sec\n1,2,x\n", "f.csv:2", "every rate must be a number"),
    ("f.csv", "unit_id,dtime,bytes_sec\n1,2,1e13\n", "f.csv:2", "more than 1e+06 Mbps"),
    ("f.csv", "name,v0_mbps,v1_mbps\na,1,1e308\n", "f.csv:2", "more than 1e+06 Mbps"),
    ("f.csv", "name,v0_mbps,v1_mbps\na,1,2\n\na,3,4\n", "f.csv:4", "name = a: is that of line 2, too"),
    ("t.csv", "t_s,down_mbps\n0,1\n1e300,2\n", "t.csv:3", "are the times in ms or ns?"),
])
def test_what_is_refused(tmp_path, name, text, place, rule):
    with pytest.raises(TraceError) as caught:
        read(put(tmp_path, name, text))
    assert str(caught.value).startswith(f"{tmp_path / place}: ")
    assert rule in str(caught.value)


def test_one_slow_client_does_not_spoil_a_table(tmp_path):
    table = {number: {"communication": rate} for number, rate in enumerate((0.5, 4000.0, 9000.0))}
    (tmp_path / "capacity").write_bytes(pickle.dumps(table))
    assert [each.first.tolist() for each in read_all(tmp_path / "capacity")] == [[62.5], [5e5], [1.125e6]]


@pytest.mark.parametrize(("name", "text", "rates"), [
    ("up.csv", "t_s,up_mbps\n0,8\n1,16\n2,8\n", [1e6, 2e6, 1e6]), ("alone.up", "1\n", [1.5e6])])
def test_an_uplink_alone(tmp_path, name, text, rates):
    found = read(put(tmp_path, name, text))
    assert found.down is None
    assert found.first.tolist() == found.up.tolist() == rates
    with pytest.raises(TraceError, match=r"has no column down_mbps: add one, or give the access a rate: downlink"):
        as_trace(found, "down", 1.0)
    for again in ("again.csv", "again.up", "again.log"):
        write(found, tmp_path / again, form_of(again))
        assert read(tmp_path / again).first.mean() == pytest.approx(np.mean(rates), rel=0.01)
    assert read(tmp_path / "again.csv").down is None


def test_implausible_units_say_what_to_write(tmp_path):
    with pytest.raises(TraceError, match=r"write rates in Mbit/s; divide the rates by 10\^6 if they are in bit/s"):
        read(put(tmp_path, "b.log", "0 500000\n1 700000\n"))


def test_the_format_can_be_told(tmp_path):
    path = put(tmp_path, "x", "1\n2\n")
    assert detect(str(path), path.read_bytes()) == "mahimahi"
    with pytest.raises(TraceError, match="has 1 fields"):
        read(path, "pensieve")
    with pytest.raises(TraceError, match="format = avi: unknown"):
        read(path, "avi")
    with pytest.raises(TraceError, match="no file matches"):
        read_all(tmp_path / "*.nothing")
    with pytest.raises(TraceError, match="cannot be read"):
        read(tmp_path / "nowhere")
    with pytest.raises(TraceError, match="its suffix tells no format"):
        form_of("x.mp3")
    with pytest.raises(TraceError, match="format = fcc: cannot be written"):
        write(read(path), path, "fcc")


recordings = st.integers(1, 12).flatmap(lambda size: st.tuples(
    st.lists(st.integers(1, 3000), min_size=size, max_size=size),
    st.lists(st.integers(0, 200), min_size=size, max_size=size).filter(lambda rates: sum(rates) > 20),
    st.lists(st.floats(1, 50), min_size=size, max_size=size)))


@settings(deadline=None)
@given(recordings)
def test_bytes_are_conserved(tmp_path_factory, drawn):
    spans_ms, down, up = drawn
    edges_s = np.concatenate([[0], np.cumsum(spans_ms)]) / 1000
    original = Recording("x", edges_s, from_mbps(1) * np.array(down), from_mbps(1) * np.array(up))
    folder = tmp_path_factory.mktemp("traces")
    for form, name in (("csv", "x.csv"), ("pensieve", "x.log")):
        back = read_all(write(original, folder / name, form)[0], form)[0]
        assert passed(back) == pytest.approx(passed(original), rel=1e-9)
        assert back.edges_s[-1] == pytest.approx(edges_s[-1], rel=1e-9)
    assert passed(original.stepped(0.25)) == pytest.approx(passed(original), rel=1e-9)
    if passed(original) > 1500 < passed(original, "up"):
        back = read_all(write(original, folder / "x.down", "mahimahi")[0])[0]
        for way in ("down", "up"):
            assert abs(passed(back, way) - passed(original, way)) <= 750.001  # half a packet
        assert back.edges_s[-1] == pytest.approx(edges_s[-1])


def test_less_than_a_packet_has_no_mahimahi_trace(tmp_path):
    slow = Recording("x", np.array([0.0, 1.0]), np.array([100.0]), None)
    with pytest.raises(TraceError, match="carries 100 bytes: less than a packet"):
        write(slow, tmp_path / "x.down", "mahimahi")


@pytest.mark.reference
def test_measured_traces_are_read_and_their_index_agrees():
    if not SHARED.exists():
        pytest.skip(f"reference answers not found beside the project: {SHARED}")
    assert len(read_all(SHARED / "fcc_mba2016_5s" / "fcc_5s.csv")) == 1188
    found = read(SHARED / "mahimahi" / "TMobile-UMTS-driving.csv")
    assert passed(found) / found.edges_s[-1] == pytest.approx(from_mbps(2.02), rel=1e-3)
    assert passed(found, "up") / found.edges_s[-1] == pytest.approx(from_mbps(0.942), rel=1e-3)
    with (SHARED / "INDEX.csv").open(encoding="utf-8") as index:
        files = sorted({row["file"] for row in csv.DictReader(index)})
    assert len(files) > 400
    for file in files:  # every one, uplinks alone too
        assert all(each.first.mean() > 0 for each in read_all(SHARED / file))
