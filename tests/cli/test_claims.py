"""`acesim claims`: what is read, what is run, and what is told."""

import json
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from acesim import cli
from acesim.audits import audit, trials_of
from acesim.report.verdicts import VERDICTS
from acesim.scenario.claims import GOAL, STANDING, WHOLE, load_claims
from acesim.scenario.library import shipped_claims
from acesim.study import run
from acesim.sweeps import sweep
from acesim.terminal import WIDTH

SCENARIO = """
name: own
seeds: [0]
stop: {epochs: 10}
task: {kind: quadratic, dimension: 16, steps_per_epoch: 3}
nominal: {model: same-as-proxy}
workers: [{name: edge, count: 2, device: n100, access: {kind: constant, downlink: 20 Mbps, uplink: 5 Mbps}}]
network: {regions: 1}
policies: [full-sync, {name: top-k, ratio: 0.3}, {name: fedavg, local_steps: 2}]
"""
FILE = """
paper: {title: A paper, arxiv: '1234.5678'}
scenario: own.yaml
claims:
  - id: bytes
    says: sixty per cent less
    figures: [0.4, 1.0]
    measure: {metric: bytes_up, of: top-k, against: full-sync, form: ratio}
    rule: {expect: less, factor: 1.5}
  - id: swept
    says: even on slow links
    set: ["workers.*.access.uplink=1 Mbps", "stop.epochs=3"]
    measure: {metric: time_s, of: top-k, against: full-sync, form: ratio}
    rule: {expect: less}
  - id: more
    says: with another ratio
    set: ["policies=[full-sync, {name: top-k, ratio: 0.1, label: tenth}]"]
    measure: {metric: loss_nats, of: tenth, against: full-sync, form: difference}
    rule: {expect: no-worse, margin: 0.3}
  - {id: absolute, says: 82 %, uncheckable: another model}
"""


@pytest.fixture
def call(fake, monkeypatch, tmp_path):
    """Call the command line in an empty folder, with the engine's stand-in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.papers, "audit", partial(audit, runner=fake))
    Path("mine.yaml").write_text(FILE, encoding="utf-8")
    Path("own.yaml").write_text(SCENARIO, encoding="utf-8")

    def calling(*words, code=0):
        result = CliRunner().invoke(cli.cli, ["claims", *map(str, words)])
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return calling


def words_of(result):
    return {row["id"]: row["verdict"] for row in json.loads(result.stdout)}


def test_without_results_nothing_is_run_and_the_command_that_would_is_told(call, fake):
    text = " ".join(call("mine.yaml").stdout.split())
    assert "4 claims: 0 reproduced, 0 not reproduced, 0 inconclusive, 1 not checkable here, 3 not run" in text
    assert "missing: own/top-k seed 0; own/full-sync seed 0;" in text
    assert "`acesim claims mine.yaml --run` computes them" in text
    assert fake.asked == []
    assert not Path("results").exists()


def test_run_computes_what_is_missing_once(call, fake):
    found = words_of(call("mine.yaml", "--run", "--seeds", "0-2", "--jobs", "1", "--format", "json", "--quiet"))
    assert found == dict.fromkeys(("bytes", "swept", "more"), "reproduced") | {"absolute": "not checkable here"}
    assert len(fake.asked) == 3 * (2 + 2 + 1)       # the study's two, the cell's two, the tenth
    rows = {row["id"]: row["scenario"] for row in json.loads(call("mine.yaml", "--format", "json").stdout)}
    assert rows["bytes"] == "own"
    assert rows["swept"] == "own, workers.*.access.uplink=1 Mbps, stop.epochs=3"
    assert rows["more"] == "own; tenth is top-k with ratio: 0.1"
    call("mine.yaml", "--run", "--seeds", "0-3", "--jobs", "1", "--quiet")
    assert {seed for _, seed in fake.asked[15:]} == {3}
    assert len(fake.asked) == 4 * 5


def test_runs_of_other_commands_count(call, fake, tmp_path):
    run("own.yaml", ["full-sync", "top-k"], [0, 1, 4], jobs=1, runner=fake)
    sweep("own.yaml", ["workers.*.access.uplink=1 Mbps,2 Mbps"], ["full-sync", "top-k"], [0, 1],
          ["stop.epochs=3"], jobs=1, runner=fake)
    before = list(fake.asked)
    result = call("mine.yaml", "--format", "json")
    assert words_of(result) == {"bytes": "reproduced", "swept": "reproduced", "more": "not run",
                                "absolute": "not checkable here"}
    assert [row["seeds"] for row in json.loads(result.stdout)] == [3, 2, 0, 0]
    assert fake.asked == before


def test_a_cell_of_the_same_world_is_found_whatever_else_was_swept(call, fake):
    """The scenario as it is may stand in a sweep, and a sweep may have had other policies."""
    sweep("own.yaml", ["stop.epochs=10,3"], ["full-sync", "top-k"], [0, 1], ["policies.top-k.label=top-k"], jobs=1,
          runner=fake)
    before = len(fake.asked)
    assert words_of(call("mine.yaml", "--format", "json"))["bytes"] == "reproduced"
    call("mine.yaml", "--run", "--seeds", "0-1", "--jobs", "1", "--quiet")
    assert ("full-sync", 0) in fake.asked[before:]                  # of the swept claim: 1 Mbps is another world
    assert len(fake.asked) - before == 2 * (2 + 1)


def test_seeds_can_be_chosen(call, fake):
    run("own.yaml", ["full-sync", "top-k"], [0, 1, 2], jobs=1, runner=fake)
    rows = json.loads(call("mine.yaml", "--seeds", "1-2", "--format", "json").stdout)
    assert rows[0]["seeds"] == 2
    assert "`acesim claims mine.yaml --seeds 1,2 --run`" in " ".join(call("mine.yaml", "--seeds", "1-2").stdout.split())


def test_a_file_may_name_seeds_of_its_own(call, fake):
    Path("mine.yaml").write_text(FILE.replace("claims:\n", "seeds: [3, 4]\nclaims:\n"), encoding="utf-8")
    call("mine.yaml", "--run", "--jobs", "1", "--quiet")
    assert {seed for _, seed in fake.asked} == {3, 4}


def test_results_may_lie_elsewhere(call, fake):
    run("own.yaml", ["full-sync", "top-k"], [0, 1], jobs=1, out="there", runner=fake)
    assert words_of(call("mine.yaml", "--results", "there", "--format", "json"))["bytes"] == "reproduced"
    assert "--results there --run" in " ".join(call("mine.yaml", "--results", "there").stdout.split())


def test_results_of_another_scenario_do_not_count(call, fake):
    run("own.yaml", ["full-sync", "top-k"], [0, 1], ["stop.epochs=3"], jobs=1, runner=fake)
    assert words_of(call("mine.yaml", "--format", "json"))["bytes"] == "not run"
    assert "the results here are of another scenario" in call("mine.yaml", "--run", "--jobs", "1", code=2).stderr


def test_runs_of_other_code_count_and_are_told(call, fake, monkeypatch):
    run("own.yaml", ["full-sync", "top-k"], [0, 1], jobs=1, runner=fake)
    monkeypatch.setattr("acesim.records.orders.code_version", lambda plugins=(): "another")
    text = " ".join(call("mine.yaml").stdout.split())
    assert "4 of the runs were made by other code than this" in text


def test_a_run_that_fails_is_named_and_the_exit_code_is_1(call):
    text = FILE.replace("own.yaml", "broken.yaml")
    Path("broken.yaml").write_text("extends: own.yaml\nname: broken\n", encoding="utf-8")
    Path("mine.yaml").write_text(text.replace("of: top-k", "of: fedavg"), encoding="utf-8")
    result = call("mine.yaml", "--run", "--jobs", "1", "--quiet", code=1)
    assert "broken/fedavg, seed 0: round 3: the model is no longer finite" in result.stderr
    assert "not run" in result.stdout
    assert "runs failed (1 of fedavg)" in " ".join(result.stdout.split())


def test_formats_and_the_width_of_the_table(call, fake):
    run("own.yaml", jobs=1, seeds=[0, 1], runner=fake)
    assert call("mine.yaml", "--format", "csv").stdout.startswith("id,verdict,value,low,high,bound,seeds,paper,")
    shown = call("mine.yaml", "--verbose")
    assert max(map(len, shown.stdout.splitlines())) <= WIDTH
    assert "mine.yaml" in shown.stderr


def test_the_shipped_ones_are_listed(call):
    listed = call().stdout
    assert [line.split()[0] for line in listed.splitlines()] == list(shipped_claims())
    assert "ACE-Sync" in listed


@pytest.mark.parametrize(("old", "new", "message"), [
    ("scenario: own.yaml", "scenario: quickstrt",
     "mine.yaml:3: scenario = quickstrt: there is no such file or scenario; did you mean quickstart? "),
    ("of: top-k", "of: topk", "mine.yaml:8: claims[0].measure = topk: neither a label of this scenario nor a policy; "
                              "did you mean top-k? "),
    ("stop.epochs=3", "stop.epoch=3", "mine.yaml:12: claims[1].set = stop.epoch: unknown key; did you mean epochs? "),
    ("1 Mbps", "1 Mpbs", "mine.yaml:12: claims[1].set = workers.*.access.uplink=1 Mpbs: unknown unit Mpbs; "),
    ("{name: top-k,", "{name: topk,",
     "mine.yaml:17: claims[2].set = policies=topk: unknown policy; did you mean top-k? "),
    ("says: 82 %", "say: 82 %", "mine.yaml:20: claims[3].say: unknown key; did you mean says?"),
])
def test_what_does_not_fit_is_told_at_its_line(old, new, message, call):
    assert old in FILE
    Path("mine.yaml").write_text(FILE.replace(old, new), encoding="utf-8")
    assert message in call("mine.yaml", code=2).stderr


def test_a_scenario_is_found_beside_the_file_and_its_own_mistakes_are_told_as_its_own(call, tmp_path):
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "own.yaml").write_text("name: own\nstop: {epochs: 2}\nseeds: [-1]\n", encoding="utf-8")
    (folder / "mine.yaml").write_text(FILE, encoding="utf-8")
    told = call("papers/mine.yaml", code=2).stderr
    assert told.splitlines() == ["papers/own.yaml:3: seeds[0] = -1: must be >= 0"]


@pytest.mark.parametrize("name", shipped_claims())
def test_every_shipped_file_fits_its_scenarios(name, tmp_path):
    file = load_claims(name)
    trials = trials_of(file, tmp_path)
    assert len(trials) == len(file.claims.claims)
    assert any(trials)
    assert [trial is None for trial in trials] == [claim.uncheckable is not None for claim in file.claims.claims]


def test_a_changed_label_does_not_share_the_folder_of_what_it_was(tmp_path):
    text = FILE.replace("label: tenth}]", "}]").replace("of: tenth", "of: top-k")
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "own.yaml").write_text(SCENARIO, encoding="utf-8")
    trials = trials_of(load_claims(tmp_path / "mine.yaml"), tmp_path)
    folders = [trial.folder.relative_to(tmp_path).as_posix().split("/")[:2] for trial in trials if trial]
    assert folders == [["own"], ["own", "cells"], ["own", "cells"]]


DOCS = (Path(__file__).resolve().parents[2] / "docs" / "claims.md").read_text(encoding="utf-8")


def test_the_example_of_the_documentation_fits(tmp_path):
    (tmp_path / "mine.yaml").write_text(DOCS.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    assert len(trials_of(load_claims(tmp_path / "mine.yaml"), tmp_path)) == 5


@pytest.mark.parametrize("metric", [*STANDING, *WHOLE, *GOAL])
def test_every_metric_is_documented(metric):
    assert f"`{metric}`" in DOCS


@pytest.mark.parametrize("word", VERDICTS)
def test_every_verdict_is_documented(word):
    assert f"| {word} |" in DOCS


SEEDS = Path(__file__).resolve().parents[3] / "shared" / "seeds"


def plain(text):
    """Drop what a page's layout does to a text: white space and kinds of apostrophes."""
    return "".join(text.replace("’", "'").split())


@pytest.mark.reference
@pytest.mark.parametrize("name", shipped_claims())
def test_the_papers_own_words_are_its_own(name):
    if not SEEDS.is_dir():
        pytest.skip("the papers' texts are not beside the project")
    texts = plain("".join(path.read_text(encoding="utf-8") for path in sorted(SEEDS.glob("*.txt"))))
    said = [claim.says for claim in load_claims(name).claims.claims if claim.says is not None]
    assert said
    assert [part for sentence in said for part in sentence.split("...") if plain(part) not in texts] == []
