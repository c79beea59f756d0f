"""Sweeps: how a grid is read, laid out, cached and gathered."""

import pandas as pd
import pytest
from click.testing import CliRunner

from acesim.cli import cli
from acesim.records.read import find
from acesim.report.grids import sweep_page
from acesim.scenario import to_yaml
from acesim.scenario.errors import ResultMissing, ScenarioError
from acesim.study import read_scenario, run
from acesim.sweeps import load_sweep, parse_axis, sweep


@pytest.mark.parametrize(("text", "values", "column"), [
    ("workers.*.access.uplink=5Mbps:200Mbps:log:3", ("5 Mbps", "31.6228 Mbps", "200 Mbps"),
     "workers.*.access.uplink (Mbps)"),
    ("policies.fedavg.local_steps=1:4:lin:4", ("1", "2", "3", "4"), "policies.fedavg.local_steps"),
    ("task.optimizer.learning_rate=1e-3,1e-2", ("1e-3", "1e-2"), "task.optimizer.learning_rate"),
    ("network.region_uplink=1 Gbps, 500 Mbps", ("1 Gbps", "500 Mbps"), "network.region_uplink"),
    ("policies.top-k.index=int32,auto", ("int32", "auto"), "policies.top-k.index"),
])
def test_axes(text, values, column):
    axis = parse_axis(text)
    assert (axis.values, axis.column) == (values, column)
    assert len(axis.numbers) == len(values)


def test_numbers_are_in_the_users_unit():
    assert parse_axis("a.b=5Mbps:20Mbps:log:3").numbers == (5.0, 10.0, 20.0)
    assert parse_axis("a.b=1 Gbps,500 Mbps").numbers == ("1 Gbps", "500 Mbps")


@pytest.mark.parametrize(("text", "rule"), [
    ("uplink", "write key=low:high:log:count"),
    ("a=5:2:log:3", "low must be less than high"),
    ("a=0:2:log:3", "more than 0 for log"),
    ("a=1:2:log", "write low:high:log:count"),
    ("a=1:2:cubic:3", "write low:high:log:count"),
    ("a=1:2:lin:1", "a count of at least 2"),
    ("a=1 Mbps:2 Gbps:lin:3", "same unit"),
    ("a=1,,2", "every value must be there"),
    ("a=1,1", "once only"),
])
def test_wrong_axes_are_named(text, rule):
    with pytest.raises(ScenarioError, match=rule):
        parse_axis(text)


def test_a_sweep_is_cached_by_content_and_gathered(fake, tmp_path):
    over = ["network.region_uplink=100Mbps:400Mbps:log:3"]
    found = sweep("quickstart", over, ["full-sync", "top-k"], jobs=1, out=tmp_path, runner=fake)
    assert len(fake.asked) == 6
    assert found.keys == ("network.region_uplink (Mbps)",)
    assert found.table["network.region_uplink (Mbps)"].tolist() == [100, 100, 200, 200, 400, 400]
    assert found.table["cell"].nunique() == 3
    more = sweep("quickstart", [*over, "policies.top-k.ratio=0.1,0.3"], ["top-k"], jobs=1, out=tmp_path, runner=fake)
    assert len(fake.asked) == 6 + 3                  # ratio 0.3 is the scenario's own: those three cells are known
    assert len(more.table) == 9                      # full-sync stands in the cells that have it
    assert more.plot(tmp_path / "a.svg").exists()
    again = load_sweep(tmp_path / "quickstart")
    pd.testing.assert_frame_equal(again.table, more.table)
    assert again.keys == more.keys
    assert len(pd.read_csv(tmp_path / "quickstart" / "cells.csv")) == 9


def test_a_study_does_not_count_the_cells_below_it(fake, tmp_path):
    sweep("quickstart", ["network.regions=2,3"], ["top-k"], jobs=1, out=tmp_path, runner=fake)
    assert find(tmp_path / "quickstart").records == []
    assert len(find(tmp_path / "quickstart" / "cells").records) == 2


def test_a_failed_cell_is_named(fake, tmp_path):
    found = sweep("quickstart", ["network.regions=2,3"], ["full-sync", "fedavg"], overrides=["name=broken"], jobs=1,
                  out=tmp_path, runner=fake)
    assert len(found.faults) == 2
    assert set(found.table["label"]) == {"full-sync"}
    with pytest.raises(ResultMissing, match="no run of the sweep was finished"):
        sweep("quickstart", ["network.regions=2,3"], ["fedavg"], overrides=["name=broken"], jobs=1,
              out=tmp_path / "b", runner=fake)


def test_keys_once_and_sweeps_that_are_not_there(fake, tmp_path):
    with pytest.raises(ScenarioError, match="each key once"):
        sweep("quickstart", ["network.regions=2,3", "network.regions=4,5"], out=tmp_path, runner=fake)
    with pytest.raises(ScenarioError, match="region_uplnk"):
        sweep("quickstart", ["network.region_uplnk=2 Mbps,3 Mbps"], out=tmp_path, runner=fake)
    with pytest.raises(ResultMissing, match="acesim sweep"):
        load_sweep(tmp_path)


def test_a_point_that_is_spelt_twice_is_refused(fake, tmp_path):
    for over in ("policies.top-k.ratio=0.1,0.10", "network.region_uplink=1000 Mbps,1 Gbps"):
        with pytest.raises(ScenarioError, match="two of the values mean the same scenario"):
            sweep("quickstart", [over], ["top-k"], out=tmp_path, runner=fake)
    assert fake.asked == []


# ---- a scenario that is a grid

GRID = """
name: grid
seeds: [0]
stop: {epochs: 2}
policies: [full-sync, top-k]
sweep:
  - {network.regions: [2, 3], task.steps_per_epoch: [4, 5]}
  - {network.region_uplink: [1 Gbps, 2 Gbps]}
"""


@pytest.fixture
def grid(tmp_path):
    file = tmp_path / "grid.yaml"
    file.write_text(GRID, encoding="utf-8")
    return file


def test_keys_of_one_axis_change_together_and_axes_combine(grid, fake, tmp_path):
    found = sweep(grid, jobs=1, out=tmp_path, runner=fake)
    assert len(fake.asked) == 2 * 2 * 2
    assert found.keys == ("network.regions", "network.region_uplink (Gbps)")
    places = found.table[["network.regions", "task.steps_per_epoch", "network.region_uplink (Gbps)"]].drop_duplicates()
    assert places.to_numpy().tolist() == [[2, 4, 1], [2, 4, 2], [3, 5, 1], [3, 5, 2]]


def test_over_takes_the_place_of_the_scenarios_own_grid(grid, fake, tmp_path):
    assert sweep(grid, ["network.regions=4,5"], jobs=1, out=tmp_path, runner=fake).keys == ("network.regions",)
    assert len(fake.asked) == 4


def test_a_cell_is_the_same_whichever_grid_it_is_of(grid, fake, tmp_path):
    sweep(grid, jobs=1, out=tmp_path, runner=fake)
    sweep(grid, ["network.regions=2,3", "network.region_uplink=1 Gbps"], overrides=["task.steps_per_epoch=4"], jobs=1,
          out=tmp_path, runner=fake)
    assert len(fake.asked) == 8 + 2  # regions 2 is known; 3 was there with 5 steps


def test_a_grid_is_no_study(grid, fake, tmp_path):
    with pytest.raises(ScenarioError, match=r"sweep: this scenario is a grid of studies; `acesim run` or "):
        run(grid, jobs=1, out=tmp_path, runner=fake)
    assert run(grid, overrides=["sweep=[]"], jobs=1, out=tmp_path, runner=fake).records


@pytest.mark.parametrize(("text", "rule"), [
    ("{}", "must name at least one key"), ("{network.regions: []}", "must name at least one key"),
    ("{network.regions: [2, 3], task.steps_per_epoch: [4]}", "network.regions: 2, task.steps_per_epoch: 1"),
    ("{network.regions: [[2], [3]]}", "values must be numbers, text, true or false"),
    ("{network.regions: 2}", "sweep"), ("{network.regons: [2, 3]}", "regons"),
    ("[{network.regions: [2, 3]}, {network.regions: [4]}]", "each key once")])
def test_a_wrong_grid_is_named(text, rule, fake, tmp_path):
    file = tmp_path / "wrong.yaml"
    file.write_text(f"name: wrong\nseeds: [0]\nstop: {{epochs: 1}}\npolicies: [full-sync]\nsweep: {text}\n")
    with pytest.raises(ScenarioError, match=rule):
        sweep(file, jobs=1, out=tmp_path, runner=fake)


def test_a_grid_survives_being_written_down(grid, tmp_path):
    loaded = read_scenario(grid)
    (tmp_path / "again.yaml").write_text(to_yaml(loaded), encoding="utf-8")
    assert read_scenario(tmp_path / "again.yaml") == loaded


def test_small_grids_stand_side_by_side_and_large_ones_below_each_other(grid, fake, tmp_path):
    found = sweep(grid, jobs=1, out=tmp_path, runner=fake)
    page = sweep_page(found.table, found.keys)
    titles = [block.title for block in page.blocks[:2]]
    assert titles == ["top-1 % by network.regions, network.region_uplink Gbps 1",
                      "top-1 % by network.regions, network.region_uplink Gbps 2"]
    assert page.blocks[0].header == ["policy", "2", "3"]
    assert [row[0] for row in page.blocks[0].rows] == ["full-sync", "top-k"]
    wide = sweep(grid, ["network.regions=1:25:lin:25"], ["full-sync"], jobs=1, out=tmp_path / "wide", runner=fake)
    [block] = sweep_page(wide.table, wide.keys).blocks
    assert block.header[:2] == ["network.regions", "policy"]
    assert len(block.rows) == 25


def test_below_a_grid_stands_what_its_figures_are_of_and_who_fell(grid, fake, tmp_path):
    found = sweep(grid, jobs=1, out=tmp_path, runner=fake)
    assert len(found.records) == 8
    table = found.table.assign(guessing_nats=[9.0] * 7 + [0.1])
    notes = sweep_page(table, found.keys, found.records).notes
    assert "one seed: no intervals" in notes
    assert any(note.endswith("top-k at network.regions 3, network.region_uplink Gbps 2") for note in notes)


def test_speed_ups_are_told_of_grids_over_numbers_of_workers(grid, fake, tmp_path):
    table = sweep(grid, jobs=1, out=tmp_path, runner=fake).table.assign(speed_up=2.0)
    assert not any(block.title.startswith("speed-up") for block in sweep_page(table, ["network.regions"]).blocks)
    counted = table.rename(columns={"network.regions": "workers.gpu.count"})
    blocks = {block.title: block for block in sweep_page(counted, ["workers.gpu.count"]).blocks}
    assert blocks["speed-up by gpu.count"].header == ["policy", "2", "3"]


def test_keys_that_change_together_stand_side_by_side_where_the_first_does_not_tell_points_apart(fake, tmp_path):
    (tmp_path / "kinds.yaml").write_text(
        "name: kinds\nseeds: [0]\npolicies: [full-sync]\nstop: {epochs: 1}\nsweep:\n"
        "  - {workers.xavier.access.kind: [lte, wifi, lte], workers.arm.access.kind: [lte, wifi, 5g]}\n",
        encoding="utf-8")
    found = sweep(tmp_path / "kinds.yaml", jobs=1, out=tmp_path, runner=fake)
    assert found.keys == ("workers.xavier.access.kind, workers.arm.access.kind",)
    assert found.table[found.keys[0]].tolist() == ["lte", "wifi", "lte / 5g"]
    assert found.table["workers.arm.access.kind"].tolist() == ["lte", "wifi", "5g"]
    block = sweep_page(found.table, found.keys).blocks[0]
    assert (block.title, block.header) == ("top-1 % by access.kind", ["policy", "lte", "wifi", "lte / 5g"])


def test_rho_of_each_group_of_workers_stands_below_a_grid(grid, fake, tmp_path):
    table = sweep(grid, jobs=1, out=tmp_path, runner=fake).table
    shown = table.assign(rho_edge=table["network.regions"] * 1.5, rho_gpu=float("nan"))
    blocks = [block for block in sweep_page(shown, ["network.regions"]).blocks if block.title.startswith("rho")]
    assert [(block.header, block.rows) for block in blocks] == [(["workers", "2", "3"], [["edge", "3.00", "4.50"]])]


def test_validate_looks_at_every_point_of_a_grid(grid, tmp_path):
    said = CliRunner().invoke(cli, ["validate", str(grid), "--no-estimate"])
    assert "at each of 4 points of its grid" in said.output
    grid.write_text(GRID.replace("[4, 5]", "[4, 0]"), encoding="utf-8")
    said = CliRunner().invoke(cli, ["validate", str(grid), "--no-estimate"])
    assert (said.exit_code, "task.steps_per_epoch = 0: must be >= 1" in said.output) == (2, True)


def test_who_watches_a_grid_is_told_where_each_run_is(grid, fake, tmp_path):
    seen = {}
    sweep(grid, jobs=1, out=tmp_path, runner=fake, on_progress=lambda runs: seen.update(runs=runs))
    assert [run.label for run in seen["runs"]][:3] == [
        "full-sync, network.regions 2, network.region_uplink Gbps 1",
        "top-k, network.regions 2, network.region_uplink Gbps 1",
        "full-sync, network.regions 2, network.region_uplink Gbps 2"]
