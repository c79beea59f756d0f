"""The flows file: reference answers of SimGrid, and every way to get it wrong."""

import json
import math
from pathlib import Path

import pytest

from acesim.network.replay import LEAST, MOST, MOST_S, MOST_WEIGHT, replay
from acesim.scenario.errors import ScenarioError, TraceError

REFERENCE = Path(__file__).resolve().parents[2].parent / "shared" / "validation" / "flows"
NAMES = ("c0_hand", "c1_shared_core", "c3_tree", "c5_parkinglot")


@pytest.mark.reference
@pytest.mark.parametrize("name", NAMES)
def test_against_simgrid(name):
    source, answer = REFERENCE / f"{name}.in.json", REFERENCE / f"{name}.simgrid.json"
    if not source.exists():
        pytest.skip(f"reference answers not found beside the project: {source}")
    finish = replay(json.loads(source.read_text()))
    expected = json.loads(answer.read_text())["finish"]
    assert {str(key): end_s for key, end_s in finish.items()} == pytest.approx(expected, rel=1e-9)


@pytest.mark.reference
def test_every_reference_is_held_against():
    if not REFERENCE.exists():
        pytest.skip(f"reference answers not found beside the project: {REFERENCE}")
    assert sorted(path.name.removesuffix(".in.json") for path in REFERENCE.glob("*.in.json")) == list(NAMES)


LINK = {"id": "a", "bw": 10.0, "lat": 0.25}
FLOW = {"id": 0, "start": 0, "size": 20, "route": ["a"]}


def test_latency_takes_no_capacity_and_a_profile_holds_its_last_rate():
    """The second flow enters the link at 1.25 s; from 2 s on it carries 4 bytes/s."""
    link = LINK | {"profile": [[2.0, 4.0]]}
    # alone .25-1.25: 10 bytes; shared 1.25-2: 3.75 each; then 2 bytes/s each: 6.25 take 3.125 s
    finish = replay({"links": [link], "flows": [FLOW, FLOW | {"id": "b", "start": 1, "size": 10.0}]})
    assert finish == {0: 5.125, "b": 5.125}


def test_weights_and_latency_share_a_link():
    """Twice the weight, or half the latency, twice the rate: 20 and 10 bytes over 10 bytes/s both take 3 s."""
    flows = [FLOW | {"weight": 2}, FLOW | {"id": 1, "size": 10}]
    assert replay({"links": [LINK], "flows": flows}) == {0: 3.25, 1: 3.25}
    far = {"id": "b", "bw": 100, "lat": 0.25}
    flows = [FLOW | {"start": 0.25}, FLOW | {"id": 1, "size": 10, "route": ["b", "a"]}]
    assert replay({"links": [LINK, far], "flows": flows, "sharing": "rtt"}) == {0: 3.5, 1: 3.5}


def test_tcp_is_set_up_and_pays_for_headers():
    """.25 s there, .5 s set-up, then 1448 bytes in full packets of 1500 over 10 bytes/s."""
    links, flows = [LINK | {"bw": 1000}], [FLOW | {"size": 1448}]
    for transport in ("tcp", {"kind": "tcp", "initial_window": 2, "queue_packets": None, "window_bytes": None}):
        assert replay({"links": links, "flows": flows, "transport": transport}) == {0: pytest.approx(2.25)}
    faster = replay({"links": links, "flows": flows, "transport": {"kind": "tcp", "header": 0, "setup_rtts": 0}})
    assert faster == {0: pytest.approx(1.698)}


def test_a_profile_may_start_with_an_outage():
    link = LINK | {"bw": 0, "lat": 0, "profile": [[5, 10]]}
    assert replay({"note": "", "units": "", "links": [link], "flows": [FLOW]}) == {0: 7.0}


@pytest.mark.parametrize(("change", "rule"), [
    ({"lnks": []}, "lnks: unknown key"),
    ({"links": []}, "links = []: must be a list with at least one entry"),
    ({"flows": None}, "flows: must be a list"),
    ({"sharing": "fair"}, "sharing = fair: must be equal or rtt"),
    ({"sharing": "rtt", "links": [LINK | {"lat": 0}]}, "flows[0].route = ['a']: needs a link with lat > 0"),
    ({"transport": "udp"}, 'transport = udp: must be "fluid", "tcp" or'),
    ({"transport": {"kind": "fluid"}}, 'must be "fluid", "tcp" or'),
    ({"transport": {"kind": "tcp", "buffer": 3}}, "transport.buffer: unknown key (knows: kind, mss,"),
    ({"transport": {"kind": "tcp", "mss": 0}}, "transport.mss = 0: must be a whole number >= 1"),
    ({"transport": {"kind": "tcp", "initial_window": None}}, "transport.initial_window: must be a whole number"),
    ({"transport": {"kind": "tcp", "window_bytes": 0}}, "transport.window_bytes = 0: must be a number >= 1"),
    ({"transport": {"kind": "tcp", "loss": 1}}, "transport.loss = 1: must be a share < 1"),
    ({"transport": {"kind": "tcp", "congestion": "vegas"}}, "transport.congestion = vegas: must be one of cubic, reno"),
    ({"links": [LINK | {"bw": -1}]}, "links[0].bw = -1: must be a number >= 0"),
    ({"links": [LINK | {"bw": 0}]}, "links[0].bw = 0: must be > 0 at some time"),
    ({"links": [LINK | {"profile": [[1, 2], [1, 3]]}]}, "links[0].profile: times must ascend"),
    ({"links": [LINK | {"profile": [1, 2]}]}, "links[0].profile = [1, 2]: must be a list of"),
    ({"links": [LINK, LINK]}, "links[1].id = a: is given twice"),
    ({"links": [{"id": "a", "bw": 1.0}]}, "links[0].lat: is missing"),
    ({"links": ["a"]}, "links[0] = a: must be an object"),
    ({"flows": [FLOW | {"route": []}]}, "flows[0].route = []: must be a list of link ids"),
    ({"flows": [FLOW | {"route": ["a", "z"]}]}, "flows[0].route[1] = \"z\": no such link (knows: \"a\")"),
    ({"links": [LINK | {"id": 1}], "flows": [FLOW | {"route": ["1"]}]}, 'route[0] = "1": no such link (knows: 1)'),
    ({"flows": [FLOW | {"route": [True]}], "links": [LINK | {"id": 1}]}, "route[0] = true: no such link (knows: 1)"),
    ({"links": [LINK | {"id": True}]}, "links[0].id = True: must be text or a whole number"),
    ({"links": [LINK | {"bw": 1e300}]}, "links[0].bw = 1e+300: must be a number >= 0 and <= 1e+18"),
    ({"links": [LINK | {"bw": 1e-300}]}, "links[0].bw = 1e-300: must be a number >= 0 and <= 1e+18, and 0 or >= 1e-09"),
    ({"links": [LINK | {"lat": 1e-320}], "sharing": "rtt"}, "and 0 or >= 1e-09 (seconds, one way)"),
    ({"flows": [FLOW | {"weight": 1e300}]}, "flows[0].weight = 1e+300: must be a number > 0, from 1e-09 to 1e+09"),
    ({"flows": [FLOW | {"weight": 1e9}, FLOW | {"id": 1, "weight": 1e-4}]}, "flows[1].weight = 0.0001: gives it less"),
    ({"transport": {"kind": "tcp", "header": 65536}}, "transport.header = 65536: must be a whole number >= 0 and <="),
    ({"flows": [FLOW | {"route": ["a", "a"]}]}, "flows[0].route[1] = a: is in the route twice"),
    ({"flows": [FLOW | {"size": "20 MB"}]}, "flows[0].size = 20 MB: must be a number >= 0"),
    ({"flows": [FLOW | {"start": float("nan")}]}, "flows[0].start = nan"),
    ({"flows": [FLOW | {"weight": 0}]}, "flows[0].weight = 0: must be a number > 0"),
    ({"flows": [FLOW | {"id": [1]}]}, "flows[0].id = [1]: must be text or a whole number"),
])
def test_what_is_wrong_is_named(change, rule):
    with pytest.raises(ScenarioError) as caught:
        replay({"links": [LINK], "flows": [FLOW]} | change)
    assert rule in str(caught.value)


@pytest.mark.parametrize("transport", ["fluid", "tcp"])
@pytest.mark.parametrize("size", [LEAST, MOST])
@pytest.mark.parametrize("bw", [LEAST, MOST])
def test_what_is_allowed_has_an_end(transport, size, bw):
    for lat, start, weight in ((LEAST, 0, LEAST), (MOST_S, MOST_S, MOST_WEIGHT), (0, MOST_S, 1)):
        links = [{"id": "a", "bw": bw, "lat": lat}]
        flows = [FLOW | {"size": size, "start": start, "weight": weight}, FLOW | {"id": 1, "weight": weight}]
        assert max(replay({"links": links, "flows": flows, "transport": transport}).values()) < math.inf


def test_all_problems_at_once():
    with pytest.raises(ScenarioError) as caught:
        replay({"links": [LINK | {"bw": "fast", "lat": -1}], "flows": [FLOW | {"size": -1, "start": -1}]})
    assert len(caught.value.problems) == 4
    with pytest.raises(ScenarioError, match="must be an object with links and flows"):
        replay([1])


def test_a_transfer_that_can_never_end():
    link = LINK | {"profile": [[1.0, 0.0]]}
    with pytest.raises(TraceError, match="nothing moves any more"):
        replay({"links": [link], "flows": [FLOW]})
