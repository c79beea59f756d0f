import pytest
from pydantic import ValidationError

from acesim.scenario import (
    Access,
    Corpus,
    NetworkSpec,
    OptimizerSpec,
    PolicySpec,
    QuadraticTask,
    Range,
    Scenario,
    Stop,
    TransformerSpec,
    WorkerGroup,
    dump,
    restore,
)
from acesim.scenario.labels import label_problems, labels
from acesim.scenario.schema import TcpSpec


def lte(**more):
    return WorkerGroup(name="a", count=2, device="rk3588", access=Access(kind="lte"), **more)


def test_python_takes_si_numbers_by_the_attributes_own_names():
    access = Access(kind="lte", uplink_bytes_per_s=Range(1, 2), rtt_s=0.05, offset_s=0)
    assert access.uplink_bytes_per_s == Range(1, 2)
    assert access.rtt_s == Range(0.05, 0.05)
    assert NetworkSpec(region_uplink_bytes_per_s=3).region_uplink_bytes_per_s == 3.0
    assert Access(kind="lte", uplink="5-200 Mbps").uplink_bytes_per_s == Range(625e3, 25e6)


@pytest.mark.parametrize("value", [-1, 0, float("nan"), float("inf"), True, Range(-2, -1),
                                   {"low": 2, "high": 1}, "x", [1]])
def test_python_numbers_are_checked_too(value):
    with pytest.raises(ValidationError):
        Access(kind="lte", uplink_bytes_per_s=value)


def test_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        lte().count = 3


def test_a_data_centre_has_usual_rates():
    access = Access(kind="datacenter")
    assert (access.downlink_bytes_per_s, access.uplink_bytes_per_s, access.rtt_s) == (
        Range(1.25e9, 1.25e9), Range(1.25e9, 1.25e9), Range(0.0005, 0.0005))
    assert Access(kind="datacenter", uplink_bytes_per_s=5).uplink_bytes_per_s == Range(5, 5)
    assert Access(kind="lte").downlink_bytes_per_s is None


def test_tiers():
    assert lte().tier == "edge"
    assert lte(tier="cloud").tier == "cloud"
    assert WorkerGroup(name="a", count=1, device="x", access={"kind": "datacenter"}).tier == "cloud"


def test_a_trace_says_its_kind():
    assert Access(trace="x.csv").kind == "trace"


@pytest.mark.parametrize(("fact", "arguments", "rule"), [
    (Access, {"kind": "trace"}, "needs a file"),
    (Access, {"kind": "lte", "trace": "x"}, "is for kind trace"),
    (Access, {"kind": "lte", "end": "hold"}, "offset and end are for kind trace"),
    (Access, {"kind": "constant"}, "no usual rate"),
    (Corpus, {"source": "python-docs", "files": "x"}, "not both"),
    (TransformerSpec, {"heads": 5}, "multiple of heads"),
    (OptimizerSpec, {"momentum": 0.9}, "belong to sgd"),
    (OptimizerSpec, {"name": "sgd", "nesterov": True}, "needs a momentum"),
    (NetworkSpec, {"trace_step": "3 s"}, "multiple of trace_step"),
    (NetworkSpec, {"transport": "udp"}, "must be fluid, tcp, or a mapping"),
    (NetworkSpec, {"transport": {"kind": "tcp", "loss": "100 %"}}, "less than 100"),
    (NetworkSpec, {"transport": {"kind": "tcp", "congestion": "vegas"}}, "'cubic', 'reno' or 'bbr'"),
    (NetworkSpec, {"transport": {"kind": "tcp", "windw": "4 MB"}}, "windw"),
    (NetworkSpec, {"region_uplink": "5-200 Mbps"}, "one value"),
    (Stop, {"simulated_time": "1 h"}, "must be given"),
    (Scenario, {"name": "x", "seeds": [1, 1]}, "seed 1 stands 2 times"),
    (Scenario, {"name": "x", "policies": ["a", "a"]}, "labelled a"),
    (Scenario, {"name": "../x"}, "cannot name a folder"),
    (PolicySpec, {"name": "x", "ratio": {"a": 1}}, "finite number, text"),
])
def test_what_does_not_go_together(fact, arguments, rule):
    with pytest.raises(ValidationError, match=rule):
        fact(**arguments)


def test_transport_is_a_word_or_a_mapping():
    assert NetworkSpec().transport == NetworkSpec(transport="fluid").transport == "fluid"
    assert NetworkSpec(transport="tcp").transport == TcpSpec()
    spec = NetworkSpec(transport={"kind": "tcp", "window": "4 MB", "loss": "0.1 %", "congestion": "bbr"}).transport
    assert (spec.window_bytes, spec.loss_percent, spec.congestion, spec.mss_bytes) == (4e6, 0.1, "bbr", 1448)
    scenario = Scenario(name="x", network={"transport": spec})
    assert restore(dump(scenario)) == scenario
    assert dump(Scenario(name="x"))["network"]["transport"] == "fluid"


def test_defaults_are_table_1():
    scenario = Scenario(name="x")
    assert [(group.name, group.count, group.tier) for group in scenario.workers] == [
        ("cloud", 16, "cloud"), ("xavier", 24, "edge"), ("arm", 24, "edge"), ("cpu", 16, "edge")]
    assert [policy.label for policy in scenario.policies] == ["full-sync", "top-k", "fedavg", "ace-sync"]
    assert scenario.nominal.tokens(scenario.workers[1]) == 64 * 768
    assert scenario.stop.epochs == 50
    assert scenario.network.region_uplink_bytes_per_s == 62.5e6


def test_the_kind_of_task_is_language_model_unless_said():
    assert Scenario(name="x", task={"batch_size": 4}).task.model.d_model == 48
    assert isinstance(Scenario(name="x", task={"kind": "quadratic"}).task, QuadraticTask)
    assert isinstance(Scenario(name="x", task=QuadraticTask()).task, QuadraticTask)


def test_policies_are_names_or_mappings():
    scenario = Scenario(name="x", policies=["full-sync", {"name": "top-k", "ratio": 0.3, "levels": [1, 2.5]},
                                            PolicySpec(name="ace-sync/flat", parameters={"gamma": 1.0})])
    assert [policy.parameters for policy in scenario.policies] == [
        {}, {"ratio": 0.3, "levels": [1, 2.5]}, {"gamma": 1.0}]
    assert scenario.policies[2].label == "ace-sync/flat"
    assert scenario.policies[2].folder == "ace-sync+flat"


def test_parameters_keep_their_types():
    given = {"whole": 1, "real": 1.0, "flag": True, "text": "1", "nothing": None, "list": [True, "a", 2]}
    spec = PolicySpec(name="x", parameters=given)
    assert [(type(value), value) for value in spec.parameters.values()] == [
        (type(value), value) for value in given.values()]


@pytest.mark.parametrize(("policies", "expected"), [
    ([("a", None, {}), ("b", None, {"x": 1})], ["a", "b"]),
    ([("a", None, {"x": 1}), ("a", None, {"x": 2})], ["a x=1", "a x=2"]),
    ([("a", None, {"x": 1, "y": True}), ("a", "mine", {"x": 1}), ("a", None, {"x": 1})],
     ["a y=true", "mine", "a"]),
    ([("a", None, {"x": [1, 2]}), ("a", None, {"x": None})], ["a x=1,2", "a x=None"]),
])
def test_labels(policies, expected):
    assert labels(policies) == expected


@pytest.mark.parametrize("label", ["..", ".a", "a/../b", "a/", "/a", "a b ", "a:b", "a\\b", "cells",
                                   "a" * 101, "é", "a."])
def test_labels_that_cannot_be_folders(label):
    assert label_problems([label])


def test_labels_that_differ_only_where_some_file_systems_do_not():
    assert [row for row, _ in label_problems(["Top-k", "top-k", "c"])] == [0, 1]
    assert not label_problems(["ace-sync/flat", "top-k index=auto", "a (1.5%)"])


def test_a_scenario_survives_json():
    scenario = Scenario(name="x", workers=[lte()], policies=["a", {"name": "b", "x": [1, 2]}])
    assert restore(dump(scenario)) == scenario
