"""The comparison: figures of made-up runs, by hand."""

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from math import isnan

import pandas as pd
import pytest

from acesim.records.read import load
from acesim.report.compare import FIGURES, MARGIN, SHARES, TESTS, compare, view, views
from acesim.report.formats import FORMATS, render
from acesim.report.layout import NOTHING, comparison_page, notes, number, view_page
from acesim.report.paper import TABLE_1, paper_row
from acesim.report.statistics import holm, no_difference_p, no_worse_p
from acesim.scenario.errors import AcesimError, ResultMissing

PROMISED = ("label", "top1_percent", "perplexity", "gb_up_per_round", "gb_down_per_round", "gb_total",
            "reduction_percent", "convergence_epochs", "simulated_s", "time_to_80_s", "time_to_90_s", "time_to_97_s",
            "reached_97", "energy_kwh", "egress_cost", "worker_gb", "server_gb", "top1_difference")
COUNTS = ("label", "reached_97")


@pytest.fixture(scope="module")
def table(records):
    return compare(records).set_index("label", drop=False)


def test_every_promised_column_is_there_with_its_interval(table):
    promised = {f"{name}{end}" for name in PROMISED for end in ("", "_low", "_high") if name not in COUNTS or not end}
    assert promised <= set(table.columns)
    assert list(table["label"]) == ["full-sync", "top-k", "fedavg", "ace-sync", "local-only"]


def test_bytes_are_those_of_the_runs(table):
    assert table.loc["ace-sync", "gb_up_per_round"] == pytest.approx(31.0)
    assert table.loc["ace-sync", "gb_down_per_round"] == pytest.approx(113.5)
    assert table.loc["ace-sync", "gb_total"] == pytest.approx(480 * 144.5)
    assert table.loc["ace-sync", "reduction_percent"] == pytest.approx(100 * (1 - 31 / 113.5))
    assert table.loc["ace-sync", "reduction_total_percent"] == pytest.approx(100 * (1 - 144.5 / 227))
    assert table.loc["fedavg", "gb_up_per_round"] == pytest.approx(113.5)
    assert table.loc["fedavg", "gb_up_per_baseline_round"] == pytest.approx(113.5 / 2)   # half the rounds
    assert table.loc["fedavg", "reduction_percent"] == pytest.approx(50)
    assert table.loc["local-only", "gb_total"] == 0
    assert table.loc["local-only", "reduction_percent"] == 100


def test_differences_are_taken_seed_by_seed(table, records):
    by_seed = {(record.label, record.seed): record.manifest["top1_percent"] for record in records}
    gained = [by_seed["top-k", seed] - by_seed["full-sync", seed] for seed in range(3)]
    assert table.loc["top-k", "top1_difference"] == pytest.approx(sum(gained) / 3)
    assert table.loc["full-sync", "top1_difference_high"] == 0
    spread = table.loc["top-k", "top1_percent_high"] - table.loc["top-k", "top1_percent_low"]
    assert spread > 0


def test_times_to_an_accuracy_are_ordered_and_missing_where_never_reached(table):
    full = table.loc["full-sync"]
    assert full["time_to_80_s"] < full["time_to_90_s"] < full["time_to_97_s"] < full["simulated_s"]
    assert [full[f"reached_{share}"] for share in SHARES] == [3, 3, 3]
    assert isnan(table.loc["local-only", "time_to_80_s"])
    assert table.loc["local-only", "reached_80"] == 0
    assert isnan(table.loc["fedavg", "gb_to_97"])


def test_share_of_ideal_and_rho(table):
    # 20 epochs x 24 rounds x 900 s ideal; the policy needs 1800 (1 + .02 seed) s a round
    assert table.loc["full-sync", "share_of_ideal"] == pytest.approx((1 + 1 / 1.02 + 1 / 1.04) / 6)
    assert table.loc["full-sync", "rho_xavier"] == pytest.approx(1.9)


def test_no_share_of_ideal_is_told_of_some_seeds_alone(records):
    """Where a seed did other steps than the baseline's, as in runs up to a target, the mean would be of other seeds."""
    changed = [replace(each, manifest=each.manifest | {"local_steps": 7}) if (each.label, each.seed) == ("top-k", 1)
               else each for each in records]
    shares = [compare(each).set_index("label").loc["top-k", "share_of_ideal"] for each in (records, changed)]
    assert shares[0] > 0
    assert isnan(shares[1])


def test_runs_of_different_code_are_said_to_be(records):
    def told(code):
        changed = [replace(each, manifest=each.manifest | {"code": code}) if each.label == "top-k"
                   else replace(each, manifest=each.manifest | {"code": "1+abc"}) for each in records]
        return [note for note in notes(compare(changed), changed) if "different code" in note]
    assert told("1+abc") == told("1+abc/its-plugin") == []
    assert "top-k by 2+def" in told("2+def")[0]


def test_iterations_and_scaling(table):
    """1800 (1 + .02 seed) s a round, 900 of them without communication; no baseline enters."""
    assert table.loc["full-sync", "iteration_s"] == pytest.approx(1800 * 1.02)
    assert table.loc["full-sync", "scaling_percent"] == pytest.approx(100 * (1 + 1 / 1.02 + 1 / 1.04) / 6)


def test_the_papers_figures_stand_beside_and_enter_nothing(table, records, studies, tmp_path):
    assert table.loc["ace-sync", "paper_gb"] == 44.7
    assert isnan(table.loc["local-only", "paper_gb"])
    other = compare(load(studies(tmp_path, name="mine"))).set_index("label", drop=False)
    assert not [name for name in other.columns if name.startswith("paper")]
    pd.testing.assert_frame_equal(other, table[other.columns])


def test_table_1_is_copied_rightly():
    rows = {name: tuple(row) for name, row in TABLE_1.items()}
    assert rows == {"full-sync": (82.4, 18.7, 112.5, 41), "top-k": (80.1, 20.3, 68.4, 45),
                    "fedavg": (78.9, 21.6, 52.1, 47), "ace-sync": (82.1, 18.9, 44.7, 39)}
    assert paper_row("table1-sanity", "top-k") == TABLE_1["top-k"]
    assert paper_row("quickstart", "top-k") is None


def test_one_seed_has_no_interval_columns(studies, tmp_path):
    table = compare(load(studies(tmp_path, seeds=(0,))))
    assert not [name for name in table.columns if name.endswith(("_low", "_high"))]
    assert table.set_index("label").loc["top-k", "seeds"] == 1


def test_seeds_that_the_baseline_lacks_count_in_means_and_not_in_differences(studies, tmp_path):
    studies(tmp_path, labels=("full-sync",), seeds=(0,))
    studies(tmp_path, labels=("top-k",), seeds=(0, 1, 2))
    row = compare(load(tmp_path)).set_index("label").loc["top-k"]
    assert isnan(row["top1_difference_low"])
    assert not isnan(row["top1_percent_low"])


def test_another_baseline_or_none(records, studies, tmp_path):
    assert compare(records, "top-k").set_index("label").loc["top-k", "top1_difference"] == 0
    with pytest.raises(ResultMissing, match=r"baseline = full: no finished run .*there are: full-sync"):
        compare(records, "full")
    table = compare(load(studies(tmp_path, labels=("top-k",))))
    assert isnan(table["top1_difference"][0])
    assert isnan(table["time_to_90_s"][0])
    assert "no run of full-sync" in " ".join(comparison_page(table, load(tmp_path)).notes)


def test_runs_of_different_scenarios_do_not_mix(studies, tmp_path):
    studies(tmp_path / "a", labels=("top-k",), seeds=(0,))
    studies(tmp_path / "b", labels=("top-k",), seeds=(0,), scenario_hash="b2")
    with pytest.raises(AcesimError, match="different scenarios cannot stand in one table"):
        compare(load(tmp_path))
    with pytest.raises(ResultMissing, match="nothing to compare"):
        compare([])


def test_two_different_runs_of_one_seed_are_an_error_and_copies_are_not(studies, tmp_path):
    studies(tmp_path / "a", labels=("top-k",), seeds=(0,))
    studies(tmp_path / "b", labels=("top-k",), seeds=(0,))
    assert compare(load(tmp_path))["seeds"].tolist() == [1]
    studies(tmp_path / "c", labels=("top-k",), seeds=(0,), epochs=21)
    with pytest.raises(AcesimError, match="two different runs of top-k, seed 0"):
        compare(load(tmp_path))


def test_equal_bytes_reads_every_policy_where_the_thriftiest_ends(records):
    table = view(records, "bytes").set_index("label")
    assert table["gb"].nunique() == 1
    assert table.loc["fedavg", "epoch"] == 20                       # the thriftiest of those that send
    assert table.loc["full-sync", "epoch"] == pytest.approx(10)
    assert isnan(table.loc["local-only", "top1_percent"])
    assert table.loc["ace-sync", "top1_difference"] > 0


def test_equal_time_is_that_of_the_fastest_that_sends(records):
    table = view(records, "time").set_index("label")
    assert table.loc["fedavg", "epoch"] == pytest.approx(20)
    assert set(views(records)) == {"samples", "bytes", "time"}
    with pytest.raises(AcesimError, match="view = money: unknown view"):
        view(records, "money")


def test_json_is_a_list_of_rows_with_null_for_never(records, table):
    rows = json.loads(render(compare(records), comparison_page(table, records), "json"))
    by_label = {row["label"]: row for row in rows}
    assert by_label["local-only"]["time_to_97_s"] is None
    assert by_label["full-sync"]["reached_97"] == 3
    assert set(PROMISED) <= set(by_label["top-k"])


def test_csv_reads_back(records, table):
    rows = list(csv.DictReader(io.StringIO(render(compare(records), comparison_page(table, records), "csv"))))
    assert rows[4]["time_to_97_s"] == ""
    assert float(rows[0]["gb_total"]) == pytest.approx(480 * 227)


def test_markdown_tables_are_rectangular(records, table):
    text = render(table, comparison_page(table, records), "markdown")
    for block in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_latex_escapes_and_balances(records, table):
    text = render(table, comparison_page(table, records), "latex")
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 7
    assert not re.search(r"(?<!\\)%", re.sub(r"^%.*$", "", text, flags=re.MULTILINE))  # but in comments


def test_html_closes_what_it_opens(records, table):
    class Balance(HTMLParser):
        opened: list

        def handle_starttag(self, tag, attrs):
            self.opened.append(tag)

        def handle_endtag(self, tag):
            assert self.opened.pop() == tag

    parser = Balance()
    parser.opened = []
    parser.feed(render(table, comparison_page(table, records), "html"))
    assert parser.opened == []


def test_an_unknown_format_names_those_there_are(records, table):
    assert set(FORMATS) == {"markdown", "csv", "json", "latex", "html"}
    with pytest.raises(AcesimError, match="format = excel: unknown format"):
        render(table, comparison_page(table, records), "excel")


def test_the_page_says_what_the_figures_are_of(records, table):
    page = comparison_page(table, records)
    notes = "\n".join(page.notes)
    assert "accuracy is the proxy's (29,000 parameters)" in notes
    assert "rho (communication over computation of a dense round): cloud 0.0200, xavier 1.90" in notes
    assert "bigram 2.450, trigram 2.110" in notes
    assert "arXiv:2512.18127" in notes
    assert page.blocks[0].rows[0][2] == "(baseline)"
    assert page.blocks[0].rows[4][page.blocks[0].header.index("h to 97 %")] == NOTHING


def test_a_model_that_is_its_own_nominal_one_is_called_so(records, studies, tmp_path):
    own = load(studies(tmp_path, name="mine", labels=("top-k",), seeds=(0,), nominal_parameters=29_000,
                       yardsticks={}, rho={}))
    notes = comparison_page(compare(own), own).notes
    assert notes[0] == "accuracy, time and bytes are of one model of 29,000 parameters"
    assert len(notes) == 2


def test_what_policies_report_is_told_as_mean_and_last(studies, tmp_path):
    told = {"rank_correlation": {"mean": 0.5, "last": 0.75}, "level": {"mean": 2.0, "last": 2.0}}
    studies(tmp_path, labels=("full-sync", "top-k"), seeds=(0,))
    studies(tmp_path, labels=("ace-sync",), seeds=(0,), reported=told)
    own = load(tmp_path)
    table = compare(own)
    figures = table.set_index("label").loc["ace-sync"]
    assert (figures["reported_rank_correlation"], figures["reported_last_rank_correlation"]) == (0.5, 0.75)
    block = next(block for block in comparison_page(table, own).blocks if "report" in block.title)
    assert block.header == ["policy", "rank correlation", "level"]
    assert block.rows == [["ace-sync", "0.500, 0.750", "2.00"]]


def test_a_view_says_that_it_is_read_before_the_end(records):
    page = view_page(view(records, "bytes"), "bytes")
    assert "before the learning rate has decayed" in page.notes[0]
    assert page.blocks[0].header[1] == "after TB"


def test_numbers():
    assert [number(value) for value in (0.0, 0.5, 12.34, 999.9, -0.05, 1e-9)] == [
        "0.00", "0.500", "12.3", "1,000", "-0.0500", "0.000000"]


def test_every_figure_says_what_it_means(table):
    assert set(FIGURES) <= set(table.columns)
    assert all(FIGURES.values())


def test_tests_are_of_the_paired_differences_and_adjusted_for_all_policies(table, records):
    by_seed = {(record.label, record.seed): record.manifest["top1_percent"] for record in records}
    others = [label for label in table.index if label != "full-sync"]
    gained = {label: [by_seed[label, seed] - by_seed["full-sync", seed] for seed in range(3)] for label in others}
    assert table.loc[others, "difference_p"].tolist() == [no_difference_p(gained[label]) for label in others]
    assert table.loc[others, "no_worse_p"].tolist() == [no_worse_p(gained[label], MARGIN) for label in others]
    assert table.loc[others, "no_worse_holm"].tolist() == holm(table.loc[others, "no_worse_p"]).tolist()
    assert table.loc["full-sync", list(TESTS)].isna().all()


def test_the_margin_can_be_chosen(records):
    loose, strict = (compare(records, margin=margin).set_index("label")["no_worse_p"] for margin in (6.0, 0.1))
    assert loose["fedavg"] < 0.05 < strict["fedavg"]
    page = comparison_page(compare(records, margin=6.0), records)
    assert "p, worse by 6" in page.blocks[1].header


def test_views_are_tested_too(records):
    table = view(records, "bytes").set_index("label")
    assert table.loc["ace-sync", "difference_p"] < 0.01
    assert table.loc["ace-sync", "difference_holm"] >= table.loc["ace-sync", "difference_p"]
    assert view_page(view(records, "time"), "time").blocks[1].title == "Top-1 against full-sync, paired t tests"


def test_there_is_no_test_without_a_baseline_or_with_one_seed(studies, tmp_path):
    assert not set(TESTS) & set(compare(load(studies(tmp_path / "a", labels=("top-k", "fedavg")))).columns)
    one = load(studies(tmp_path / "b", seeds=(0,)))
    assert not set(TESTS) & set(compare(one).columns)
    assert not [block for block in comparison_page(compare(one), one).blocks if block.title.startswith("Top-1 against")]


def test_what_the_target_took_has_its_intervals(table, records):
    blocks = {block.title: block for block in comparison_page(compare(records), records).blocks}
    block = blocks["To 97 % of full-sync's final accuracy"]
    assert block.header == ["policy", "epochs", "hours", "TB", "kWh", "USD of egress"]
    assert block.rows[0][1].count("±") == 1
    assert block.rows[4][1:] == [NOTHING] * 5
    assert table.loc["full-sync", "kwh_to_97"] < table.loc["full-sync", "energy_kwh"]


def test_what_no_policy_reached_keeps_its_column_beside_what_one_did(table, records):
    """The epochs are read off a smoothed curve, so they may be known where the hours are not."""
    unknown = [name for name in table if str(name).startswith(("time_to_97_s", "gb_to_97"))]
    short = table.reset_index(drop=True).assign(**dict.fromkeys(unknown, float("nan")))
    short.attrs = dict(table.attrs)
    page = comparison_page(short, records)
    [block] = [block for block in page.blocks if block.title.startswith("To 97 %")]
    assert block.header == ["policy", "epochs", "hours", "TB", "kWh", "USD of egress"]
    assert {row[2] for row in block.rows} == {NOTHING}
    assert any("3 evaluations in a row" in note for note in page.notes)
    never = short.assign(**{name: float("nan") for name in short if "_to_97" in str(name)})
    never.attrs = dict(table.attrs)
    page = comparison_page(never, records)
    assert not [block for block in page.blocks if block.title.startswith("To 97 %")]
    assert not any("evaluations in a row" in note for note in page.notes)


def test_a_scenario_with_a_target_says_what_it_took(studies, tmp_path):
    aimed = load(studies(tmp_path, scenario={"name": "aimed", "stop": {"target_accuracy_percent": 40.0}}))
    table = compare(aimed)
    page = comparison_page(table, aimed)
    assert [block.title for block in page.blocks[:2]] == [
        "What was learned (mean ± half the 95 % interval over 3 seeds)", "To 40 % top-1, the scenario's target"]
    assert page.blocks[1].header == ["policy", "rounds", "hours", "TB", "kWh", "USD of egress"]
    assert "h to 97 %" not in page.blocks[0].header
    assert not any("evaluations in a row" in note for note in page.notes)
    rows = table.set_index("label")
    curve = next(each for each in aimed if (each.label, each.seed) == ("full-sync", 0)).metrics()
    first = curve[curve["top1_percent"] >= 40.0].iloc[0]
    one = compare([each for each in aimed if each.seed == 0]).set_index("label").loc["full-sync"]
    assert first["time_s"] - 24 * 1800 < one["time_to_target_s"] <= first["time_s"]
    assert one["rounds_to_target"] == pytest.approx(one["epochs_to_target"] * 24)
    assert rows.loc["local-only", "reached_target"] == 0


def test_a_short_study_is_told_in_seconds_and_megabytes(table, records):
    brief = table.reset_index(drop=True).assign(simulated_s=60.0, gb_total=0.5,
                                                gb_up_per_round=0.01, gb_down_per_round=0.01)
    brief.attrs = dict(table.attrs)
    heads = [head for block in comparison_page(brief, records).blocks for head in block.header]
    assert {"seconds", "s to 97 %", "total MB", "MB up/round", "egress MB"} <= set(heads)
    assert "hours" not in heads


def test_who_learned_nothing_is_named(studies, tmp_path):
    lost = load(studies(tmp_path, labels=("top-k",), seeds=(0,), yardsticks={"majority_nats": 2.302},
                        loss_nats=2.3026, scenario={"name": "x"}))
    assert any("learned nothing, or diverged" in note and note.endswith(": top-k")
               for note in comparison_page(compare(lost), lost).notes)
