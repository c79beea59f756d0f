import pytest

from acesim.scenario.errors import Problem, ScenarioError, TraceError
from acesim.scenario.streams import PURPOSES, stream


def test_problems_name_place_value_and_rule():
    path = ("workers", 3, "access", "uplink")
    assert str(Problem(path, "-2 Mbps", "must be > 0", "x.yaml", 14)) == (
        "x.yaml:14: workers[3].access.uplink = -2 Mbps: must be > 0")
    assert str(Problem((), None, "is empty", "x.yaml")) == "x.yaml: is empty"
    assert str(Problem((), None, "is empty")) == "scenario: is empty"
    assert str(Problem(("name",), None, "missing")) == "name: missing"


def test_an_error_holds_every_problem():
    problems = [Problem(("a",), 1, "no"), Problem(("b",), 2, "no")]
    assert ScenarioError(problems).problems == tuple(problems)
    assert str(ScenarioError(problems)) == "a = 1: no\nb = 2: no"
    assert str(TraceError("t.csv", 3, "no")) == "t.csv:3: no"


def test_streams_differ_in_every_part_of_the_key():
    keys = [(0, "data", 0, 0), (1, "data", 0, 0), (0, "init", 0, 0), (0, "data", 1, 0), (0, "data", 0, 1)]
    draws = [stream(*key).integers(2**62) for key in keys]
    assert len(set(draws)) == len(keys)
    assert [stream(*key).integers(2**62) for key in keys] == draws
    assert PURPOSES[0] == "data"
    with pytest.raises(ValueError, match="not in tuple"):
        stream(0, "luck")
