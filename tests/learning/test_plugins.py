"""The task of docs/tasks.md, as it stands there, and what is told to who gets one wrong."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from acesim import learning
from acesim.learning.tasks import reference_gradient
from acesim.scenario.errors import PolicyError, ScenarioError
from acesim.scenario.tasks import PluginTask

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tasks.md"
TIERS = ["cloud"] * 2 + ["edge"] * 4


@pytest.fixture
def file(tmp_path):
    """The example of the page, written to a file."""
    code, = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(code.splitlines()) <= 40
    path = tmp_path / "sensors.py"
    path.write_text(code, "utf-8")
    return path


def spec(**parameters):
    return PluginTask(name="sensors", parameters=parameters, batch_size=4)


def test_the_example_of_the_page_keeps_the_contract(file):
    task = learning.build(spec(features=20), TIERS, 3, [file])
    assert task.size == task.groups[-1].stop == task.initial(0).size == 20
    workers, steps = [0, 2, 5], [3, 0, 8]
    model = np.random.default_rng(0).standard_normal(20)
    wanted, _ = reference_gradient(task, model, workers, steps)
    exact, _ = task.reference().gradient(model, task.batches(workers, steps))
    assert np.array_equal(exact, wanted)
    step = np.zeros(20)
    step[7] = 1e-6
    batch = task.batches(workers, steps)
    up, down = (task.gradient(model + sign * step, batch)[1] for sign in (1, -1))
    assert np.allclose((up - down) / 2e-6, wanted[:, 7], atol=1e-6)
    assert task.evaluate(task.truth).loss_nats == 0
    assert task.evaluate_each([model] * 6) == pytest.approx(task.evaluate(model), nan_ok=True)
    assert task.evaluate(np.zeros(20)).loss_nats == pytest.approx(task.yardsticks()["zero_nats"])


def test_the_example_of_the_page_learns(file):
    task = learning.build(spec(bias=0.0), TIERS, 3, [file])
    model = task.initial(0)
    for step in range(60):
        gradients, _ = task.gradient(model, task.batches(range(6), [step] * 6))
        model = model - 0.3 * gradients.mean(axis=0)
    assert task.evaluate(model).loss_nats < 0.01 * task.evaluate(task.initial(0)).loss_nats


@pytest.mark.parametrize(("wrong", "message"), [
    (PluginTask(name="sensor"), r"task\.name = sensor: unknown task; did you mean sensors\? \(knows: sensors\)"),
    (spec(feature=3), r"task\.parameters\.feature = 3: unknown parameter; did you mean features\?"),
    (spec(features="x"), r"task\.parameters: sensors: "),
])
def test_mistakes_in_a_scenario(file, wrong, message):
    with pytest.raises(ScenarioError, match=message):
        learning.build(wrong, TIERS, 0, [file])


def test_without_a_file_there_is_none():
    with pytest.raises(ScenarioError, match=r"knows: none\); give a file with TASKS = .* by --plugin"):
        learning.build(spec(), TIERS, 0)


@pytest.mark.parametrize(("code", "message"), [("1 / 0", "ZeroDivisionError: division by zero"),
                                               ("x = (", "SyntaxError: ")])
def test_a_file_that_breaks(tmp_path, code, message):
    (tmp_path / "bad.py").write_text(code, "utf-8")
    with pytest.raises(PolicyError, match=rf"--plugin .*bad\.py: {message}"):
        learning.build(spec(), TIERS, 0, [tmp_path / "bad.py"])
    with pytest.raises(PolicyError, match="no such Python file"):
        learning.build(spec(), TIERS, 0, [tmp_path / "none.py"])


@pytest.mark.parametrize(("code", "message"), [
    ("TASKS = {'sensors': 3}", r"TASKS\['sensors'\] = 3: must be a function or class"),
    ("TASKS = {5: print}", "TASKS has the name 5: must be text"),
])
def test_a_file_that_offers_no_builder(tmp_path, code, message):
    (tmp_path / "bad.py").write_text(code, "utf-8")
    with pytest.raises(PolicyError, match=rf"--plugin .*bad\.py: {message}"):
        learning.build(spec(), TIERS, 0, [tmp_path / "bad.py"])


@pytest.mark.parametrize(("change", "message"), [
    ("del Sensors.yardsticks", "has no yardsticks; must have size, shapes, "),
    ("task.groups = (Group('a', 0, 3), Group('b', 4, 8))",
     "groups = a 0:3, b 4:8: must follow each other without gaps, from 0 to size = 8"),
    ("task.groups = (Group('a', 0, 7),)", "groups = a 0:7: must follow"),
    ("task.groups = ()", "groups = none: must follow"),
    ("task.groups = ((0, 8),)", r"groups = \(\(0, 8\),\): each must be an acesim\.seam\.Group"),
    ("task.shapes = ((2, 3),)", r"shapes = \(\(2, 3\),\): hold 6 parameters; must hold size = 8"),
])
def test_a_task_that_breaks_the_contract_is_refused_before_it_runs(file, change, message):
    lines = ["def spoilt(*given):", "    task = Sensors(*given)", f"    {change}", "    return task",
             'TASKS = {"sensors": spoilt}']
    file.write_text("\n".join([file.read_text("utf-8"), *lines]), "utf-8")
    with pytest.raises(PolicyError, match=rf"--plugin .*sensors\.py: task sensors: {message}"):
        learning.build(spec(), TIERS, 0, [file])


def test_a_file_of_policies_alone_has_no_tasks(tmp_path):
    (tmp_path / "policies.py").write_text("POLICIES = {'a': print}\n", "utf-8")
    with pytest.raises(ScenarioError, match="unknown task"):
        learning.build(spec(), TIERS, 0, [tmp_path / "policies.py"])


def test_a_builder_that_fails_is_shown_the_line_of_its_file(tmp_path):
    (tmp_path / "bad.py").write_text("def sensors(tiers, seed, batch_size):\n    return {}['x']\n"
                                     "TASKS = {'sensors': sensors}\n", "utf-8")
    with pytest.raises(PolicyError, match=r"task sensors: --plugin .*bad\.py: line 2: KeyError: 'x'"):
        learning.build(PluginTask(name="sensors"), TIERS, 0, [tmp_path / "bad.py"])
