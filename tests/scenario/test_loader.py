from pathlib import Path

import pytest

from acesim.scenario import content_hash, dump, load, restore, scenario_path, shipped_scenarios, to_yaml
from acesim.scenario.errors import Problem, ScenarioError


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a scenario file into the working directory, so that messages show its bare name."""
    monkeypatch.chdir(tmp_path)

    def written(text, name="s.yaml"):
        Path(name).write_text(text, encoding="utf-8")
        return name
    return written


def told(source, overrides=(), checks=()):
    with pytest.raises(ScenarioError) as caught:
        load(source, overrides, checks)
    return str(caught.value).splitlines()


def only(source, overrides=()):
    lines = told(source, overrides)
    assert len(lines) == 1, lines
    return lines[0]


# --- reading

def test_minimal(write):
    scenario = load(write("name: tiny\n"))
    assert scenario.name == "tiny"
    assert sum(group.count for group in scenario.workers) == 80
    assert scenario.nominal.model == "transformer-350m"


def test_numbers_and_units(write):
    scenario = load(write(
        "name: x\nstop: {epochs: 2, simulated_time: 2 h, total_bytes: 25 GB, target_accuracy: 80 %}\n"
        "task: {optimizer: {learning_rate: 8e-3, warm_up: 5 rounds, eps: 1e-8}}\n"
        "network: {region_uplink: 100 Mbps, message_header: 40 B, trace_step: 500 ms}\n"
        "nominal: {model: resnet-50, tokens_per_step: {edge: 8 x 160, cloud: 2k}}\n"))
    assert scenario.task.optimizer.learning_rate == 0.008
    assert scenario.task.optimizer.warm_up_rounds == 5
    assert scenario.stop.simulated_time_s == 7200
    assert scenario.stop.total_bytes == 25e9
    assert scenario.stop.target_accuracy_percent == 80
    assert scenario.network.region_uplink_bytes_per_s == 12.5e6
    assert scenario.network.message_header_bytes == 40
    assert scenario.network.trace_step_s == 0.5
    assert scenario.nominal.tokens_per_step == {"edge": 1280, "cloud": 2000}


def test_the_proxy_is_nominal_where_the_section_is_there_but_silent(write):
    scenario = load(write("name: x\nnominal: {precision: bf16}\n"))
    assert scenario.nominal.model == "same-as-proxy"
    assert scenario.nominal.tokens_per_step == {"cloud": 32, "edge": 32}


def test_anchors_work(write):
    scenario = load(write("name: x\nworkers:\n"
                          "  - {name: a, count: 1, device: n100, access: &l {kind: lte}}\n"
                          "  - {name: b, count: 2, device: n100, access: *l}\n"))
    assert scenario.workers[1].access == scenario.workers[0].access


def test_a_date_may_be_a_name(write):
    assert load(write("name: 2026-01-31\n")).name == "2026-01-31"


def test_a_byte_order_mark_is_harmless(write):
    assert load(write("\ufeffname: x\n")).name == "x"


def test_every_mistake_at_once_in_file_order(write):
    lines = told(write("name: x\nseeds: []\nnetwork:\n  region: 4\n  regions: 0\n  cloud_egress: 3\n"
                       "workers:\n  - 7\n  - {name: b}\npolicies: [{}]\n"))
    places = [line.split(": ")[1].split(" = ")[0] for line in lines]
    assert places == ["seeds", "network.region", "network.regions", "network.cloud_egress", "workers[0]",
                      "workers[1].count", "workers[1].device", "workers[1].access", "policies[0].name"]
    assert [int(line.split(":")[1]) for line in lines] == [2, 4, 5, 6, 8, 9, 9, 9, 10]


def test_files_that_cannot_be_read(write, tmp_path):
    assert only("quikstart") == ("quikstart: there is no such file or scenario; did you mean quickstart? "
                                 f"(shipped: {', '.join(shipped_scenarios())})")
    assert "is a folder" in only(tmp_path)
    (tmp_path / "s.yaml").write_bytes(b"name: \xff\n")
    assert only("s.yaml") == "s.yaml: cannot be read: not UTF-8 text (byte 7)"


def test_paths_start_from_the_file_they_are_written_in(write, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.txt").write_text("x")
    (tmp_path / "deep" / "t.csv").write_text("x")
    write("name: base\ntask: {corpus: {files: '*.txt'}}\nworkers:\n"
          "  - {name: a, count: 1, device: n100, access: {trace: t.csv}}\n", "deep/base.yaml")
    scenario = load(write("name: x\nextends: deep/base.yaml\n"))
    assert scenario.task.corpus.files == str(tmp_path / "deep" / "*.txt")
    assert scenario.workers[0].access.trace == str(tmp_path / "deep" / "t.csv")
    assert scenario.workers[0].access.kind == "trace"


# --- checks of other rooms

def test_checks_get_file_and_line(write):
    def device(scenario):
        yield Problem(("workers", 0, "device"), scenario.workers[0].device, "unknown device")

    def policy(scenario):
        raise ScenarioError([Problem(("policies", 1, "rato"), 3, "unknown parameter")])

    source = write("name: x\npolicies:\n  - a\n  - {name: b, rato: 3}\nworkers:\n"
                   "  - name: a\n    count: 1\n    device: n200\n    access: {kind: lte}\n")
    assert told(source, checks=[device, policy]) == ["s.yaml:4: policies[1].rato = 3: unknown parameter",
                                                     "s.yaml:8: workers[0].device = n200: unknown device"]


def test_checks_are_not_asked_about_a_scenario_that_is_none(write):
    assert len(told(write("name: x\nseeds: []\n"), checks=[lambda scenario: 1 / 0])) == 1


# --- extends

def test_mappings_merge_and_lists_replace(write):
    write("name: base\ndescription: of the base\nseeds: [1, 2]\n"
          "task: {batch_size: 3, model: {layers: 1, context: 8}}\n"
          "policies: [a, b]\n", "base.yaml")
    scenario = load(write("name: x\nextends: base.yaml\nseeds: [3]\ntask: {model: {layers: 4}}\n"
                          "policies: {append: [c]}\nworkers: {append: [{name: z, count: 1, device: n100, "
                          "access: {kind: wifi}}]}\n"))
    assert (scenario.name, scenario.description, scenario.seeds) == ("x", "", (3,))
    assert (scenario.task.batch_size, scenario.task.model.layers, scenario.task.model.context) == (3, 4, 8)
    assert [policy.name for policy in scenario.policies] == ["a", "b", "c"]
    assert [group.name for group in scenario.workers] == ["cloud", "xavier", "arm", "cpu", "z"]


def test_another_kind_replaces_whole(write):
    write("name: base\ntask: {kind: language-model, model: {layers: 1}, batch_size: 3}\n", "base.yaml")
    assert load(write("name: x\nextends: base.yaml\ntask: {kind: quadratic}\n")).task.batch_size == 1


def test_errors_point_into_the_file_they_are_in(write):
    write("name: base\nnetwork:\n  regions: 0\n", "base.yaml")
    assert told(write("extends: base.yaml\nname: x\nseeds: []\n")) == [
        "s.yaml:3: seeds: must not be empty", "base.yaml:3: network.regions = 0: must be >= 1"]


def test_a_name_is_not_inherited(write):
    assert only(write("extends: table1\n")) == "s.yaml:1: name: missing; write for example name: my-scenario"


@pytest.mark.parametrize(("text", "message"), [
    ("name: x\nextends: s.yaml\n", "s.yaml:2: extends = s.yaml: goes round in a circle: s.yaml -> s.yaml"),
    ("name: x\nextends: b.yaml\n",
     "b.yaml:1: extends = s.yaml: goes round in a circle: s.yaml -> b.yaml -> s.yaml"),
    ("name: x\nextends: [a]\n",
     "s.yaml:2: extends: must be the name of one scenario, for example table1.yaml"),
])
def test_circles(write, text, message):
    write("extends: s.yaml\n", "b.yaml")
    assert only(write(text)) == message


def test_a_base_that_is_not_there(write):
    assert only(write("name: x\nextends: tabel1\n")).startswith(
        "s.yaml:2: extends = tabel1: there is no such file or scenario; did you mean table1?")


# --- shipped

@pytest.mark.parametrize("name", shipped_scenarios())
def test_shipped_scenarios_load_and_survive(write, name):
    scenario = load(name)
    assert scenario.name == name
    assert restore(dump(scenario)) == scenario
    assert load(write(to_yaml(scenario))) == scenario
    assert load(scenario_path(name)) == scenario


def test_the_defaults_are_those_of_table_1():
    table, minimal = load("table1"), load("minimal")
    for section in ("workers", "network", "nominal", "servers"):
        assert getattr(minimal, section) == getattr(table, section)
    assert minimal.task == table.task
    assert len([line for line in scenario_path("minimal").read_text().splitlines() if line[0] != "#"]) == 4


def test_table_1():
    table = load("table1")
    assert [(group.name, group.count, group.device) for group in table.workers] == [
        ("cloud", 16, "a100"), ("xavier", 24, "jetson-agx-xavier"), ("arm", 24, "rk3588"),
        ("cpu", 16, "n100")]
    assert [policy.label for policy in table.policies] == ["full-sync", "top-k", "fedavg", "ace-sync"]
    sanity = load("table1-sanity")
    assert sanity.policies[:4] == table.policies
    assert [policy.name for policy in sanity.policies[4:]] == [
        "cloud-only", "local-only", "uniform-quantised", "full-sync-optimised", "top-k"]
    assert (sanity.workers, sanity.task, sanity.stop) == (table.workers, table.task, table.stop)


def test_quickstart():
    quickstart = load("quickstart")
    assert quickstart.task.model.d_model == 32
    assert quickstart.task.optimizer.learning_rate == 0.01
    assert [policy.label for policy in quickstart.policies] == ["full-sync", "top-k", "fedavg", "ace-sync"]
    assert quickstart.workers == load("table1").workers


# --- hashes

def test_hashes_see_content_and_nothing_else(write):
    one = load(write("name: x\nnetwork: {regions: 4}\nstop: {simulated_time: 60 min, epochs: 50}\n"))
    two = load(write("# the same\nstop: {epochs: 50.0, simulated_time: 1 h}\nname: x\n"))
    assert content_hash(one) == content_hash(two)
    other = load("table1", ["seeds=[7]"])
    assert content_hash(other) != content_hash(load("table1"))
    assert content_hash(other, ["seeds"]) == content_hash(load("table1"), ["seeds"])
    shorter = load("table1", ["stop.epochs=1"])
    assert content_hash(shorter, ["stop.epochs"]) == content_hash(load("table1"), ["stop.epochs"])
    with pytest.raises(KeyError, match="sedes"):
        content_hash(other, ["sedes"])
