"""The figures of claims, read off made-up runs whose curves are known (see conftest)."""

from math import isnan

import numpy as np
import pandas as pd
import pytest

from acesim.records.read import load
from acesim.report.compare import compare, gather
from acesim.report.measures import FIGURES, in_words, measured, resolution, spent_to
from acesim.report.statistics import interval
from acesim.scenario.claims import GOAL, STANDING, WHOLE, Measure

TARGET = {"share_percent": 97, "of": "full-sync"}


@pytest.fixture(scope="module")
def runs(records):
    return gather(records)


def values(runs, metric, of="top-k", against="full-sync", form="difference", **more):
    one, other = measured(Measure(metric=metric, of=of, against=against, form=form, **more), runs)
    return [[one[seed].value for seed in sorted(one)], [other[seed].value for seed in sorted(other)]]


def test_every_metric_of_a_claims_file_can_be_read(runs):
    assert set(FIGURES) == {*STANDING, *WHOLE, *GOAL}
    for metric in FIGURES:
        target = {"target": TARGET} if metric in GOAL else {}
        assert np.shape(values(runs, metric, **target)) == (2, 3)


def test_bytes_and_time_at_the_end_are_those_of_the_run(runs):
    assert values(runs, "bytes_up")[0] == pytest.approx([480 * 68.1] * 3)
    assert values(runs, "bytes")[1] == pytest.approx([480 * 227] * 3)
    assert values(runs, "time_s")[0] == pytest.approx([480 * 1500 / 3600 * (1 + 0.02 * seed) for seed in range(3)])
    assert values(runs, "round_s", of="fedavg")[0] == pytest.approx([1900 * (1 + 0.02 * seed) for seed in range(3)])
    assert values(runs, "epoch_s", of="fedavg")[0] == pytest.approx([12 * 1900 * (1 + 0.02 * s) for s in range(3)])


def test_at_an_epoch_both_are_read_there(runs):
    found = values(runs, "bytes_up", epoch=10.5)
    assert found[0] == pytest.approx([10.5 * 24 * 68.1] * 3)
    assert found[1] == pytest.approx([10.5 * 24 * 113.5] * 3)
    assert np.isnan(values(runs, "bytes_up", epoch=20.5)).all()


def test_at_equal_bytes_time_and_samples_both_have_used_up_the_same(runs):
    found = values(runs, "epochs", of="ace-sync", at="equal-bytes")
    assert found == [pytest.approx([20.0] * 3), pytest.approx([20 * 144.5 / 227] * 3)]
    assert values(runs, "epochs", of="ace-sync", at="equal-time")[1] == pytest.approx([20 * 1100 / 1800] * 3)
    assert values(runs, "epochs", of="ace-sync", at="equal-samples") == [pytest.approx([20.0] * 3)] * 2
    assert values(runs, "bytes", of="ace-sync", at="equal-bytes")[0] == pytest.approx([480 * 144.5] * 3)


def test_what_a_target_took_is_what_the_comparison_says(runs, records):
    table = compare(records).set_index("label")
    for metric, column, unit in (("time_to_s", "time_to_97_s", 3600), ("bytes_to", "gb_to_97", 1),
                                 ("joules_to", "kwh_to_97", 1), ("epochs_to", "epochs_to_97", 1),
                                 ("cost_to", "cost_to_97", 1)):
        found = interval(values(runs, metric, of="top-k", target=TARGET)[0])
        assert found.mean * unit == pytest.approx(table.loc["top-k", column]), metric
        assert found.high * unit == pytest.approx(table.loc["top-k", f"{column}_high"]), metric


def test_the_cost_follows_the_tiers_of_the_scenarios_prices(runs):
    run = runs["full-sync"][0]
    spent = spent_to(run, "cost_to", 40.0)
    nbytes = np.interp(spent_to(run, "rounds_to", 40.0).value, run.curve["round"], run.curve["egress_bytes"])
    assert spent.exact
    assert spent.value == pytest.approx(nbytes * 0.09 / 1e9, rel=1e-6)      # the first tier of the default list


def test_a_target_that_was_never_reached_took_at_least_the_whole_run(runs):
    one, other = measured(Measure(metric="rounds_to", of="local-only", against="full-sync", form="ratio",
                                  target=TARGET), runs)
    assert {sample.exact for sample in one.values()} == {False}
    assert {sample.value for sample in one.values()} == {20.0}
    assert all(sample.exact for sample in other.values())


def test_a_target_may_be_an_accuracy(runs):
    found = values(runs, "epochs_to", target={"top1_percent": 30})
    assert 3 < np.mean(found) < 15


def test_an_accuracy_counts_when_it_is_first_reached_for_a_run_may_stop_there(runs):
    curve = pd.DataFrame({"round": range(4), "epoch": range(4), "top1_percent": [0, 10, 20, 40]})
    stopped = {0: runs["top-k"][0]._replace(curve=curve)}
    found = values({"top-k": stopped, "full-sync": stopped | {1: runs["top-k"][1]}}, "rounds_to",
                   target={"top1_percent": 30})
    assert found == [[2.5], [2.5]]
    share = Measure(metric="rounds_to", of="top-k", against="full-sync", form="ratio",
                    target={"share_percent": 60, "of": "full-sync"})
    found = measured(share, {"top-k": stopped, "full-sync": stopped})
    assert not found[0][0].exact                    # two evaluations lie above 60 % of 23.3, not three


def test_epochs_to_a_share_are_read_off_the_smoothed_curve(runs):
    run = runs["top-k"][0]
    curve = pd.DataFrame({"epoch": range(6), "top1_percent": [0, 10, 40, 10, 40, 40]})
    # smoothed: 5, 16.7, 20, 30, 30, 40
    assert spent_to(run._replace(curve=curve), "epochs_to", 25.0).value == pytest.approx(2.5)


def test_convergence_is_the_runs_own(runs, records):
    found = values(runs, "convergence_epochs")[0]
    assert np.mean(found) == pytest.approx(compare(records).set_index("label").loc["top-k", "convergence_epochs"])


def test_only_seeds_that_all_have_are_read(studies, tmp_path):
    studies(tmp_path, labels=("full-sync",), seeds=(0, 1))
    studies(tmp_path, labels=("top-k",), seeds=(1, 2))
    studies(tmp_path, labels=("fedavg",), seeds=(1, 2))
    found = gather(load(tmp_path))
    one, _ = measured(Measure(metric="bytes_to", of="top-k", against="fedavg", form="ratio", target=TARGET), found)
    assert list(one) == [1]
    assert list(measured(Measure(metric="bytes", of="top-k", against="fedavg", form="ratio"), found)[0]) == [1, 2]
    assert measured(Measure(metric="bytes", of="top-k", against="gone", form="ratio"), found) == ({}, {})


def test_an_accuracy_tells_no_less_than_one_prediction(runs):
    accuracy = Measure(metric="top1_percent", of="top-k", against="full-sync", form="difference")
    assert resolution(accuracy, runs) == 100 / 40_000
    assert resolution(accuracy, {}) == 0
    assert resolution(accuracy.model_copy(update={"metric": "loss_nats"}), runs) == 0


def test_a_figure_that_a_run_lacks_is_no_number(runs):
    assert isnan(values(runs, "egress_cost")[0][0])


def test_where_nothing_is_learnt_there_is_no_target(runs):
    lost = {0: runs["full-sync"][0]._replace(curve=runs["full-sync"][0].curve.assign(top1_percent=0.0))}
    found = values({"full-sync": lost, "top-k": runs["top-k"]}, "time_to_s", target=TARGET)
    assert np.isnan(found).all()


@pytest.mark.parametrize(("more", "words"), [
    ({}, "loss of a over that of b"), ({"epoch": 20.0}, "loss of a over that of b, at epoch 20"),
    ({"at": "equal-bytes"}, "loss of a over that of b, at equal bytes"),
])
def test_words(more, words):
    assert in_words(Measure(metric="loss_nats", of="a", against="b", form="ratio", **more)) == words


def test_words_of_targets():
    one = Measure(metric="time_to_s", of="a", against="b", form="ratio", target=TARGET)
    assert in_words(one) == "time of a over that of b, to 97 % of full-sync's final accuracy"
    assert in_words(one.model_copy(update={"target": None})) == "time of a over that of b"
