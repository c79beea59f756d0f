"""Correlated worlds and resampled traces, as scenarios spell them."""

import pytest
from pydantic import ValidationError

from acesim.scenario import Access, load
from acesim.scenario.errors import ScenarioError
from acesim.scenario.schema import Cell, Diurnal, NetworkSpec
from acesim.scenario.units import from_mbps


def test_nothing_is_shared_unless_asked_for():
    spec = NetworkSpec()
    assert (spec.correlation, spec.cross_traffic, spec.diurnal, spec.cell) == (0.0, 0.0, Diurnal(), Cell())
    assert (spec.diurnal.amplitude, spec.cell.workers) == (0.0, 0)


def test_all_can_be_swept():
    found = load("quickstart", ["network.correlation=0.5", "network.cell.workers=4", "network.cell.downlink=80 Mbps",
                                "network.cross_traffic=0.2", "network.diurnal.amplitude=0.3",
                                "network.diurnal.period=512 s"]).network
    assert (found.correlation, found.cell.workers, found.cross_traffic) == (0.5, 4, 0.2)
    assert found.cell.downlink_bytes_per_s.low == from_mbps(80)
    assert found.diurnal.period_s == 512


@pytest.mark.parametrize("assignment", ["network.correlation=1.5", "network.cross_traffic=1", "network.cell.workers=-1",
                                        "network.cell.kind=wifi", "network.diurnal.amplitude=1",
                                        "network.diurnal={amplitude: 0.5}"])
def test_what_is_refused(assignment):
    with pytest.raises(ScenarioError, match="network"):
        load("quickstart", [assignment])


def test_resampling():
    assert Access(trace="x*.csv", resample=True, block_s=30).block_s == 30
    with pytest.raises(ValidationError, match="resample is for kind trace, not lte"):
        Access(kind="lte", resample=True)
    with pytest.raises(ValidationError, match="leave offset and end out"):
        Access(trace="x.csv", resample=True, offset_s=3)


def test_globs_and_names_of_traces_are_looked_for(tmp_path):
    (tmp_path / "a.csv").write_text("t_s,down_mbps,up_mbps\n0,1,1\n1,2,2\n")
    text = "extends: quickstart\nname: x\nworkers: [{{name: e, count: 2, device: n100, access: {{trace: '{}'}}}}]\n"
    for trace, there in (("*.csv", True), ("a.csv#one", True), ("*.log", False), ("b.csv#one", False)):
        (tmp_path / "s.yaml").write_text(text.format(trace))
        if there:
            assert load(tmp_path / "s.yaml").workers[0].access.trace == str(tmp_path / trace)
        else:
            with pytest.raises(ScenarioError, match="no such file"):
                load(tmp_path / "s.yaml")
