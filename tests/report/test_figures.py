"""Figures: drawn, of the right kind, and the same twice."""

from dataclasses import replace
from itertools import pairwise

import pandas as pd
import pytest
from matplotlib import rcParams
from matplotlib.image import imread

from acesim.records.read import load
from acesim.report import figures
from acesim.report.compare import compare
from acesim.scenario.errors import AcesimError, ResultMissing
from acesim.study import Study


@pytest.mark.parametrize("kind", sorted(figures.KINDS))
def test_every_kind_draws(kind, records, tmp_path):
    path = figures.draw(kind, records, tmp_path / f"{kind}.png")
    picture = imread(path)
    assert picture.shape[1] > 1000
    assert picture[..., :3].min() < 0.5


@pytest.mark.parametrize("suffix", [".svg", ".pdf"])
def test_the_same_figure_gives_the_same_bytes(suffix, records, tmp_path):
    one, two = (figures.draw("pareto", records, tmp_path / f"{name}{suffix}").read_bytes() for name in "ab")
    assert one == two


def test_a_figure_carries_the_fidelity_card(records, tmp_path, monkeypatch):
    world = {"workers": [{"access": {"kind": "lte"}}], "task": {"kind": "network-only"}}
    for record in records:
        monkeypatch.setitem(record.manifest, "scenario", world)
    text = figures.draw("convergence", records, tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "fidelity, network: fluid, exact max-min sharing" in text
    assert "fidelity, scores: none, for nothing is learned" in text


@pytest.mark.parametrize(("kind", "said"), [
    ("table1", "whiskers: their 95 % intervals"), ("pareto", "whiskers: their 95 % intervals"),
    ("convergence", "bands: from the lowest to the highest")])
def test_a_figure_says_what_its_widths_are(kind, said, records, tmp_path):
    text = figures.draw(kind, records, tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "means over 3 seeds; " + said in text
    one = figures.draw(kind, [each for each in records if each.seed == 0], tmp_path / "b.svg")
    assert "means over" not in one.read_text(encoding="utf-8")


def test_a_sweep_says_what_its_widths_are(swept, tmp_path):
    several = figures.draw_sweep(swept.assign(seeds=3), ["uplink (Mbps)"], tmp_path / "a.svg")
    assert "lines: means over 3 seeds; bands: their 95 % intervals" in several.read_text(encoding="utf-8")
    one = figures.draw_sweep(swept.assign(seeds=1), ["uplink (Mbps)"], tmp_path / "b.svg")
    assert "means over" not in one.read_text(encoding="utf-8")


def test_text_in_svg_stays_text(records, tmp_path):
    text = figures.draw("table1", records, tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "the paper's Table 1" in text
    assert "ace-sync" in text


def test_style_does_not_leak(records, tmp_path):
    before = dict(rcParams)
    figures.draw("convergence", records, tmp_path / "a.svg")
    assert dict(rcParams) == before


def test_one_seed_draws_too(studies, tmp_path):
    alone = load(studies(tmp_path / "s", labels=("top-k", "local-only"), seeds=(0,)))
    for kind in figures.KINDS:
        assert figures.draw(kind, alone, tmp_path / f"{kind}.svg").stat().st_size > 1000


def test_labels_of_a_crowd_cover_no_other_label(records):
    figure = figures.pareto(records)
    figure.canvas.draw()
    for panel in figure.axes:
        boxes = [text.get_window_extent() for text in panel.texts]
        assert len(boxes) == 5
        pairs = [(one, other) for row, one in enumerate(boxes) for other in boxes[row + 1:]]
        assert not any(one.overlaps(other) for one, other in pairs)


@pytest.fixture(scope="module")
def swept(records):
    table = compare(records)
    return pd.concat([table.assign(**{"uplink (Mbps)": rate, "rtt (ms)": rtt, "simulated_s": 1e6 / rate})
                      for rate in (5.0, 20.0, 80.0) for rtt in (10.0, 100.0)], ignore_index=True)


@pytest.mark.parametrize("keys", [("uplink (Mbps)",), ("uplink (Mbps)", "rtt (ms)")])
def test_sweeps_draw(keys, swept, tmp_path):
    chosen = swept if len(keys) == 2 else swept[swept["rtt (ms)"] == 10]
    text = figures.draw_sweep(chosen, keys, tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "uplink Mbps" in text


def test_ranges_below_an_axis_do_not_run_into_each_other(swept):
    """Labels that are as long as in ace-rho, in the three narrow panels of a grid over one key."""
    told = {5.0: "32-1280 Mbps", 20.0: "3.2-128 Mbps", 80.0: "0.365-14.6 Mbps"}
    chosen = swept[swept["rtt (ms)"] == 10]
    chosen = chosen.assign(**{"access.downlink": chosen["uplink (Mbps)"].map(told)})
    figure = figures.bandwidth(chosen, ["access.downlink"])
    figure.canvas.draw()
    for panel in figure.axes:
        boxes = [label.get_window_extent() for label in panel.get_xticklabels()]
        assert len(boxes) == 3
        assert not any(one.overlaps(other) for one, other in pairwise(boxes))


def test_speed_ups_are_drawn_over_numbers_of_workers_in_a_unit_that_can_be_read(swept, tmp_path):
    counts = swept.rename(columns={"uplink (Mbps)": "workers.gpu.count"}).assign(simulated_s=600.0, speed_up=4.0)
    drawn = figures.draw_sweep(counts, ["workers.gpu.count", "rtt (ms)"], tmp_path / "a.svg")
    text = drawn.read_text(encoding="utf-8")
    assert "Speed-up" in text
    assert "Simulated time (min)" in text
    other = figures.draw_sweep(swept.assign(speed_up=4.0), ["uplink (Mbps)"], tmp_path / "b.svg")
    assert "Speed-up" not in other.read_text(encoding="utf-8")


def test_some_policies_alone(records, tmp_path):
    text = Study(records[0].folder.parents[1]).plot("convergence", tmp_path / "a.svg", None, ["top-k", "fedavg"])
    drawn = text.read_text(encoding="utf-8")
    assert "top-k" in drawn
    assert "full-sync" not in drawn
    with pytest.raises(ResultMissing, match="--policy topk: no finished run has this label"):
        figures.chosen(["top-k"], ["topk"])


def test_what_cannot_be_drawn_is_said(records, swept, tmp_path):
    with pytest.raises(AcesimError, match="kind = pie: unknown figure"):
        figures.draw("pie", records, tmp_path / "a.svg")
    with pytest.raises(AcesimError, match=r"unknown kind of picture .gif"):
        figures.draw("pareto", records, tmp_path / "a.gif")
    mute = [replace(record, manifest=record.manifest | {"loss_nats": None}) for record in records]
    for kind in figures.KINDS:
        with pytest.raises(AcesimError, match="in none of these runs anything was learned"):
            figures.draw(kind, mute, tmp_path / "a.svg")
    with pytest.raises(AcesimError, match="3 swept keys"):
        figures.draw_sweep(swept, ["a", "b", "c"], tmp_path / "a.svg")


def test_no_two_of_many_policies_look_alike():
    looks = {(figures._marker(place), figures._look(place)["color"]) for place in range(64)}
    assert len(looks) == 64
