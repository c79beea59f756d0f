"""The fidelity card: its figures are those of the shipped file, the file is current, and every report carries it."""

import json
from dataclasses import replace

import pytest

from acesim.network.fidelity import fitted
from acesim.network.models import traces_folder
from acesim.report.card import FILE, card, found, measured_now
from acesim.report.compare import compare, view
from acesim.report.formats import FORMATS, render
from acesim.report.layout import comparison_page, scales, view_page

TCP = {"network": {"transport": {"kind": "tcp", "congestion": "bbr"}}, "workers": [{"access": {"kind": "lte"}}]}
FLUID = {"network": {"transport": "fluid"}, "workers": [{"access": {"kind": "datacenter"}}]}


def test_the_shipped_file_is_what_would_be_written_now():
    """Of links it can only say that each fitted kind is there; `-m reference` measures them again."""
    _, links = found()
    assert measured_now(links) == traces_folder().joinpath(FILE).read_text(encoding="utf-8")
    assert [row.access for row in links] == [" ".join(key) for key in fitted()]


def test_figures_are_those_of_the_file():
    classes, links = found()
    single = [row for row in classes if row.source == "linux" and not row.kind.startswith("several")]
    text = "\n".join(card(TCP))
    assert "fidelity, network: tcp (bbr); single flows: off by ns-3 " in text
    assert f"(worst {max(row.worst_error for row in single):.0%})" in text
    lte = next(row for row in links if row.access == "lte down")
    assert f"{lte.usual} of {lte.figures} figures within 15 %" in text
    assert f"{lte.worst_ratio:.2f} times the measured" in text
    assert len(card(TCP)) == 3


def test_a_fluid_says_what_it_leaves_out_and_constant_links_nothing():
    network, scores = card(FLUID)
    assert "fluid, exact max-min sharing without set-up" in network
    assert "the proxy's" in scores


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_carries_it(form, records):
    records = [replace(record, manifest=record.manifest | {"scenario": TCP}) for record in records]
    table, page = compare(records), comparison_page(compare(records), records)
    text = render(table, page, form)
    assert "single flows: off by" in text.replace("\\_", "_")
    assert "fidelity" in text
    if form == "json":
        assert {row["fidelity"] for row in json.loads(text)} == {" | ".join(page.card)}
    assert view_page(view(records, "bytes"), "bytes", records).lines[-3:] == list(page.card)


def test_where_nothing_is_learned_no_score_is_told():
    page = {"scenario": {"task": {"kind": "network-only"}}, "parameters": 1, "nominal_parameters": 354_823_168}
    assert scales(page) == "nothing is trained; time and bytes are the nominal model's (354,823,168 parameters)"
    assert "proxy" not in " ".join(card(page["scenario"]))
