from types import SimpleNamespace

import numpy as np
import pytest

from acesim import fleet
from acesim.fleet.memory import activation_bytes, memory
from acesim.scenario.costs import Prices
from acesim.scenario.errors import ScenarioError
from acesim.scenario.hardware import Availability, Compute, Faults
from acesim.seam import Work


def scenario(**nominal):
    usual = {"overrides": (), "compute": Compute(), "availability": Availability(), "faults": Faults()}
    group = SimpleNamespace(name="boards", count=2, device="rk3588", tier="edge", access=SimpleNamespace(kind="lte"),
                            **usual)
    cloud = SimpleNamespace(name="cloud", count=1, device="a100", tier="cloud",
                            access=SimpleNamespace(kind="datacenter"), **usual)
    facts = {"tokens": lambda group: 32, "checkpoints": lambda group: False, "micro_batch": "auto", "width": 1024,
             "depth": 24} | nominal
    return SimpleNamespace(workers=(cloud, group), nominal=SimpleNamespace(**facts),
                           network=SimpleNamespace(regions=2), calibration=None, prices=Prices(), currency="USD",
                           servers=SimpleNamespace(region=SimpleNamespace(device="n100"),
                                                   cloud=SimpleNamespace(device="a100")))


def test_a_350m_step_on_an_rk3588_takes_1_7_s_at_32_tokens():
    built = fleet.build(scenario(), 350_000_000, 0)
    assert built.step_s[1] == pytest.approx(6 * 350e6 * 32 / 40e9)
    assert built.step_s[1] == pytest.approx(1.68)


def test_rows_are_workers_then_regions_then_the_data_centre_and_the_cloud():
    built = fleet.build(scenario(), 1000, 0)
    assert [each.name for each in built.devices] == ["a100", "rk3588", "rk3588", "n100", "n100", "a100", "a100"]


def test_checkpointing_costs_a_third():
    plain = fleet.build(scenario(), 1000, 0).step_s
    again = fleet.build(scenario(checkpoints=lambda group: group.tier == "edge"), 1000, 0).step_s
    np.testing.assert_allclose(again / plain, [1, 4 / 3, 4 / 3])


def test_jitter_depends_on_worker_and_step_only():
    built = fleet.build(scenario(), 1000, 0)
    whole = built.compute_s(1, 250, 20)
    np.testing.assert_array_equal(whole[5:8], built.compute_s(1, 255, 3))
    assert not np.allclose(whole, built.compute_s(2, 250, 20))
    many = built.compute_s(1, 0, 4000) / built.step_s[1]
    # mean of 4000 log-normal factors of mean 1 and cv .05: 4 sigma of the mean is .0032
    assert abs(many.mean() - 1) < 0.0032


def test_declared_work_costs_memory_and_arithmetic():
    built = fleet.build(scenario(), 1000, 0)
    assert built.work_s(1, Work(bytes=25.0, flops=40.0), 10**9) == pytest.approx(2.0)


def test_an_unknown_device_names_the_nearest():
    with pytest.raises(ScenarioError, match="did you mean rk3588"):
        fleet.device("rk3558")


def test_check_finds_every_unknown_device():
    bad = scenario()
    bad.workers[1].device = "a-100"
    bad.servers.region.device = "toaster"
    assert [problem.path for problem in fleet.check(bad)] == [("workers", 1, "device"), ("servers", "region", "device")]


def test_rho_is_communication_over_computation():
    built = fleet.build(scenario(), 1000, 0)
    rho = fleet.dense_round_rho(built, [1e3] * 3, [1e3] * 3, 4000)
    assert rho["boards"] == pytest.approx(8 / built.step_s[1])
    assert list(rho) == ["cloud", "boards"]


def test_activations_follow_34_bytes_and_checkpointing_keeps_two():
    assert activation_bytes(10, 8, 4, False) == 34 * 10 * 8 * 4
    assert activation_bytes(10, 8, 4, True) == 34 * 10 * 8 + 2 * 10 * 8 * 4


class Policy:
    """Twelve bytes a parameter at a worker, a hundred at a server."""

    tree = "regions"

    def memory_bytes(self, role, size, children):
        return 12 * size if role == "worker" else 100 * size


def test_a_step_is_cut_until_it_fits():
    """64 x 768 tokens of a 24-layer, 1024-wide model take 41 GB of activations; 16 GB boards cut them in halves."""
    found = memory(scenario(tokens=lambda group: 64 * 768), Policy(), 100_000_000)
    whole = activation_bytes(64 * 768, 1024, 24, False)
    assert whole > 16e9
    room = 16e9 - 1.2e9
    cuts = 2 ** int(np.ceil(np.log2(whole / room)))
    assert found.workers["boards"] == pytest.approx(1.2e9 + whole / cuts)
    assert found.region == found.cloud == 10e9


def test_what_does_not_fit_says_what_would_help():
    with pytest.raises(ScenarioError) as caught:
        memory(scenario(), Policy(), 2_000_000_000)
    text = str(caught.value)
    assert "workers[1].device = rk3588: has 16.0 GB, but the policy needs 24." in text
    assert "smaller nominal model" in text
    assert "servers.region.device = n100" in text
    assert "servers.cloud.device = a100" in text


def test_a_fixed_number_of_pieces_is_obeyed_and_may_be_too_few():
    with pytest.raises(ScenarioError, match="checkpointing"):
        memory(scenario(tokens=lambda group: 64 * 768, micro_batch=1), Policy(), 100_000_000)


@pytest.mark.parametrize("name", sorted(fleet.devices()))
def test_every_profile_is_plausible(name):
    device = fleet.device(name)
    assert 1e9 < device.flops_per_s < 1e15
    assert 0 < device.idle_w < device.busy_w
    assert device.source
    assert device.confidence
    assert device.flops_low < device.flops_per_s < device.flops_high


def test_overrides_take_workers_in_order(written):
    overrides = [{"flops": "20 GFLOP/s", "count": 1}, {"memory": "4 GB", "count": 1}]
    built = fleet.build(written(overrides=overrides), 10**6, 0)
    plain = fleet.build(written(), 10**6, 0)
    np.testing.assert_array_equal(built.step_s / plain.step_s, [1, 2, 1, 1])
    assert [device.memory_bytes for device in built.devices[:4]] == [40e9, 16e9, 4e9, 16e9]
    assert "changed by the scenario" in built.devices[1].source


def test_one_override_without_a_count_is_for_all(written):
    assert {device.idle_w for device in fleet.build(written(overrides={"idle": "3 W"}), 10**6, 0).devices[1:4]} == {3.0}


def test_an_override_of_more_workers_than_there_are(written):
    (problem,) = fleet.check(written(overrides=[{"flops": "1 GFLOP/s", "count": 2}, {"idle": "1 W", "count": 2}]))
    assert str(problem) == ("workers[1].overrides[1]: changes 2 workers, but only 1 of the group's 3 are left; give "
                            "smaller counts, or a larger group")


def test_computing_never_gives_energy_back(written):
    device, override = {"like": "n100", "busy": "3 W", "idle": "4 W"}, {"idle": "100 W", "count": 1}
    assert [str(problem) for problem in fleet.check(written(device=device, overrides=override))] == [
        "workers[1].device: draws 3 W busy, but 4 W idle: busy must be >= idle; give both",
        "workers[1].overrides[0]: draws 3 W busy, but 100 W idle: busy must be >= idle; give both"]
    assert not list(fleet.check(written(overrides={"idle": "5 W", "busy": "5 W"})))


def test_a_device_of_ones_own(written):
    own = {"flops": "10 GFLOP/s", "memory": "2 GB", "memory_bandwidth": "5 GB/s", "network": "1 Gbps", "idle": "1 W",
           "busy": "4 W"}
    built = fleet.build(written(device=own), 10**6, 0)
    device = built.devices[1]
    assert (device.flops_per_s, device.memory_bytes, device.memory_bytes_per_s, device.busy_w) == (1e10, 2e9, 5e9, 4.0)
    like = fleet.build(written(device={"like": "n100", "flops": "10 GFLOP/s"}), 10**6, 0).devices[1]
    assert (like.name, like.flops_per_s, like.memory_bytes) == ("n100", 1e10, 16e9)
    (problem,) = fleet.check(written(device={"like": "n10"}))
    assert str(problem).startswith("workers[1].device.like = n10: unknown device; did you mean n100?")


def test_the_smallest_memory_of_a_group_decides(written):
    small = written(overrides={"memory": "1 GB", "count": 1})
    with pytest.raises(ScenarioError, match=r"workers\[1\]\.device = rk3588: has 1\.0 GB, but the policy needs"):
        memory(small, Policy(), 10**9)
