import pytest
from pydantic import ValidationError

from acesim.scenario import ImageTask, OptimizerSpec, PluginTask, Scenario, dump, load, restore, to_yaml
from acesim.scenario.errors import ScenarioError
from acesim.scenario.tasks import ConvModel, DirichletPartition, LinearModel, LogNormalQuantity

WORKER = {"name": "a", "count": 2, "device": "n100", "access": {"kind": "lte"}}


def scenario(**task):
    return Scenario(name="x", task={"kind": "image-classification", **task}, nominal={"model": "same-as-proxy"},
                    workers=[WORKER])


def test_an_image_task_is_digits_an_mlp_and_a_dirichlet_partition_unless_said():
    task = ImageTask()
    assert (task.data.source, task.data.files, task.data.held_out) == ("digits", None, 0.2)
    assert task.model.hidden == (128,)
    assert task.partition == DirichletPartition(alpha=0.5, min_partition_size=10)
    assert ImageTask(data={"files": "x.npz"}).data.held_out is None  # the file may hold out by itself


def test_kinds_inside_a_task():
    found = scenario(model={"kind": "linear"}, partition={"quantity": {"kind": "log-normal", "sigma": 1}}).task
    assert found.model == LinearModel()
    assert found.partition.quantity == LogNormalQuantity(sigma=1.0)
    assert ImageTask(model=ConvModel(channels=(2,))).model.channels == (2,)


@pytest.mark.parametrize("task", [
    {"model": {"kind": "conv", "channels": [4], "hidden": [16]}, "partition": {"kind": "classes"}},
    {"partition": {"kind": "iid", "quantity": {"kind": "arithmetic", "ratio": 7}}, "optimizer": {"clip_norm": 2}},
    {"data": {"files": "x.npz", "held_out": 0.3}, "model": {"kind": "linear"}},
])
def test_an_image_task_survives_json_and_yaml(tmp_path, task):
    (tmp_path / "x.npz").touch()
    if "data" in task:
        task = {**task, "data": {**task["data"], "files": str(tmp_path / "x.npz")}}
    whole = scenario(**task)
    assert restore(dump(whole)) == whole
    (tmp_path / "s.yaml").write_text(to_yaml(whole), encoding="utf-8")
    assert load(tmp_path / "s.yaml") == whole


def test_an_example_counts_as_often_as_it_uses_a_parameter():
    assert scenario().nominal.tokens_per_step == {"cloud": 32, "edge": 32}
    assert scenario(model={"kind": "linear"}, batch_size=5).nominal.tokens_per_step["edge"] == 5
    assert scenario(model={"kind": "conv"}).nominal.tokens_per_step["edge"] == 691  # 32 x 21.59
    assert Scenario(name="x", task=PluginTask(name="mine", batch_size=7), nominal={"model": "same-as-proxy"},
                    workers=[WORKER]).nominal.tokens_per_step["edge"] == 7


def test_how_often_is_not_known_before_a_file_of_images_is_read():
    with pytest.raises(ValidationError, match="says nothing for worker group a"):
        scenario(model={"kind": "conv"}, data={"files": "x.npz"})
    given = Scenario(name="x", task={"kind": "image-classification", "model": {"kind": "conv"},
                                     "data": {"files": "x.npz"}}, workers=[WORKER],
                     nominal={"model": "same-as-proxy", "tokens_per_step": {"edge": 900}})
    assert given.nominal.tokens_per_step == {"edge": 900}


def test_files_start_from_the_scenarios_folder_and_must_be_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner").mkdir()
    text = "name: x\ntask: {kind: image-classification, data: {files: data.npz}}\n"
    (tmp_path / "inner" / "s.yaml").write_text(text, encoding="utf-8")
    wanted = tmp_path / "inner" / "data.npz"
    with pytest.raises(ScenarioError) as caught:
        load("inner/s.yaml")
    assert str(caught.value) == (f"inner/s.yaml:2: task.data.files = {wanted}: no such file; give an .npz, relative "
                                 "to the scenario's folder")
    wanted.touch()
    assert load("inner/s.yaml").task.data.files == str(wanted)


def test_the_rule_of_the_server():
    assert OptimizerSpec(schedule="step", clip_norm=1).clip_norm == 1.0
    assert OptimizerSpec().clip_norm is None


def test_parameters_of_a_plug_in_are_plain_values():
    assert PluginTask(name="x", parameters={"a": [1, "b"]}).parameters == {"a": [1, "b"]}
    with pytest.raises(ValidationError, match="finite number, text"):
        PluginTask(name="x", parameters={"a": {"b": 1}})
