import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acesim.scenario import (
    Access,
    Range,
    Scenario,
    WorkerGroup,
    dump,
    load,
    load_document,
    restore,
    schema,
    to_yaml,
)
from acesim.scenario.document import Place, read_text
from acesim.scenario.errors import ScenarioError
from acesim.scenario.library import scenario_path, shipped_scenarios
from acesim.scenario.loader import load as load_file


def test_dump_is_plain_json():
    plain = dump(load("table1"))
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["workers"][1]["access"]["uplink_bytes_per_s"] == {"low": 625e3, "high": 25e6}
    assert plain["task"]["optimizer"]["warm_up_rounds"] == 20


def test_yaml_says_everything_with_units():
    scenario = load("quickstart")
    text = to_yaml(scenario)
    for line in ("region_uplink: 500 Mbps", "warm_up: 20 rounds", "trace_period: 1024 s",
                 "message_header: 64 B", "- full-sync", f"stop: {{epochs: {scenario.stop.epochs:g}}}"):
        assert line in text
    assert max(map(len, text.splitlines())) <= 140


rates = st.floats(1, 1e12).map(lambda rate: Range(rate, rate * 1.5))


@settings(max_examples=30, deadline=None)
@given(up=st.none() | rates, down=st.none() | rates,
       rtt=st.none() | st.floats(0, 10).map(lambda rtt: Range(rtt, rtt)),
       ratio=st.floats(0.001, 1), count=st.integers(1, 99),
       seeds=st.lists(st.integers(0, 9), min_size=1, unique=True),
       description=st.text(st.characters(codec="ascii", categories=["L", "N", "P", "Zs"]), max_size=20))
def test_any_scenario_survives_its_own_yaml(tmp_path_factory, up, down, rtt, ratio, count, seeds,
                                            description):
    access = Access(kind="5g", uplink_bytes_per_s=up, downlink_bytes_per_s=down, rtt_s=rtt)
    scenario = Scenario(name="x", description=description, seeds=seeds,
                        policies=[{"name": "top-k", "ratio": ratio}],
                        workers=[WorkerGroup(name="a", count=count, device="n100", access=access)])
    file = tmp_path_factory.mktemp("yaml") / "s.yaml"
    file.write_text(to_yaml(scenario), encoding="utf-8")
    assert load(file) == scenario
    assert restore(dump(scenario)) == scenario


@pytest.mark.parametrize("name", shipped_scenarios())
def test_shipped_files_fulfil_the_json_schema(name):
    jsonschema = pytest.importorskip("jsonschema")
    written = read_text(scenario_path(name).read_text(encoding="utf-8"), Place()).plain()
    validator = jsonschema.Draft202012Validator(schema())
    assert [error.message for error in validator.iter_errors(written)] == []
    assert list(validator.iter_errors({**written, "networks": {}}))
    assert list(validator.iter_errors({**written, "network": {"region_uplink": "500"}}))


def test_the_schema_is_of_the_file_not_of_the_attributes():
    written = json.dumps(schema())
    assert "uplink_bytes_per_s" not in written
    assert "warm_up" in written


values = st.recursive(st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.sampled_from(
    ["lte", "a", "20 Mbps", "", "cloud", "quadratic", "trace", "64 x 3", "../x", "*"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.sampled_from(["name", "kind", "append", "x", "low", "parameters"]), inner, max_size=2),
    max_leaves=4)


def paths(plain, done=()):
    yield done
    items = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for key, inner in items:
        yield from paths(inner, (*done, key))


TABLE_1 = load_document("table1").plain()
PATHS = [path for path in paths(TABLE_1) if path]


@settings(max_examples=80, deadline=None)
@given(path=st.sampled_from(PATHS), value=values)
def test_whatever_is_written_anywhere_is_loaded_or_refused_in_plain_words(tmp_path_factory, path, value):
    plain = copy.deepcopy(TABLE_1)
    section = plain
    for step in path[:-1]:
        section = section[step]
    section[path[-1]] = value
    file = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    file.write_text(json.dumps(plain, allow_nan=True).replace("NaN", ".nan").replace("Infinity", ".inf"))
    try:
        scenario = load_file(file)
    except ScenarioError as error:
        for problem in error.problems:
            assert problem.line == 1
            assert "cannot be used here" not in str(problem)
            assert "nput should" not in str(problem)
            assert "\n" not in str(problem)
    else:
        assert restore(dump(scenario)) == scenario
