"""Studies: what is computed, what is reused, what is refused, and what is left on disk."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

import acesim
from acesim import study
from acesim.records import orders
from acesim.records.orders import orders_of
from acesim.records.read import find
from acesim.scenario import load
from acesim.scenario.errors import ResultMissing, ScenarioError
from acesim.study import RunProgress, Study, attempt, execute, read_scenario, run

TINY = """
name: tiny
seeds: [0, 1]
stop: {epochs: 4}
task: {kind: quadratic, dimension: 16, steps_per_epoch: 3, optimizer: {name: sgd, learning_rate: 2e-2}}
nominal: {model: same-as-proxy}
workers:
  - {name: cloud, count: 2, device: a100, access: {kind: datacenter}}
  - {name: edge, count: 3, device: n100, access: {kind: lte, downlink: 20 Mbps, uplink: 5 Mbps, rtt: 60 ms}}
network: {regions: 1}
policies: [full-sync, {name: top-k, ratio: 0.25}]
"""


@pytest.fixture
def out(tmp_path):
    return tmp_path / "results"


def test_a_study_is_laid_out_as_promised(fake, out):
    found = run("quickstart", seeds=[0, 3], jobs=1, out=out, runner=fake)
    assert fake.asked == [(label, seed) for seed in (0, 3) for label in ("full-sync", "top-k", "fedavg", "ace-sync")]
    assert found.path == out / "quickstart"
    names = sorted(path.name for path in (out / "quickstart" / "ace-sync" / "seed-3").iterdir())
    assert names == ["events", "manifest.json", "metrics.parquet", "model.npz"]
    listed = json.loads((out / "quickstart" / "study.json").read_text())
    assert [run["folder"] for run in listed["runs"]][:2] == ["full-sync/seed-0", "top-k/seed-0"]
    assert listed["scenario"]["task"]["model"]["d_model"] == 32
    assert found.compare()["label"].tolist() == ["full-sync", "top-k", "fedavg", "ace-sync"]
    assert found.compare(view_of="time")["label"].tolist() == ["full-sync", "top-k", "fedavg", "ace-sync"]


def test_finished_runs_are_reused_and_new_ones_added(fake, out):
    run("quickstart", ["full-sync"], jobs=1, out=out, runner=fake)
    again = run("quickstart", ["full-sync", "top-k"], [0, 1], jobs=1, out=out, runner=fake)
    assert fake.asked == [("full-sync", 0), ("top-k", 0), ("full-sync", 1), ("top-k", 1)]
    assert [(record.label, record.seed) for record in again.records] == [
        ("full-sync", 0), ("full-sync", 1), ("top-k", 0), ("top-k", 1)]


def test_fresh_computes_again(fake, out):
    run("quickstart", ["full-sync", "top-k"], jobs=1, out=out, runner=fake)
    found = run("quickstart", ["top-k"], jobs=1, out=out, runner=fake, fresh=True)
    assert fake.asked[2:] == [("top-k", 0)]
    assert [record.label for record in found.records] == ["full-sync", "top-k"]  # of the others nothing is lost


def test_a_run_that_can_no_longer_be_read_is_said_and_computed_again(fake, out):
    found = run("quickstart", ["full-sync", "top-k"], jobs=1, out=out, runner=fake)
    metrics = found.path / "top-k" / "seed-0" / "metrics.parquet"
    for spoil in (lambda: metrics.write_bytes(metrics.read_bytes()[:200]), lambda: metrics.write_bytes(b""),
                  metrics.unlink):
        spoil()
        read = find(found.path)
        assert [record.label for record in read.records] == ["full-sync"]
        assert "metrics.parquet" in read.faults[0]
        assert "run the scenario again to complete it" in read.faults[0]
        fake.asked.clear()
        assert len(run("quickstart", ["full-sync", "top-k"], jobs=1, out=out, runner=fake).records) == 2
        assert fake.asked == [("top-k", 0)]


@pytest.mark.parametrize(("key", "value"), [("seed", "one"), ("scenario", None), ("label", 3), ("policy", [])])
def test_a_manifest_that_was_tampered_with_is_passed_over(key, value, fake, out):
    found = run("quickstart", ["full-sync", "top-k"], jobs=1, out=out, runner=fake)
    page = found.path / "top-k" / "seed-0" / "manifest.json"
    page.write_text(json.dumps(json.loads(page.read_text()) | {key: value}))
    (found.path / "study.json").write_text('{"runs": [3, {"folder": 4}]}')
    assert [record.label for record in find(found.path).records] == ["full-sync"]


def test_a_plugin_is_nothing_to_runs_that_do_not_use_it(fake, out, tmp_path):
    source = "from acesim.policies.recipes import full_sync\ndef half(info):\n    return full_sync(info)\n"
    (tmp_path / "own.py").write_text(source + 'POLICIES = {"half": half}\n')
    run("quickstart", ["full-sync"], jobs=1, out=out, runner=fake)
    found = run("quickstart", ["full-sync", "half"], jobs=1, out=out, plugins=[tmp_path / "own.py"], runner=fake)
    assert fake.asked == [("full-sync", 0), ("half", 0)]
    codes = [record.manifest["code"] for record in found.records]
    assert codes[1].startswith(codes[0] + "/")


def test_other_code_computes_again(fake, out, monkeypatch):
    run("quickstart", ["top-k"], jobs=1, out=out, runner=fake)
    monkeypatch.setattr(orders, "code_version", lambda plugins=(): "0.1.0+another")
    run("quickstart", ["top-k"], jobs=1, out=out, runner=fake)
    assert len(fake.asked) == 2


def test_another_scenario_in_its_place_is_refused_by_name(fake, out):
    run("quickstart", ["top-k"], jobs=1, out=out, runner=fake)
    with pytest.raises(ScenarioError, match=r"stop.epochs: 10.0, now 3.0\); add --fresh"):
        run("quickstart", ["top-k"], overrides=["stop.epochs=3"], jobs=1, out=out, runner=fake)
    with pytest.raises(ScenarioError, match=r"\(workers.xavier.count: \d+, now 3\); add --fresh"):
        run("quickstart", ["top-k"], overrides=["workers.xavier.count=3"], jobs=1, out=out, runner=fake)
    found = run("quickstart", ["top-k"], overrides=["stop.epochs=3"], jobs=1, out=out, runner=fake, fresh=True)
    assert found.records[0].manifest["scenario"]["stop"]["epochs"] == 3


def test_another_policy_under_the_same_label_is_refused(fake, out):
    run("quickstart", ["top-k"], jobs=1, out=out, runner=fake)
    with pytest.raises(ScenarioError, match="holds a run of this label with other parameters; add --fresh"):
        run("quickstart", ["top-k"], overrides=["policies.top-k.ratio=0.1"], jobs=1, out=out, runner=fake)
    assert len(find(out).records) == 1


def test_a_failed_run_stops_no_other_and_is_tried_again(fake, out):
    found = run("quickstart", overrides=["name=broken"], jobs=1, out=out, runner=fake)
    assert [record.label for record in found.records] == ["full-sync", "ace-sync"]
    assert [fault.split("passed over: ")[1] for fault in found.faults] == [
        "failed: ZeroDivisionError: a slip (see failure.txt)", "failed: round 3: the model is no longer finite"]
    failure = (out / "broken" / "top-k" / "seed-0" / "failure.txt").read_text()
    assert "in played" in failure
    run("quickstart", overrides=["name=broken"], jobs=1, out=out, runner=fake)
    assert fake.asked[4:] == [("top-k", 0), ("fedavg", 0)]


def test_an_interrupted_study_keeps_what_is_finished(fake, out):
    def interrupted(order):
        if order.policy.name == "fedavg":
            raise KeyboardInterrupt
        fake(order)

    with pytest.raises(KeyboardInterrupt):
        run("quickstart", jobs=1, out=out, runner=interrupted)
    found = run("quickstart", jobs=1, out=out, runner=fake)
    assert [label for label, _ in fake.asked] == ["full-sync", "top-k", "fedavg", "ace-sync"]
    assert not found.faults


def test_policies_by_label_by_name_and_by_plugin(fake, out, tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text("from acesim.policies.recipes import full_sync\nPOLICIES = {'half-k': full_sync}\n")
    run("quickstart", ["uniform-quantised", "half-k"], jobs=1, out=out, runner=fake, plugins=[plugin])
    assert fake.asked == [("uniform-quantised", 0), ("half-k", 0)]
    with pytest.raises(ScenarioError, match=r"--policy: .*topk.*did you mean top-k\?"):
        run("quickstart", ["topk"], jobs=1, out=out, runner=fake)
    with pytest.raises(ScenarioError, match="name at least one policy"):
        run("quickstart", [], jobs=1, out=out, runner=fake)
    with pytest.raises(ScenarioError, match="name at least one seed"):
        run("quickstart", seeds=[], jobs=1, out=out, runner=fake)


def test_a_changed_plugin_is_other_code(fake, out, tmp_path):
    plugin = tmp_path / "mine.py"
    for text in ("", "", "# changed"):
        plugin.write_text(f"from acesim.policies.recipes import full_sync\nPOLICIES = {{'x': full_sync}}\n{text}")
        run("quickstart", ["x"], jobs=1, out=out, runner=fake, plugins=[plugin])
    assert len(fake.asked) == 2


def test_a_scenario_object_runs_and_takes_no_overrides(fake, out):
    scenario = load("quickstart")
    assert len(run(scenario, ["top-k"], jobs=1, out=out, runner=fake).records) == 1
    with pytest.raises(ScenarioError, match="overrides change a file"):
        read_scenario(scenario, ["stop.epochs=1"])
    strange = scenario.model_copy(update={"policies": (scenario.policies[0].model_copy(update={"name": "magic"}),)})
    with pytest.raises(ScenarioError, match="unknown policy"):
        read_scenario(strange)


def test_progress_is_told_at_the_end_and_on_the_way(fake, out):
    told = []
    run("quickstart", ["full-sync"], jobs=1, out=out, runner=fake, on_progress=told.append)
    [last] = told[-1]
    assert isinstance(last, RunProgress)
    assert (last.label, last.status, last.row["progress"]) == ("full-sync", "done", 1.0)


def test_tables_carry_label_and_seed(fake, out):
    found = run("quickstart", ["full-sync", "top-k"], [0, 1], jobs=1, out=out, runner=fake)
    assert found.metrics().groupby(["label", "seed"]).size().tolist() == [9] * 4
    assert found.events().columns[:3].tolist() == ["label", "seed", "kind"]
    assert found.plot("pareto", out / "p.svg").exists()


def test_load_says_what_is_missing(tmp_path):
    with pytest.raises(ResultMissing, match="acesim run SCENARIO"):
        acesim.load(tmp_path)
    with pytest.raises(ResultMissing, match="no such folder"):
        acesim.load(tmp_path / "nowhere")


def test_fresh_removes_nothing_outside_the_study(fake, out, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "manifest.json").write_text("{}")
    run("quickstart", ["top-k"], jobs=1, out=out, runner=fake)
    listed = json.loads((out / "quickstart" / "study.json").read_text())
    listed["runs"].append({"folder": "../../victim", "label": "x", "seed": 0})
    (out / "quickstart" / "study.json").write_text(json.dumps(listed))
    run("quickstart", ["top-k"], overrides=["stop.epochs=3"], jobs=1, out=out, runner=fake, fresh=True)
    assert (victim / "manifest.json").exists()


def test_one_blas_thread_in_the_users_own_process_too(out):
    seen = []
    wanted = orders_of(load("quickstart"), load("quickstart").policies[:1], [0], out)
    attempt(wanted[0], lambda order: seen.extend(pool["num_threads"] for pool in threadpool_info()), alone=True)
    assert set(seen) == {1}


def test_processes_change_no_digest(tmp_path, monkeypatch):
    """The whole chain, engine included, in this process and in two others, from another working directory."""
    scenario = tmp_path / "tiny.yaml"
    scenario.write_text(TINY)
    monkeypatch.chdir(tmp_path)
    alone, apart = (run(scenario, jobs=jobs, out=f"results-{jobs}") for jobs in (1, 2))
    assert not alone.faults
    assert not apart.faults
    assert [record.manifest["digest"] for record in alone.records] == [
        record.manifest["digest"] for record in apart.records]
    assert len({record.manifest["digest"] for record in alone.records}) == 4
    assert apart.records[0].manifest["blas_threads"] == 1
    assert alone.compare()["gb_up_per_round"].gt(0).all()


def test_the_digest_does_not_depend_on_the_hash_seed(tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    code = ("import acesim; s = acesim.run('tiny.yaml', ['top-k'], [0], jobs=1, fresh=True); "
            "print(s.records[0].manifest['digest'])")
    root = str(Path(study.__file__).resolve().parents[1])
    found = {subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True,
                            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": root}).stdout
             for seed in ("1", "2")}
    assert len(found) == 1


def test_nothing_to_do_is_fine(fake, out):
    execute([], 2, None, fake)
    assert Study(out.parent).records == []


def test_importing_acesim_loads_none_of_its_rooms():
    code = ("import sys, acesim; heavy = {'numpy', 'pandas', 'scipy', 'simpy', 'pydantic'} & set(sys.modules); "
            "print(heavy, dir(acesim) == sorted(acesim.__all__))")
    root = str(Path(study.__file__).resolve().parents[1])
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": root}).stdout
    assert told == "set() True\n"
    assert acesim.__version__
    assert acesim.Scenario is type(load("quickstart"))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        acesim.nothing


def test_the_longest_runs_begin_first(tmp_path):
    loaded = study.read_scenario("quickstart")
    found = orders_of(loaded, study.choose_policies(loaded, None), [0, 1], tmp_path)
    assert [(order.policy.label, order.seed) for order in study.longest_first(found)] == [
        ("ace-sync", 0), ("ace-sync", 1), ("top-k", 0), ("top-k", 1), ("full-sync", 0), ("fedavg", 0), ("full-sync", 1),
        ("fedavg", 1)]


NAMING = """
name: naming
seeds: [0]
stop: {epochs: 1}
task: {kind: image-classification, data: {files: rows.npz}, model: {kind: linear}, batch_size: 2,
       partition: {kind: iid, min_partition_size: 1}}
nominal: {model: same-as-proxy}
calibration: times.csv
workers:
  - {name: cloud, count: 1, device: a100, access: {kind: datacenter}}
  - {name: edge, count: 1, device: n100, access: {trace: "walk*.csv", uplink: 5 Mbps}, availability: {trace: there.csv}}
network: {regions: 1}
policies: [full-sync]
"""


def naming(folder, bias=0.0):
    """Write a scenario that names four files, and the files."""
    x = np.arange(40.0).reshape(20, 2) + bias
    np.savez(folder / "rows.npz", X=x, y=np.arange(20) % 2)
    (folder / "times.csv").write_text("device,seconds_per_step\nn100,1.5\n")
    (folder / "walk-1.csv").write_text("t_s,down_mbps\n0,5\n1,6\n2,7\n")
    (folder / "there.csv").write_text("t_s,present\n0,1\n100,0\n110,1\n")
    (folder / "naming.yaml").write_text(NAMING)
    return folder / "naming.yaml"


@pytest.mark.parametrize(("file", "text"), [
    ("times.csv", "device,seconds_per_step\nn100,1.6\n"), ("walk-1.csv", "t_s,down_mbps\n0,5\n1,6\n2,8\n"),
    ("walk-2.csv", "t_s,down_mbps\n0,5\n1,6\n"), ("there.csv", "t_s,present\n0,1\n100,0\n120,1\n"), ("rows.npz", None)])
def test_results_of_a_file_that_was_edited_are_not_taken_for_those_of_the_new_one(fake, out, tmp_path, file, text):
    scenario = naming(tmp_path)
    first = run(scenario, jobs=1, out=out, runner=fake)
    assert sorted(Path(path).name for path in first.records[0].manifest["files"]) == [
        "rows.npz", "there.csv", "times.csv", "walk-1.csv"]
    run(scenario, jobs=1, out=out, runner=fake)
    assert len(fake.asked) == 1
    if text is None:
        naming(tmp_path, bias=1.0)
    else:
        (tmp_path / file).write_text(text)
    with pytest.raises(ScenarioError, match=rf"{file} (has changed|is new).*add --fresh"):
        run(scenario, jobs=1, out=out, runner=fake)
    run(scenario, jobs=1, out=out, runner=fake, fresh=True)
    assert len(fake.asked) == 2
