"""The command line: what is printed where, and with which exit code."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from acesim import cli
from acesim.cli.shell import Terminated
from acesim.matching import kept_share
from acesim.records.store import EVENTS
from acesim.scenario import PolicySpec
from acesim.study import Order, read_scenario, run
from acesim.sweeps import sweep
from acesim.terminal import WIDTH


@pytest.fixture
def call(fake, monkeypatch, tmp_path):
    """Call the command line in an empty folder, with the engine's stand-in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.runs, "run_study", partial(run, runner=fake))
    monkeypatch.setattr(cli.runs, "run_sweep", partial(sweep, runner=fake))

    def calling(*words, code=0):
        result = CliRunner().invoke(cli.cli, [str(word) for word in words])
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return calling


def commands(group=cli.cli, words=()):
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name)


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_has_help_with_an_example_quiet_and_verbose(words, call):
    text = call(*words, "--help").stdout
    assert f"  acesim {' '.join(words)}" in text
    assert "--quiet" in text
    assert "--verbose" in text


def test_run_prints_the_comparison_and_where_it_is(call):
    result = call("run", "quickstart", "--jobs", "1", "--seeds", "0-1")
    assert "What it cost" in result.stdout
    assert "ace-sync" in result.stdout
    assert "full-sync, seed 1: done, 100 %" in result.stderr
    assert "results: results/quickstart" in result.stderr.replace("\\", "/")
    assert max(len(line) for line in result.stdout.splitlines()) <= WIDTH


def test_run_quietly_says_nothing(call):
    result = call("run", "quickstart", "--jobs", "1", "--quiet", "--policy", "full-sync")
    assert result.output == ""
    assert Path("results/quickstart/full-sync/seed-0/manifest.json").exists()


@pytest.mark.parametrize(("text", "seeds"), [("0-2", [0, 1, 2]), ("4", [4]), ("0,7-8", [0, 7, 8])])
def test_seeds(text, seeds, call, fake):
    call("run", "quickstart", "--jobs", "1", "--policy", "top-k", "--seeds", text)
    assert [seed for _, seed in fake.asked] == seeds


@pytest.mark.parametrize("text", ["x", "3-1", "1-2-3", "", "-1", "3-1,5", "1-2-3,5"])
def test_wrong_seeds(text, call):
    assert "write seeds as 0-2 or 0,3,5" in call("run", "quickstart", f"--seeds={text}", code=2).stderr


def test_a_failed_run_is_named_and_the_exit_code_is_1(call):
    result = call("run", "quickstart", "--set", "name=broken", "--jobs", "1", code=1)
    assert "the model is no longer finite" in result.stderr
    assert "ace-sync" in result.stdout


def test_bad_input_is_one_message_and_exit_code_2(call):
    assert "did you mean quickstart?" in call("run", "quickstrt", code=2).stderr
    assert "there is no such file or scenario" in call("validate", "nowhere.yaml", code=2).stderr
    assert "--policy: topk" in call("run", "quickstart", "--policy", "topk", code=2).stderr
    assert "did you mean epochs?" in call("run", "quickstart", "--set", "stop.epoch=3", code=2).stderr
    missing = call("run", "quickstart", "--plugin", "nowhere.py", code=2).stderr
    assert "--plugin nowhere.py: no such Python file" in missing
    assert "Missing argument" in call("run", code=2).stderr
    assert "no such folder" in call("compare", "nowhere", code=2).stderr
    Path("blocked").write_text("")
    assert call("run", "quickstart", "--out", "blocked", code=2).stderr


def test_a_changed_scenario_names_fresh(call):
    call("run", "quickstart", "--jobs", "1", "--policy", "top-k")
    assert "--fresh" in call("run", "quickstart", "--jobs", "1", "--set", "stop.epochs=2", code=2).stderr
    call("run", "quickstart", "--jobs", "1", "--set", "stop.epochs=2", "--fresh", "--policy", "top-k")


@pytest.mark.parametrize(("cause", "code"), [(KeyboardInterrupt, 130), (Terminated, 143)])
def test_an_interruption_has_its_code_and_says_how_to_go_on(call, monkeypatch, cause, code):
    def interrupted(*_):
        raise cause

    monkeypatch.setattr(cli.runs, "run_study", interrupted)
    assert "the same command goes on from there" in call("run", "quickstart", code=code).stderr


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGTERM to catch")
def test_no_worker_outlives_a_sigterm(tmp_path):
    """Workers hold the pipe of what they print, so that its end is theirs."""
    words = ["run", "quickstart", "--set", "stop.epochs=10000", "--jobs", "2", "--quiet", "--out", tmp_path]
    study = subprocess.Popen([sys.executable, "-m", "acesim", *words], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        ending = time.monotonic() + 60
        while not list(tmp_path.rglob(EVENTS)) and time.monotonic() < ending:
            time.sleep(0.1)
        study.send_signal(signal.SIGTERM)
        said, _ = study.communicate(timeout=20)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(study.pid, signal.SIGKILL)
    assert study.returncode == 143, said
    assert "terminated; finished runs are kept" in said
    assert list(tmp_path.rglob(EVENTS))


@pytest.fixture
def results(call):
    call("run", "quickstart", "--jobs", "1", "--seeds", "0-2", "--quiet")
    return "results/quickstart"


def test_compare_in_every_format(call, results):
    assert "(baseline)" in call("compare", results).stdout
    assert json.loads(call("compare", results, "--format", "json").stdout)[3]["label"] == "ace-sync"
    assert call("compare", results, "--format", "csv").stdout.startswith("label,policy,seeds,top1_percent,")
    assert "| policy |" in call("compare", results, "--format", "markdown").stdout
    assert r"\toprule" in call("compare", results, "--format", "latex").stdout
    assert '<table class="acesim">' in call("compare", results, "--format", "html").stdout
    assert "At equal time" in call("compare", results, "--view", "time").stdout
    assert "12 runs found" in call("compare", results, "--verbose").stderr
    assert "against top-k" in call("compare", results, "--baseline", "top-k").stdout
    assert "baseline = tpk" in call("compare", results, "--baseline", "tpk", code=2).stderr


def test_compare_names_runs_it_passes_over(call, results):
    Path(results, "top-k/seed-1/manifest.json").unlink()
    result = call("compare", results, "--format", "csv")
    assert "passed over: it was not finished" in result.stderr
    assert len(result.stdout.splitlines()) == 5
    Path("empty").mkdir()
    assert "no finished run found" in call("compare", "empty", code=2).stderr


def test_plot_one_and_several(call, results):
    call("plot", results, "--kind", "pareto", "--out", "one.svg")
    call("plot", results, "--kind", "pareto,convergence", "--out", "two.svg")
    assert {path.name for path in Path().glob("*.svg")} == {"one.svg", "two-pareto.svg", "two-convergence.svg"}
    assert "unknown figure" in call("plot", results, "--kind", "pie", "--out", "a.svg", code=2).stderr
    assert "no sweep here" in call("plot", results, "--kind", "bandwidth", "--out", "a.svg", code=2).stderr


def test_sweep_prints_the_cells_and_can_be_drawn(call):
    result = call("sweep", "quickstart", "--over", "network.region_uplink=100Mbps:400Mbps:log:2", "--policy", "top-k",
                  "--jobs", "1")
    assert "top-1 % by network.region_uplink Mbps\n" in result.stdout
    assert "cells.csv" in result.stderr
    call("plot", "results/quickstart", "--kind", "bandwidth", "--out", "a.svg")
    assert "low must be less" in call("sweep", "quickstart", "--over", "a=2:1:lin:3", code=2).stderr


def test_validate_init_and_schema(call):
    assert "written: mine.yaml" in call("init", "mine.yaml").stderr
    assert "mine: fine; 3 policies x 1 seeds on 16 workers" in call("validate", "mine.yaml").stderr
    assert "is there already" in call("init", "mine.yaml", code=2).stderr
    shown = call("validate", "quickstart", "--show-defaults").stdout
    Path("whole.yaml").write_text(shown)
    assert call("validate", "whole.yaml", "--show-defaults").stdout == shown
    Path("bad.yaml").write_text("name: bad\nworkers: []\nstop: {epochs: -1}\npolicies: [full-sink]\n")
    complaint = call("validate", "bad.yaml", code=2).stderr
    assert "bad.yaml:2" in complaint
    assert "bad.yaml:3" in complaint
    assert json.loads(call("schema").stdout)["type"] == "object"
    assert "trace     text" in call("schema", "workers.access").stdout
    assert "did you mean network?" in call("schema", "netwrok", code=2).stderr


def test_nothing_is_called_fine_whose_links_cannot_be_read(call):
    Path("one-way.csv").write_text("t_s,up_mbps\n0,5\n1,6\n")
    Path("mine.yaml").write_text("name: mine\nstop: {epochs: 1}\nnominal: {model: same-as-proxy}\nworkers: [{name: a, "
                                 "count: 2, device: n100, access: {trace: one-way.csv}}]\npolicies: [full-sync]\n")
    complaint = call("validate", "mine.yaml", code=2).stderr
    assert "has no column down_mbps: add one, or give the access a rate" in complaint
    assert ": fine;" not in complaint


def test_what_there_is(call):
    listed = call("scenarios").stdout
    assert "quickstart" in listed
    assert all(len(line.split(maxsplit=1)) == 2 for line in listed.splitlines())
    assert "name: table1" in call("scenarios", "table1").stdout
    assert "ace-sync" in call("policies").stdout
    assert "c_max = 10.0" in call("policies", "ace-sync").stdout
    assert "did you mean ace-sync?" in call("policies", "ace-sink", code=2).stderr
    assert "rk3588" in call("devices").stdout
    assert "flops_per_s" in call("devices", "rk3588").stdout
    assert "did you mean rk3588?" in call("devices", "rk358", code=2).stderr


def test_traces_are_made_and_shown(call):
    assert "lte" in call("traces", "list").stdout
    text = call("traces", "generate", "lte", "--seconds", "64", "--downlink", "5-200 Mbps").stdout
    assert text.splitlines()[0] == "t_s,down_mbps,up_mbps"
    assert len(text.splitlines()) == 65
    call("traces", "generate", "wifi", "--seconds", "64", "--seed", "2", "--out", "w.csv")
    assert "64 rows, 64 s" in call("traces", "show", "w.csv").stdout
    assert "needs a unit" in call("traces", "generate", "lte", "--downlink", "5", code=2).stderr
    assert "cannot be read" in call("traces", "show", "nowhere.csv", code=2).stderr


def test_flows_prints_finishing_times_and_nothing_else(call):
    Path("f.json").write_text(json.dumps({"links": [{"id": "l", "bw": 100.0, "lat": 0.5}],
                                          "flows": [{"id": "a", "start": 1.0, "size": 200.0, "route": ["l"]}]}))
    assert json.loads(call("flows", "f.json").stdout) == {"finish": {"a": 3.5}}
    Path("f.json").write_text("{")
    assert "f.json: not JSON" in call("flows", "f.json", code=2).stderr


def test_version(call):
    assert call("--version").stdout.startswith("acesim, version ")


def test_a_scenario_with_a_grid_is_run_as_one(call, tmp_path):
    (tmp_path / "grid.yaml").write_text("name: grid\nseeds: [0]\nstop: {epochs: 1}\npolicies: [full-sync]\n"
                                        "sweep: {network.regions: [2, 3]}\n")
    result = call("run", "grid.yaml", "--jobs", "1")
    assert "top-1 % by network.regions\n" in result.stdout
    assert "results: results/grid/cells.csv" in result.stderr.replace("\\", "/")


MATCHED = """
name: matched
seeds: [0]
stop: {epochs: 2}
task: {kind: quadratic, dimension: 200, steps_per_epoch: 6, optimizer: {name: sgd, learning_rate: 0.02}}
nominal: {model: same-as-proxy}
workers: [{name: w, count: 3, device: n100, access: {kind: lte}}]
policies: [hard-threshold, dagc-r]
"""


def test_match_finds_the_threshold_that_sends_a_share(call, tmp_path):
    (tmp_path / "m.yaml").write_text(MATCHED)
    result = call("match", "m.yaml", "--policy", "hard-threshold", "--ratio", "0.05", "--rounds", "12")
    threshold = float(result.stdout.removeprefix("threshold: "))
    order = Order(read_scenario(tmp_path / "m.yaml"), PolicySpec(name="hard-threshold", label="x",
                                                                 parameters={"threshold": threshold}), 0, tmp_path)
    assert kept_share(order, 12) == pytest.approx(0.05, rel=0.02)
    assert "hard-threshold then sends" in result.stderr


@pytest.mark.parametrize(("words", "says"), [
    (("--policy", "hard-threshold", "--ratio", "1.5"), "ratio = 1.5: must lie between 0 and 1"),
    (("--policy", "hard-treshold", "--ratio", "0.1"), "did you mean hard-threshold?"),
    (("--policy", "dagc-r", "--ratio", "0.1"), "dagc-r.threshold: unknown parameter")])
def test_match_says_what_cannot_be(call, tmp_path, words, says):
    (tmp_path / "m.yaml").write_text(MATCHED)
    assert says in call("match", "m.yaml", *words, code=2).stderr


@pytest.mark.parametrize(("setting", "says"), [
    ("policies=[{name: dagc-r, ratio: 0}]", "ratio = 0: must be a number in (0, 1]"),
    ("policies=[{name: dagc-a, threshold: -1}]", "threshold = -1: must be a finite number above 0"),
    ("policies=[{name: dgs, momentum: 1}]", "momentum = 1: must be in (0, 1)"),
    ("policies=[{name: dgc, momentum: 1.5}]", "momentum = 1.5: must be in [0, 1)"),
    ("policies=[{name: dgs, secondary: null, resync_every: 5}]", "without secondary compression every answer is whole"),
    ("task.partition.quantity.ratio=0.5", "ratio = 0.5: must be >= 1")])
def test_bad_parameters_of_the_systems_are_bad_input(call, setting, says):
    result = call("validate", "dagc", "--set", setting, code=2)
    assert says in result.stderr
