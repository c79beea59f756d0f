"""The ledger: findings on made-up runs, as rows and as a page."""

import json
from math import isnan

import pytest

from acesim.report.claims import claims_page, examine, rule_of, summary, table_of
from acesim.report.compare import gather
from acesim.report.formats import FORMATS, render
from acesim.report.verdicts import VERDICTS, Rule
from acesim.scenario.claims import Claim, Paper

PAPER = Paper(title="A paper", arxiv="1234.5678", note="what to know first")


def claim(name="bytes", *, metric="bytes_up", form="ratio", of="ace-sync", rule=None, **more):
    measure = {"metric": metric, "of": of, "against": "full-sync", "form": form}
    return Claim.model_validate({"id": name, "says": "less | by 60 %", "where": "Table 1", "measure": measure,
                                 "rule": rule or {"expect": "less", "factor": 1.5}, "figures": [44.7, 112.5]} | more)


@pytest.fixture(scope="module")
def findings(records):
    runs = gather(records)
    margin = {"expect": "no-worse", "margin": 0.3}
    claims = [
        claim(), claim("both", metric="bytes"),
        claim("kept", metric="top1_percent", form="difference", figures=None, rule=margin),
        claim("gone", of="dgc"), Claim(id="no", says="fast", uncheckable="no clock")]
    return [examine(each, runs, "table1") for each in claims]


def test_findings(findings):
    words = {finding.claim.id: finding.verdict.word for finding in findings}
    assert words == {"bytes": "reproduced", "both": "not reproduced", "kept": words["kept"], "gone": "not run",
                     "no": "not checkable here"}
    assert findings[0].verdict.effect.mean == pytest.approx(31 / 113.5)
    assert findings[1].verdict.effect.mean == pytest.approx(144.5 / 227)


def test_rules_are_in_the_unit_of_the_figure():
    figure = 44.7 / 112.5
    assert rule_of(claim()) == Rule("ratio", figure / 1.5, figure * 1.5, 1.0)
    assert rule_of(claim(rule={"expect": "between", "low": 0.4, "high": 0.6})) == Rule("ratio", 0.4, 0.6, 1.0)
    worse = claim(metric="loss_nats", form="difference", rule={"expect": "no-worse", "margin": 0.1}, figures=None)
    assert rule_of(worse).high == 0.1
    assert claim(form="difference", rule={"expect": "less"}).published == pytest.approx(-67.8)
    with pytest.raises(ValueError, match="has no rule"):
        rule_of(Claim(id="no", says="fast", uncheckable="no clock"))


def test_rows(findings):
    table = table_of(findings).set_index("id")
    assert table.loc["bytes", ["verdict", "seeds", "form"]].tolist() == ["reproduced", 3, "ratio"]
    assert table.loc["bytes", "paper"] == pytest.approx(44.7 / 112.5)
    assert table.loc["kept", "unit"] == "points"
    assert isnan(table.loc["kept", "region_high"])
    assert table.loc["no", "reason"] == "no clock"
    assert set(table["verdict"]) <= set(VERDICTS)


def test_the_page_quotes_the_paper_and_counts_what_missed_as_plainly_as_what_hit(findings):
    page = claims_page(PAPER, findings, ["missing: something"])
    assert [block.title for block in page.blocks] == ["A paper (arXiv:1234.5678)",
                                                      "What the paper says, and what was measured"]
    rows = {row[0]: row[1:] for row in page.blocks[0].rows}
    assert rows["bytes"] == ["reproduced", "0.273 [0.273, 0.273]", "3", "0.397", "0.265 to 0.596"]
    assert rows["both"][0] == "not reproduced"
    assert rows["kept"][4] == "above -0.3 points"
    assert rows["no"] == ["not checkable here", "–", "–", "–", "–"]
    said = {row[0]: row[1:] for row in page.blocks[1].rows}
    assert said["bytes"] == ["“less | by 60 %” (Table 1)", "bytes up of ace-sync over that of full-sync; on table1"]
    assert said["no"][1] == "not checkable: no clock"
    assert "no seed of which both policies have finished" in said["gone"][1]
    assert page.notes[1:3] == ["what to know first", "missing: something"]
    assert page.notes[-1] == summary(findings)
    assert page.notes[-1].startswith("5 claims: ")
    assert page.notes[-1].endswith("1 not checkable here, 1 not run")


def test_every_format(findings):
    page, table = claims_page(PAPER, findings), table_of(findings)
    for form in FORMATS:
        assert "bytes" in render(table, page, form)
    rows = json.loads(render(table, page, "json"))
    assert rows[0]["verdict"] == "reproduced"
    assert rows[3]["value"] is None
    assert r"less \| by 60 %" in render(table, page, "markdown")


@pytest.mark.parametrize(("low", "high", "text"), [(-0.004, 0.002, "-0.001 [-0.004, +0.002]"),
                                                   (-0.4, 0.2, "-0.10 [-0.40, +0.20]")])
def test_differences_have_as_many_decimals_as_tell(low, high, text, findings):
    kept = findings[2]
    effect = kept.verdict.effect._replace(mean=(low + high) / 2, low=low, high=high)
    shown = kept._replace(verdict=kept.verdict._replace(effect=effect))
    assert claims_page(PAPER, [shown]).blocks[0].rows[0][2] == text


def test_a_bound_and_the_seeds_needed_are_shown(findings):
    kept = findings[2]
    open_ = kept.verdict._replace(word="inconclusive", needed=12, bound="at most", reason="the interval does not tell")
    row = claims_page(PAPER, [kept._replace(verdict=open_)]).blocks[0].rows[0]
    assert row[2].startswith("at most ")
    assert row[3] == "3 (needs 12)"
    many = kept._replace(verdict=open_._replace(needed=None))
    assert claims_page(PAPER, [many]).blocks[0].rows[0][3] == "3 (needs >1000)"


def test_what_is_left_where_runs_failed_decides_nothing(records):
    found = examine(claim(), gather(records), failed={"ace-sync": 2, "top-k": 1}).verdict
    assert (found.word, found.seeds) == ("inconclusive", 3)
    assert found.reason == "runs failed (2 of ace-sync), and what is left is a selection"
    assert examine(claim(of="gone"), gather(records), failed={"gone": 2}).verdict.word == "not run"
