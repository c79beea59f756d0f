"""Recipes are found by name, bound by signature, and read from files of one's own."""

import inspect
from types import SimpleNamespace

import pytest
from tests_support import small_scenario, small_setup

from acesim import study
from acesim.policies import RECIPES, build, check, describe, knobs, recipes, registry
from acesim.scenario.errors import PolicyError, ScenarioError

PLUGIN = """
from acesim.policies.recipes import full_sync

def mine(model_info, strength=2, *, name="x"):
    '''What it does.'''
    return full_sync(model_info)

POLICIES = {"mine": mine}
"""


@pytest.fixture
def plugin(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN, encoding="utf-8")
    return file


def test_parameters_are_those_of_the_signature_but_the_first():
    assert knobs(RECIPES["full-sync"]) == {}
    assert knobs(RECIPES["top-k"]) == {"ratio": 0.3, "index": "int32", "error_feedback": True, "fused": "whole",
                                      "startup_s": None, "s_per_byte": None}
    assert knobs(lambda info, must: None) == {"must": inspect.Parameter.empty}


def test_every_recipe_takes_what_it_may_know_first():
    for name, recipe in RECIPES.items():
        first, *rest = inspect.signature(recipe).parameters.values()
        assert first.name == "info", name
        assert all(each.kind is each.POSITIONAL_OR_KEYWORD for each in rest), name


def test_names_are_sorted_and_spelt_with_dashes():
    assert list(RECIPES) == sorted(RECIPES)
    assert all(name == name.lower().replace("_", "-") for name in RECIPES)


def test_a_plugin_joins_the_others(plugin):
    known = recipes([plugin])
    assert set(known) == {*RECIPES, "mine"}
    assert knobs(known["mine"]) == {"strength": 2, "name": "x"}
    assert describe(known["mine"])[0] == "What it does."
    assert build("mine", small_setup().info, {"strength": 3}, [plugin]) == build("full-sync", small_setup().info, {})


def test_a_plugin_is_not_remembered(plugin):
    recipes([plugin])
    with pytest.raises(PolicyError, match="mine: unknown policy"):
        build("mine", small_setup().info, {})


@pytest.mark.parametrize(("text", "rule"), [
    ("", "must define POLICIES"), ("POLICIES = []", "must define POLICIES"), ("POLICIES = {}", "must define POLICIES"),
    ("POLICIES = {'half-k': 3}", r"POLICIES\['half-k'\] = 3: must be a function or class"),
    ("POLICIES = {'map': map}", r"POLICIES\['map'\] = .*: must be a function or class whose parameters can be read"),
    ("POLICIES = {5: print}", r"POLICIES has the name 5: must be text; write \"5\""),
    ("POLICIES = [print]; TASKS = {'a': print}", r"POLICIES = .*: must be \{"),
    ("import nothing_of_this_name", "ModuleNotFoundError: No module named"),
    ("1 / 0", "ZeroDivisionError: division by zero"), ("def (", "SyntaxError")])
def test_a_plugin_that_cannot_be_used_says_why(tmp_path, text, rule):
    file = tmp_path / "broken.py"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(PolicyError, match=rf"--plugin .*broken\.py: {rule}"):
        recipes([file])


def test_a_plugin_that_is_not_there(tmp_path):
    with pytest.raises(PolicyError, match=r"--plugin .*absent\.py: no such (Python )?file"):
        recipes([tmp_path / "absent.py"])


def test_a_file_that_is_not_python(tmp_path):
    (tmp_path / "mine.txt").write_text(PLUGIN)
    with pytest.raises(PolicyError, match=r"mine\.txt: (not a|no such) Python file"):
        recipes([tmp_path / "mine.txt"])


def test_packages_offer_theirs(monkeypatch):
    points = [SimpleNamespace(name="of-a-package", load=lambda: RECIPES["fedavg"])]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "acesim.policies" else [])
    assert recipes()["of-a-package"] is RECIPES["fedavg"]


def test_a_parameter_that_must_be_given_is_asked_for(tmp_path):
    file = tmp_path / "needy.py"
    file.write_text("def needy(model_info, must): return None\nPOLICIES = {'needy': needy}\n")
    with pytest.raises(PolicyError, match=r"needy\(\): .*must"):
        build("needy", small_setup().info, {}, [file])


def test_a_recipe_that_returns_something_else(plugin):
    plugin.write_text("POLICIES = {'mine': lambda info: 3}")
    with pytest.raises(PolicyError, match=r"mine: returned 3; a recipe must return an acesim\.seam\.TreePolicy"):
        build("mine", small_setup().info, {}, [plugin])


def test_a_recipe_that_fails_is_shown_the_line_of_its_file(plugin):
    plugin.write_text("def mine(info):\n    return {}['uplink']\nPOLICIES = {'mine': mine}\n")
    with pytest.raises(PolicyError, match=r"mine: --plugin .*mine\.py: line 2: KeyError: 'uplink'"):
        build("mine", small_setup().info, {}, [plugin])


def test_a_recipe_that_fails_elsewhere_fails_as_it_is(monkeypatch, plugin):
    monkeypatch.setattr(registry, "RECIPES", {**RECIPES, "broken": lambda info: {}["uplink"]})
    with pytest.raises(KeyError, match="uplink"):
        build("broken", small_setup().info, {}, [plugin])


def test_a_scenario_is_told_every_policy_and_parameter_that_does_not_exist():
    policies = ["full-sync", {"name": "top-k", "rato": 0.1}, "topk", {"name": "fedavg", "x": 1}]
    scenario = small_scenario(policies=policies)
    problems = list(check(scenario))
    assert [(problem.path, problem.value) for problem in problems] == [
        (("policies", 1, "rato"), 0.1), (("policies", 2), "topk"), (("policies", 3, "x"), 1)]
    assert problems[0].rule.startswith("unknown parameter; did you mean ratio? (knows: ")
    assert problems[1].rule.startswith("unknown policy; did you mean top-k? (knows: ")


def test_what_a_recipe_is_told():
    """W, R with the data centre's region, steps of the whole run, nominal shapes; nothing of the network."""
    info = small_setup(epochs=2.5, cloud=2, edge=3).info
    assert info.tier == ("cloud",) * 2 + ("edge",) * 3
    assert (info.regions, info.steps_per_epoch, info.total_steps) == (3, 6, 15)
    assert info.size == info.nominal_size == 24
    assert sum(group.size for group in info.groups) == 24
    assert not {name for name in info.__dataclass_fields__ if "bandwidth" in name or "link" in name or "rtt" in name}
    large = small_setup(nominal={"model": "resnet-50", "tokens_per_step": {"cloud": 160, "edge": 160}}).info
    assert large.nominal_size == 25_557_032


def test_the_learning_rate_of_a_recipe_is_the_scenarios():
    rate = small_setup().info.optimizer.learning_rate(12)
    assert [round(rate(step), 4) for step in (0, 1, 2, 7, 12)] == [0.05, 0.1, 0.1, 0.05, 0.0]
    with pytest.raises(PolicyError, match="learning rate = 0: must be positive"):
        small_setup().info.optimizer.learning_rate(12, peak=0)


@pytest.mark.parametrize(("name", "parameters", "says"), [
    ("dgc-async", {"masking": "maybe"}, "dgc-async: masking = 'maybe': must be true or false"),
    ("dgc", {"masking": 1}, "dgc: masking = 1: must be true or false"),
    ("dgs", {"momentum": "big"}, "dgs: momentum = 'big': must be a number"),
    ("asgd", {"momentum": False}, "asgd: momentum = False: must be a number"),
    ("dgs", {"resync_every": "often"}, "dgs: resync_every = 'often': must be a whole number of versions"),
    ("dgs", {"secondary": [1]}, "dgs: secondary = [1]: must be a number or null"),
    ("dgs", {"secondary": 0}, "dgs: secondary = 0: must be a number in (0, 1], or null"),
    ("dgc", {"clip_norm": -1}, "dgc: clip_norm = -1: must be above 0, or null"),
    ("sketch-fusion", {"recover": 0}, "sketch-fusion: recover = 0: must be a number in (0, 1]"),
    ("ace-sync/paper", {"knapsack": "no"}, "ace-sync/paper: knapsack = 'no': must be true or false"),
])
def test_a_value_of_the_wrong_kind_is_named_as_it_was_written(name, parameters, says):
    with pytest.raises(PolicyError) as caught:
        build(name, small_setup().info, parameters)
    assert str(caught.value).startswith(says)


def test_annotations_that_are_no_plain_kinds_are_not_looked_at(plugin):
    plugin.write_text(PLUGIN.replace("strength=2", "strength: list[int] = ()"), encoding="utf-8")
    assert build("mine", small_setup().info, {"strength": "any"}, [plugin])


@pytest.mark.parametrize(("policy", "rule"), [
    ("{name: fedavg, local_steps: 1000}", r"policies\[0\].local_steps = 1000: more than the 240 steps"),
    ("{name: ace-sync, h_min: 1000, h_max: 1000}", "more than the 240 steps of the whole run"),
    ("{name: fedavg, weight_decay: -1.0}", "weight_decay = -1.0: must be >= 0"),
    ("{name: ace-sync, c: 1" + 30 * "0" + "}", "a whole number must be at most 1e.09, either way")])
def test_what_no_run_could_do_is_refused(policy, rule, tmp_path):
    (tmp_path / "s.yaml").write_text(f"name: s\npolicies: [{policy}]\nstop: {{epochs: 10}}\n")
    with pytest.raises(ScenarioError, match=rule):
        study.read_scenario(tmp_path / "s.yaml")
