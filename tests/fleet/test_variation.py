"""How the times of steps vary: jitter, slow phases, stragglers, and what was measured."""

import math

import numpy as np
import pytest

from acesim import fleet
from acesim.fleet import calibration
from acesim.fleet.phases import Recorded, Renewal, read_presence, stretched
from acesim.fleet.presence import Presence, of_group
from acesim.scenario import dump, load, restore
from acesim.scenario.errors import ScenarioError, TraceError

SIZE = 10**6


def test_nothing_varies_unless_it_is_asked_for(written):
    built = fleet.build(written(), SIZE, 0)
    assert (built.variations, built.presence) == ((), ())
    again = fleet.build(written(compute={"stragglers": {"tail": 3.0}}), SIZE, 0)  # of no steps
    np.testing.assert_array_equal(built.compute_s(1, 0, 50), again.compute_s(1, 0, 50))


def test_jitter_of_ones_own(written):
    built = fleet.build(written(compute={"jitter": 0}), SIZE, 0)
    np.testing.assert_array_equal(built.compute_s(1, 0, 5), np.full(5, built.step_s[1]))


def test_persistent_stragglers_are_log_normal_of_mean_one(written):
    many = written(count=2000, compute={"stragglers": {"spread": 0.5}})
    factors = fleet.build(many, SIZE, 0).step_s[1:] / fleet.build(written(), SIZE, 0).step_s[1]
    # mean 1, sd .53 of one: 4 sigma of the mean of 2000 is .048; sd of the log .5, 4 sigma of it .032
    assert abs(factors.mean() - 1) < 0.048
    assert abs(np.log(factors).std() - 0.5) < 0.032


def test_a_straggler_stays_one(written):
    built = fleet.build(written(compute={"stragglers": {"spread": 0.5}, "jitter": 0}), SIZE, 3)
    assert len(set(built.compute_s(2, 0, 300).tolist())) == 1
    assert built.step_s[1] != built.step_s[2]


def test_heavy_tails_hit_their_share_and_follow_pareto(written):
    built = fleet.build(written(compute={"stragglers": {"share": 0.2, "tail": 2.0}, "jitter": 0}), SIZE, 0)
    factors = built.compute_s(1, 0, 20_000) / built.step_s[1]
    hit = factors[factors > 1]
    assert abs(hit.size / 20_000 - 0.2) < 4 * math.sqrt(0.16 / 20_000)
    beyond = (hit > 2).mean()  # P(factor > 2) = 2^-2
    assert abs(beyond - 0.25) < 4 * math.sqrt(0.25 * 0.75 / hit.size)
    np.testing.assert_array_equal(built.compute_s(1, 300, 5), built.compute_s(1, 0, 400)[300:305])


def test_slow_phases_stretch_what_falls_into_them():
    """Slow from 2 to 10: a second before, one across (.5 at full pace, .5 at a third), one within."""
    slow = Recorded((0.0, 2.0), (False, True), 10.0)
    assert stretched(slow, 3.0, 0.5, [1.0, 1.0, 1.0]) == [1.0, 2.0, 3.0]
    assert stretched(slow, 3.0, 9.0, [1.0]) == [pytest.approx(1 + 2 / 3)]


def test_slow_phases_take_their_share_of_time(written):
    """Slow a third of the time by a factor of 2: an hour of work takes 1 / (2/3 + 1/3 / 2) = 1.2 times as long."""
    compute = {"slow_phases": {"factor": 2, "every": "20 s", "last": "10 s"}, "jitter": 0}
    built = fleet.build(written(compute=compute), SIZE, 0)
    taken, now = 0.0, 0.0
    for block in range(40):
        taken = built.compute_s(1, 0, 1, now)[0]
        assert built.step_s[1] <= taken * (1 + 1e-9) <= 2 * built.step_s[1] * (1 + 1e-6)
        now += 100 * taken + block
    work = stretched(built.variations[1].slow, 2.0, 0.0, [100_000.0])[0]
    assert abs(work / 100_000 - 1.2) < 0.02


def test_renewals_spend_their_shares_and_are_stationary():
    on_at_zero, shares = [], []
    for who in range(400):
        process = Renewal(3.0, 1.0, 5, "availability", who, 1, spread=1.0)
        on_at_zero.append(process.at(0.0).on)
        shares.append(process.at(77.7).on)
    for found in (on_at_zero, shares):
        assert abs(np.mean(found) - 0.75) < 4 * math.sqrt(0.75 * 0.25 / 400)


def test_renewals_tell_when_they_change():
    process = Renewal(3.0, 1.0, 5, "availability", 0, 1)
    now, seen, lengths = 0.0, process.at(0.0).on, {True: [], False: []}
    for _ in range(4000):
        on, until = process.at(now)
        assert on == seen
        assert process.at(math.nextafter(until, 0)).on == on
        lengths[on].append(until - now)
        now, seen = until, not on
    for on, mean in ((True, 3.0), (False, 1.0)):
        assert abs(np.mean(lengths[on]) / mean - 1) < 4 / math.sqrt(2000)  # exponential: sd is the mean


def test_records_repeat_from_where_a_worker_begins():
    record = Recorded((0.0, 4.0, 7.0), (True, False, False), 10.0, offset_s=3.0)
    assert [record.at(time) for time in (0.0, 1.0, 6.9, 7.0, 11.0)] == [
        (True, 1.0), (False, 7.0), (False, 7.0), (True, 11.0), (False, 17.0)]
    assert Recorded((0.0,), (True,), 5.0).at(9.0) == (True, math.inf)
    odd = Recorded((0.0, 0.1), (True, False), 0.3, offset_s=0.1)
    now = 0.0
    for _ in range(1000):  # every change is seen at the very time it was told for
        on, until = odd.at(now)
        assert odd.at(until).on != on
        now = until


def test_presence_joins_leaves_and_breaks():
    always = Recorded((0.0, 3.0), (True, False), 5.0)
    present = Presence(always, Recorded((0.0, 6.0, 7.0), (True, False, True), 100.0), join_s=1.0, leave_s=12.0)
    now, seen = 0.0, []
    while now < math.inf:
        there, broken, until = present.at(now)
        seen.append((now, there, broken))
        now = until
    assert seen == [(0, False, False), (1, True, False), (3, False, False), (5, True, False), (6, False, True),
                    (7, True, False), (8, False, False), (10, True, False), (12, False, False)]


def test_presence_is_drawn_alike_for_every_policy_and_differs_by_worker(written):
    group = written(availability={"present": "1 h", "absent": "10 min", "join": "0-60 s"}, faults={"every": "2 h"})
    (first, *others), again = of_group(group.workers[1], 1, 0), of_group(group.workers[1], 1, 0)
    assert [first, *others] == again
    assert len({each.at(60.0).until_s for each in again}) == 3
    assert of_group(written(availability={"on_leave": "finish"}).workers[1], 1, 0) == [None] * 3


@pytest.mark.parametrize(("text", "rule"), [
    ("", ":1: must begin with the line t_s,present"),
    ("t_s,present\n0,1\n", ": needs two rows"),
    ("t_s,present\n1,1\n2,0\n", ": needs two rows or more, the first at 0 s"),
    ("t_s,present\n0,1\n0,0\n", ": needs two rows or more, the first at 0 s, times rising"),
    ("t_s,present\n0,0\n9,1\n", ": is never present"),
    ("t_s,present\n0,1\nsoon,0\n", ":3: 'soon,0': must be a time in seconds, a comma, and 0 or 1"),
    ("t_s,present\n0,2\n3,0\n", ":2: '0,2': must be"),
])
def test_bad_records(tmp_path, text, rule, written):
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(TraceError) as caught:
        read_presence(str(path))
    assert str(caught.value).removeprefix(str(path)).startswith(rule)
    found = written(availability={"trace": str(path)})
    assert [problem.path for problem in fleet.check(found)] == [("workers", 1, "availability", "trace")]


def test_a_record_of_presence_is_read(tmp_path, written):
    (tmp_path / "p.csv").write_text("t_s,present\n0,1\n30,0\n40,1\n")
    assert read_presence(str(tmp_path / "p.csv")) == Recorded((0.0, 30.0), (True, False), 40.0)
    built = fleet.build(written(availability={"trace": str(tmp_path / "p.csv")}), SIZE, 0)
    assert built.presence[0] is None
    assert len({each.switch.offset_s for each in built.presence[1:]}) == 3


def test_joining_after_leaving(written):
    (problem,) = fleet.check(written(availability={"join": "1-5 h", "leave": "4-6 h"}))
    assert "must be after join" in problem.rule


# ---- calibration

@pytest.fixture
def calibrated(written):
    """Write a calibration; return a scenario that has it."""
    def made(path, text, **group):
        path.write_text(text)
        return written(**group).model_copy(update={"calibration": str(path)})
    return made


def test_measured_times_take_the_place_of_reckoned_ones(tmp_path, calibrated):
    found = calibrated(tmp_path / "c.csv", "device,seconds_per_step\nrk3588,1.5\nrk3588, 2.5\n",
                       overrides={"flops": "80 GFLOP/s", "count": 1})
    built = fleet.build(found, SIZE, 0)
    assert built.step_s[1:].tolist() == [1.0, 2.0, 2.0]  # the first board is twice as quick as the one measured
    assert built.devices[1].jitter == fleet.device("rk3588").jitter  # two measurements do not tell
    assert list(fleet.check(found)) == []


def test_measurements_by_group_and_their_spread(tmp_path, calibrated, written):
    found = calibrated(tmp_path / "c.json", '{"boards": [1, 2, 3, 4, 5]}')
    built = fleet.build(found, SIZE, 0)
    assert built.step_s[1] == 3.0
    assert built.devices[1].jitter == pytest.approx(np.std([1, 2, 3, 4, 5], ddof=1) / 3)
    assert built.step_s[0] == fleet.build(written(), SIZE, 0).step_s[0]


@pytest.mark.parametrize(("name", "text", "rule"), [
    ("c.csv", "name,time\n", ":1: must begin with the line device,seconds_per_step"),
    ("c.csv", "device,seconds_per_step\n", ": no measurement"),
    ("c.csv", "device,seconds_per_step\nrk3588,-1\n", ":2: '-1': must be seconds, finite and > 0"),
    ("c.csv", "device,seconds_per_step\nrk3588,1.7,s\n", ":2: 3 values"),
    ("c.json", "{", ":1: not valid JSON"),
    ("c.json", "[1]", ": must be a mapping"),
    ("c.json", '{"rk3588": "fast"}', ": rk3588: 'fast': must be seconds"),
    ("c.json", '{"rk3588": []}', ": rk3588: no measurement"),
    ("c.json", '{"rk3588": true}', ": rk3588: True: must be seconds"),
    ("c.json", '{"rk3588": 1, "rk3588": 2}', ": not valid JSON: key rk3588 stands twice; remove one"),
    ("c.json", f'{{"rk3588": 1{400 * "0"}}}', ": rk3588: 1000"),
    ("c.json", '{"rk3588": NaN}', ": rk3588: nan: must be seconds"),
])
def test_bad_measurements(tmp_path, name, text, rule, calibrated):
    path = tmp_path / name
    found = calibrated(path, text)
    with pytest.raises(TraceError) as caught:
        calibration.read(str(path))
    assert str(caught.value).removeprefix(str(path)).startswith(rule)
    assert [problem.path for problem in fleet.check(found)] == [("calibration",)]


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path):
    for name, text in (("c.csv", "device,seconds_per_step\nrk3588,1.5\n"), ("c.json", '{"rk3588": 1.5}')):
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        assert calibration.read(str(tmp_path / name))["rk3588"].step_s == 1.5
    (tmp_path / "p.csv").write_text("t_s,present\n0,1\n30,0\n40,1\n", encoding="utf-8-sig")
    assert read_presence(str(tmp_path / "p.csv")).period_s == 40.0


def test_measurements_that_are_not_there_hide_nothing(tmp_path, written):
    found = written(overrides={"idle": "100 W"}).model_copy(update={"calibration": str(tmp_path)})
    assert [problem.path for problem in fleet.check(found)] == [("workers", 1, "overrides", 0), ("calibration",)]


def test_measurements_of_what_is_not_there(tmp_path, calibrated):
    first, second = fleet.check(calibrated(tmp_path / "c.json", '{"rk3558": 1}'))
    assert "rk3558: neither a device nor a worker group: unknown device; did you mean rk3588?" in first.rule
    assert "no worker is one of these" in second.rule


def test_files_are_found_beside_the_scenario(tmp_path):
    page = """name: x
task: {kind: quadratic}
nominal: {model: transformer-350m, tokens_per_step: {edge: 32}}
workers:
  - {name: a, count: 1, device: rk3588, access: {kind: lte}, availability: {trace: there.csv}}
calibration: measured.json
policies: [full-sync]
"""
    (tmp_path / "s.yaml").write_text(page)
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path / "s.yaml")
    paths = [problem.path for problem in caught.value.problems]
    assert paths == [("workers", 0, "availability", "trace"), ("calibration",)]
    assert str(tmp_path / "measured.json") in str(caught.value)
    (tmp_path / "there.csv").write_text("t_s,present\n0,1\n30,0\n40,1\n")
    (tmp_path / "measured.json").write_text('{"rk3588": 1.25}')
    loaded = load(tmp_path / "s.yaml", checks=(fleet.check,))
    assert fleet.build(loaded, SIZE, 0).step_s.tolist() == [1.25]
    assert restore(dump(loaded)) == loaded
