import pytest

from acesim.scenario import load, load_document, override, override_keys
from acesim.scenario.errors import ScenarioError
from acesim.scenario.overrides import split
from acesim.scenario.units import Range, from_mbps


def told(source, *overrides):
    with pytest.raises(ScenarioError) as caught:
        load(source, overrides)
    return str(caught.value).splitlines()


def ratios(policies):
    return [policy.parameters["ratio"] for policy in policies]


@pytest.mark.parametrize(("assignment", "found", "expected"), [
    ("workers.xavier.access.uplink=20 Mbps", lambda s: s.workers[1].access.uplink_bytes_per_s,
     Range(2.5e6, 2.5e6)),
    ("workers.1.count=3", lambda s: s.workers[1].count, 3),
    ("workers[1].count = 3", lambda s: s.workers[1].count, 3),
    ("workers.*.access.rtt=50 ms", lambda s: {each.access.rtt_s for each in s.workers}, {Range(0.05, 0.05)}),
    ("policies.fedavg.local_steps=4", lambda s: s.policies[2].parameters, {"local_steps": 4}),
    ("policies.ace-sync.c_max=32", lambda s: s.policies[3].parameters, {"c_max": 32}),
    ("policies.full-sync.label=dense", lambda s: s.policies[0].label, "dense"),
    ("policies.top-k.ratio=0.1", lambda s: ratios(s.policies[1::7]), [0.1, 0.3]),
    ('policies."top-k bitmap".ratio=0.1', lambda s: ratios(s.policies[1::7]), [0.3, 0.1]),
    ("policies.top-k bitmap.ratio=0.1", lambda s: ratios(s.policies[1::7]), [0.3, 0.1]),
    ("policies=[full-sync]", lambda s: [p.name for p in s.policies], ["full-sync"]),
    ("task.optimizer.learning_rate=1e-2", lambda s: s.task.optimizer.learning_rate, 0.01),
    ("task={kind: quadratic, dimension: 8}", lambda s: s.task.dimension, 8),
    ("stop.simulated_time=2 h", lambda s: (s.stop.epochs, s.stop.simulated_time_s), (50, 7200)),
    ("nominal.tokens_per_step.edge=32 x 768", lambda s: s.nominal.tokens_per_step,
     {"cloud": 49152, "edge": 24576}),
    ("seeds=[4, 5]", lambda s: s.seeds, (4, 5)),
    ("seeds.0=9", lambda s: s.seeds, (9, 1, 2)),
    ("network.region_uplink=100Mbps", lambda s: s.network.region_uplink_bytes_per_s, from_mbps(100)),
    ("workers.cpu.access={kind: constant, downlink: 1 Mbps}", lambda s: s.workers[3].access.kind, "constant"),
])
def test_changes_what_it_names(assignment, found, expected):
    scenario = load("table1-sanity", [assignment])
    assert found(scenario) == expected


def test_in_order():
    assert load("table1", ["seeds=[1]", "seeds=[2]", "seeds.0=3"]).seeds == (3,)


def test_a_name_that_stands_twice_means_both_unless_one_is_labelled_so():
    both = ["policies=[{name: a, x: 1}, {name: a, x: 2}]"]
    assert [p.parameters for p in load("minimal", [*both, "policies.a.y=3"]).policies] == [
        {"x": 1, "y": 3}, {"x": 2, "y": 3}]
    one = load("minimal", [*both, 'policies."a x=2".x=5'])
    assert [p.parameters for p in one.policies] == [{"x": 1}, {"x": 5}]


def test_defaults_can_be_overridden_as_if_written(tmp_path):
    """Setting one thing in a section that the file leaves out does not lose the section's default."""
    file = tmp_path / "s.yaml"
    file.write_text("name: x\n")
    scenario = load(file, ["workers.xavier.count=3", "nominal.precision=bf16", "policies.top-k.ratio=.1"])
    assert scenario.workers[1].count == 3
    assert (scenario.nominal.model, scenario.nominal.precision) == ("transformer-350m", "bf16")
    assert scenario.policies[1].parameters == {"ratio": 0.1}


def test_what_is_no_assignment_is_told_at_once():
    """A pattern that tries every way to cut this text would not end."""
    assert told("table1", 60 * "a")[0].startswith(f"--set {60 * 'a'}: write key.path=value, for example ")


def test_mistakes_of_file_and_overrides_come_together(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text("name: x\nseeds: []\n")
    lines = told(file, "workers.nobody.count=1", "network.regions=0")
    assert [line.split(": ")[1] for line in lines] == ["seeds", "network.regions = 0", "workers"]


def test_the_document_given_is_not_changed():
    document = load_document("table1")
    before = document.plain()
    changed = override(document, "policies.full-sync.x=1")
    assert document.plain() == before
    assert changed.plain()["policies"][0] == {"name": "full-sync", "x": 1}


def test_keys_are_paths():
    document = load_document("table1")
    assert override_keys(document, "workers.*.count") == tuple(("workers", row, "count") for row in range(4))
    assert override_keys(document, "policies.fedavg.local_steps") == (("policies", 2, "local_steps"),)
    assert override_keys(document, "stop.total_bytes") == (("stop", "total_bytes"),)
    assert override_keys(document, "task.a.b") == (("task", "a", "b"),)


def test_split():
    assert split('policies."a.b=c".x = [1, 2]') == ('policies."a.b=c".x', "[1, 2]")
    assert split("a=b=c") == ("a", "b=c")
