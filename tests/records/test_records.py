"""Rows, folds, the files of a run, and finding them again."""

import json
from math import isnan, nan

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acesim.records import manifest as manifests
from acesim.records.blocks import Block, Later, Mixed
from acesim.records.fold import Fold, outside
from acesim.records.manifest import Manifest, digest, final_figures
from acesim.records.read import UnusableRun, find, load, refold
from acesim.records.rows import CUMULATIVE, Event, MetricRow
from acesim.records.store import RunWriter, clear, write_json
from acesim.scenario.errors import ResultMissing

WORKERS, REGIONS, TIER = 3, 2, ("cloud", "edge", "edge")
CLOUD = WORKERS + REGIONS

TIMELINE = [
    Event("download", 0, 0, CLOUD, 0.0, 1.0, values_bytes=100, header_bytes=4, links=2, joules=1.0),
    Event("download", 0, 1, 3, 0.0, 2.0, values_bytes=100, control_bytes=6, header_bytes=4, links=1),
    Event("download", 0, 3, CLOUD, 0.0, 2.0, values_bytes=50, header_bytes=4, links=2),
    Event("download", 0, 4, CLOUD, 0.0, 2.0, values_bytes=50, header_bytes=4, links=1),
    Event("compute", 0, 0, -1, 1.0, 3.0, steps=2, joules=10.0, loss=2.5),
    Event("compute", 0, 1, -1, 2.0, 4.0, steps=1, joules=0.5),
    Event("upload", 0, 0, CLOUD, 3.0, 5.0, values_bytes=40, index_bytes=10, scale_bytes=2, links=2,
          proxy_bytes=7),
    Event("upload", 0, 3, CLOUD, 5.0, 6.0, values_bytes=30, links=2),
    Event("evaluate", 0, CLOUD, -1, 6.0, 6.0, loss=2.4),
    Event("figure", 0, CLOUD, -1, 6.0, 6.0, name="drift", value=0.75),
    Event("figure", 0, CLOUD, -1, 6.0, 6.0, name="rank_correlation", value=0.5),
    Event("compute", 1, 0, -1, 7.0, 8.0, steps=1, wait_s=4.0),
    Event("compute", 1, 1, -1, 6.0, 8.0, steps=1, wait_s=2.0),
    Event("download", 1, 2, CLOUD, 8.0, 9.0, values_bytes=1, links=3),
    Event("evaluate", 1, CLOUD, -1, 9.0, 9.0, loss=2.3),
]


def folded(events):
    fold = Fold(WORKERS, REGIONS, TIER)
    rows = []
    for event in events:
        fold.add(event)
        if event.kind == "evaluate":
            rows.append(fold.snapshot())
    return rows, fold


def metric(epoch, figures):
    return MetricRow(epoch=epoch, round=int(epoch), time_s=epoch * 10, progress=epoch / 2, loss_nats=2.0,
                     top1_percent=40.0, perplexity=7.4, cloud_loss_nats=2.0, edge_loss_nats=2.0,
                     cloud_top1_percent=40.0, edge_top1_percent=40.0, scored=100, **figures)


def write_run(folder, events=TIMELINE, status="done", seed=0, label="top-k", error=None, flush_rows=50_000):
    writer = RunWriter(folder, flush_rows)
    rows, fold = folded(events)
    for event in events:
        writer.event(event)
    for number, figures in enumerate(rows):
        writer.metric(metric(number + 1.0, figures))
    totals = fold.totals()
    page = Manifest(scenario={"name": "s"}, policy={"name": label, "parameters": {}}, label=label, seed=seed,
                    status=status, error=error,
                    digest=digest(writer.metrics, totals, np.zeros(3, np.float32)),
                    **final_figures(writer.metrics, totals))
    writer.close(page.document(), np.arange(3, dtype=np.float32))
    return folder


def test_fold_counts_a_timeline_by_hand():
    first, last = folded(TIMELINE)[0]
    assert first["bytes_up"] == 52
    assert first["bytes_down"] == 104 + 110
    assert first["region_bytes_up"] == 30
    assert first["region_bytes_down"] == 54 + 54
    assert first["link_bytes"] == 208 + 110 + 108 + 54 + 104 + 60
    assert first["egress_bytes"] == 54                # region 0 alone: the others are in the cloud
    assert first["energy_joules"] == 11.5
    assert first["local_steps"] == 3
    assert isnan(first["sync_delay_s"])
    assert isnan(first["drift"])
    assert last["sync_delay_s"] == 3.0
    assert last["drift"] == 0.75
    assert last["egress_bytes"] == 55


def test_snapshot_names_columns_of_the_metric_row():
    assert tuple(Fold(1, 1).snapshot()) == CUMULATIVE
    assert set(CUMULATIVE) < set(MetricRow._fields)


def test_totals_account_for_every_part():
    totals = folded(TIMELINE)[1].totals()
    parts = sum(totals[f"upload_{part}"] for part in
                ("values_bytes", "index_bytes", "scale_bytes", "control_bytes", "header_bytes"))
    assert parts == totals["bytes_up"] + totals["region_bytes_up"]
    assert (totals["upload_messages"], totals["download_messages"], totals["upload_proxy_bytes"]) == (2, 5, 7)


def test_outside_without_tiers_takes_every_worker_for_edge():
    assert outside(2, 1, None) == (True, True, False, False)


def test_events_are_written_in_parts_and_read_in_order(tmp_path):
    write_run(tmp_path / "run", flush_rows=4)
    assert len(list((tmp_path / "run" / "events").glob("part-*.parquet"))) == 4
    [record] = load(tmp_path)
    events = record.events()
    assert list(events.columns) == list(Event._fields)
    assert events["kind"].tolist() == [event.kind for event in TIMELINE]
    assert events["values_bytes"].tolist() == [event.values_bytes for event in TIMELINE]
    schema = pq.read_schema(tmp_path / "run" / "events" / "part-00000.parquet")
    assert str(schema.field("kind").type).startswith("dictionary")


def test_a_stored_run_counts_again_to_the_same_figures(tmp_path):
    write_run(tmp_path, flush_rows=4)
    [record] = load(tmp_path)
    again = refold(record.events(), WORKERS, REGIONS, TIER)
    columns = list(CUMULATIVE)
    pd.testing.assert_frame_equal(again[columns], record.metrics()[columns], check_exact=True)
    assert again["round"].tolist() == [0, 1]
    assert again["time_s"].tolist() == [6.0, 9.0]


_EVENTS = st.builds(
    Event, st.sampled_from(("download", "upload", "compute", "evaluate", "figure", "plan")),
    st.integers(0, 9),
    st.integers(0, CLOUD - 1), st.sampled_from((-1, 3, CLOUD)), st.floats(0, 10), st.floats(10, 20),
    steps=st.integers(0, 9), values_bytes=st.integers(0, 10**13), index_bytes=st.integers(0, 99),
    scale_bytes=st.integers(0, 99), control_bytes=st.integers(0, 99), header_bytes=st.integers(0, 99),
    links=st.integers(0, 4), proxy_bytes=st.integers(0, 99), wait_s=st.floats(0, 1e6) | st.just(nan),
    joules=st.floats(0, 1e6), name=st.sampled_from(("", "drift")), value=st.floats(-1, 1))


@settings(max_examples=40, deadline=None)
@given(st.lists(_EVENTS, max_size=30))
def test_refold_equals_fold_bit_for_bit(events):
    events = [*events, TIMELINE[8]]
    table = pd.DataFrame(events, columns=Event._fields)
    again = refold(table, WORKERS, REGIONS, TIER)
    first = pd.DataFrame(folded(events)[0])
    pd.testing.assert_frame_equal(again[list(CUMULATIVE)], first, check_exact=True, check_dtype=False)


def in_one_go(rng, count):
    """Return computations and uploads in some order, to be spelt out later."""
    who, rounds = np.arange(count), rng.integers(9, size=2)
    waits_s, joules = np.where(rng.random(count) < 0.3, nan, rng.random(count)), rng.random(2 * count)
    sizes, order = rng.integers(0, 10**12, count), rng.permutation(2 * count)
    return Later(spelt, (who, rounds, waits_s, joules, sizes, order), 2 * count, 2 * count)


def spelt(all_facts):
    """Return the events that `in_one_go` means."""
    counts = [len(who) for who, *_ in all_facts]
    whos, rounds, waits_s, joules, sizes, orders = zip(*all_facts, strict=True)
    who, total = np.concatenate(whos), sum(counts)
    own = [np.concatenate([each[count * kind:count * (kind + 1)] for each, count in zip(joules, counts, strict=True)])
           for kind in range(2)]
    number = [np.repeat([each[kind] for each in rounds], counts) for kind in range(2)]
    computed = Block.of("compute", total, round=number[0], who=who, steps=2, wait_s=np.concatenate(waits_s),
                        joules=own[0])
    sent = Block.of("upload", total, round=number[1], who=who, peer=CLOUD, links=3, header_bytes=7,
                    values_bytes=np.concatenate(sizes), proxy_bytes=who, joules=own[1])
    firsts = np.cumsum([0, *counts[:-1]])
    return Mixed((computed, sent), np.concatenate([
        order // count * total + first + order % count
        for order, count, first in zip(orders, counts, firsts, strict=True)]))


@pytest.mark.parametrize("seed", range(4))
def test_events_in_one_go_are_those_that_come_one_by_one(seed, tmp_path):
    rng = np.random.default_rng(seed)
    items = [in_one_go(rng, 3) if rng.random() < 0.5 else TIMELINE[rng.integers(len(TIMELINE))] for _ in range(12)]
    events = [event for item in items for event in (item.events() if isinstance(item, Later) else [item])]
    folds, writers = [Fold(3, 2), Fold(3, 2)], [RunWriter(tmp_path / name, 30) for name in ("one", "other")]
    for item in items:
        if isinstance(item, Later):
            folds[0].add_all(item)
            writers[0].block(item)
        else:
            folds[0].add(item)
            writers[0].event(item)
    for event in events:
        folds[1].add(event)
        writers[1].event(event)
    assert str(folds[0].totals()) == str(folds[1].totals())  # as text: NaN is itself
    for writer in writers:
        writer.close(Manifest({}, {}, writer.folder.name, 0, "done").document())
    one, other = load(tmp_path)
    pd.testing.assert_frame_equal(one.events(), other.events(), check_exact=True)
    assert one.events()["kind"].tolist() == [event.kind for event in events]


def test_a_run_without_events_or_rows_is_still_readable(tmp_path):
    RunWriter(tmp_path).close(Manifest({}, {}, "a", 0, "done").document())
    [record] = load(tmp_path)
    assert record.events().empty
    assert list(record.metrics().columns) == list(MetricRow._fields)


def test_the_manifest_is_strict_json_and_survives_numpy_and_nan():
    page = Manifest({"seeds": (np.int64(1),)}, {}, "a", 0, "done", drift=nan, rho={"edge": np.float32(0.5)})
    document = json.loads(json.dumps(page.document(), allow_nan=False))
    assert document["drift"] is None
    assert document["rho"] == {"edge": 0.5}
    assert document["scenario"] == {"seeds": [1]}


def test_a_manifest_refuses_an_unknown_status():
    with pytest.raises(ValueError, match=r"manifest.status = over: must be one of done, interrupted, failed"):
        Manifest({}, {}, "a", 0, "over")


def test_write_json_refuses_nan_and_keeps_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": nan})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1}


@pytest.mark.parametrize("change", ["metrics", "totals", "weights", "dtype", "order"])
def test_the_digest_sees_every_change(change):
    rows, totals, weights = [(1.0, 2), (nan, 3)], {"a": 1, "b": 0.5}, np.ones(3, np.float32)
    changed = {
        "metrics": ([(np.nextafter(1.0, 2.0), 2), (nan, 3)], totals, weights),
        "totals": (rows, {"a": 1, "b": 0.25}, weights),
        "weights": (rows, totals, np.array([1, 1, 1 + 1e-6], np.float32)),
        "dtype": (rows, totals, np.ones(3)),
        "order": (rows[::-1], totals, weights),
    }[change]
    assert digest(*changed) != digest(rows, totals, weights)


def test_the_digest_ignores_the_order_of_totals_and_byte_order_of_weights():
    rows, weights = [(np.float64(1.0), np.int64(2))], np.ones(3, np.float32)
    swapped = weights.astype(">f4")
    assert digest(rows, {"a": 1, "b": 2}, weights) == digest([(1.0, 2)], {"b": 2, "a": 1}, swapped)


def test_an_unfinished_run_is_named_and_passed_over(tmp_path):
    write_run(tmp_path / "s" / "top-k" / "seed-0")
    RunWriter(tmp_path / "s" / "top-k" / "seed-1")
    write_run(tmp_path / "s" / "top-k" / "seed-2", status="failed", seed=2, error="loss is NaN")
    (write_run(tmp_path / "s" / "top-k" / "seed-3", seed=3) / "manifest.json").write_text("{")
    (write_run(tmp_path / "s" / "top-k" / "seed-4", seed=4) / "metrics.parquet").unlink()
    found = find(tmp_path)
    assert [record.seed for record in found.records] == [0]
    assert [fault.split("passed over: ")[1].split(";")[0] for fault in found.faults] == [
        "it was not finished", "failed: loss is NaN", "its manifest.json cannot be read",
        "metrics.parquet is missing"]
    with pytest.warns(UnusableRun) as caught:
        load(tmp_path)
    assert [str(warning.message) for warning in caught] == found.faults


def test_runs_come_in_the_order_of_the_study_and_of_seeds(tmp_path):
    runs = []
    for label in ("top-k", "ace-sync"):
        for seed in (10, 2):
            write_run(tmp_path / "s" / label / f"seed-{seed}", seed=seed, label=label)
            runs.append({"folder": f"{label}/seed-{seed}"})
    write_json(tmp_path / "s" / "study.json", {"runs": runs})
    named = [(record.label, record.seed) for record in load(tmp_path / "s")]
    assert named == [("top-k", 2), ("top-k", 10), ("ace-sync", 2), ("ace-sync", 10)]
    one = tmp_path / "s" / "top-k" / "seed-10"
    assert [record.seed for record in load([one, tmp_path / "s" / "top-k"])] == [10, 2]


def test_a_broken_study_list_costs_the_order_only(tmp_path):
    write_run(tmp_path / "top-k" / "seed-0")
    (tmp_path / "study.json").write_text("[]")
    assert len(load(tmp_path)) == 1


def test_missing_results_say_what_makes_them(tmp_path):
    with pytest.raises(ResultMissing, match=r"nowhere: no such folder; `acesim run"):
        load(tmp_path / "nowhere")
    with pytest.raises(ResultMissing, match="no finished run found; `acesim run"):
        load(tmp_path)
    write_run(tmp_path / "run")
    for part in (tmp_path / "run" / "events").iterdir():
        part.unlink()
    [record] = load(tmp_path)
    with pytest.raises(ResultMissing, match="no events"):
        record.events()


def test_a_second_writer_clears_what_the_first_left(tmp_path):
    write_run(tmp_path / "run")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    RunWriter(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["events", "notes.txt"]
    clear(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_the_model_comes_back(tmp_path):
    write_run(tmp_path)
    assert load(tmp_path)[0].model().tolist() == [0.0, 1.0, 2.0]


def test_final_figures_take_scores_from_the_last_row_and_counts_from_the_ledger(tmp_path):
    rows, fold = folded(TIMELINE)
    found = final_figures([metric(1.0, rows[0])], fold.totals())
    assert found["epochs"] == 1.0
    assert found["simulated_s"] == 10.0
    assert found["bytes_down"] == rows[1]["bytes_down"]
    assert final_figures([], {}) == {"totals": {}}


def test_host_figures_name_versions_and_memory():
    found = manifests.host_figures(0.0)
    assert found["wall_s"] > 0
    assert {"acesim", "python", "numpy"} <= found["versions"].keys()
    assert found["peak_rss_bytes"] is None or found["peak_rss_bytes"] > 10_000_000


def test_the_code_version_names_the_release_and_the_source():
    release, source = manifests.code_version().split("+")[0], manifests.code_version().split("+")[-1]
    assert release
    assert len(source) == 12


def test_figures_are_reported_by_their_mean_and_their_last_value_wherever_they_come():
    fold = Fold(1, 1)
    for value in (1.0, nan, 4.0):
        fold.add(Event("figure", 0, 2, -1, 0.0, 0.0, name="rank_correlation", value=value))
        fold.add_all(in_one_go(np.random.default_rng(0), 1))
    fold.add(Event("figure", 0, 2, -1, 0.0, 0.0, name="drift", value=9.0))
    assert fold.reported == {"rank_correlation": {"mean": 2.5, "last": 4.0}}
