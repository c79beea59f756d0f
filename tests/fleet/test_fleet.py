from types import SimpleNamespace

import numpy as np
import pytest

from acesim import fleet
from acesim.fleet.fleet import activation_bytes, fitting_micro_batch
from acesim.scenario.errors import ScenarioError
from acesim.seam import Work


def scenario(**nominal):
    group = SimpleNamespace(name="boards", count=2, device="rk3588", tier="edge", access=SimpleNamespace(kind="lte"))
    cloud = SimpleNamespace(name="cloud", count=1, device="a100", tier="cloud",
                            access=SimpleNamespace(kind="datacenter"))
    facts = {"model": "transformer-350m", "checkpointing": {"edge": False}, "tokens": lambda group: 32} | nominal
    return SimpleNamespace(workers=(cloud, group), nominal=SimpleNamespace(**facts),
                           network=SimpleNamespace(regions=2),
                           servers=SimpleNamespace(region=SimpleNamespace(device="n100"),
                                                   cloud=SimpleNamespace(device="a100")))


def test_a_350m_step_on_an_rk3588_takes_1_7_s_at_32_tokens():
    built = fleet.build(scenario(), 350_000_000, 32, 0)
    assert built.step_s[1] == pytest.approx(6 * 350e6 * 32 / 40e9)
    assert built.step_s[1] == pytest.approx(1.68)


def test_rows_are_workers_then_regions_then_the_data_centre_and_the_cloud():
    built = fleet.build(scenario(), 1000, 32, 0)
    assert [each.name for each in built.devices] == ["a100", "rk3588", "rk3588", "n100", "n100", "a100", "a100"]


def test_checkpointing_costs_a_third():
    plain = fleet.build(scenario(), 1000, 32, 0).step_s
    again = fleet.build(scenario(checkpointing={"edge": True}), 1000, 32, 0).step_s
    np.testing.assert_allclose(again / plain, [1, 4 / 3, 4 / 3])


def test_jitter_depends_on_worker_and_step_only():
    built = fleet.build(scenario(), 1000, 32, 0)
    whole = built.compute_s(1, 250, 20)
    np.testing.assert_array_equal(whole[5:8], built.compute_s(1, 255, 3))
    assert not np.allclose(whole, built.compute_s(2, 250, 20))
    many = built.compute_s(1, 0, 4000) / built.step_s[1]
    # mean of 4000 log-normal factors of mean 1 and cv .05: 4 sigma of the mean is .0032
    assert abs(many.mean() - 1) < 0.0032


def test_declared_work_costs_memory_and_arithmetic():
    built = fleet.build(scenario(), 1000, 32, 0)
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
    built = fleet.build(scenario(), 1000, 32, 0)
    rho = fleet.dense_round_rho(built, [1e3] * 3, [1e3] * 3, 4000)
    assert rho["boards"] == pytest.approx(8 / built.step_s[1])
    assert list(rho) == ["cloud", "boards"]


def test_activations_follow_34_bytes_and_checkpointing_keeps_two():
    assert activation_bytes(10, 8, 4, False) == 34 * 10 * 8 * 4
    assert activation_bytes(10, 8, 4, True) == 34 * 10 * 8 + 2 * 10 * 8 * 4


def test_micro_batches_halve_until_they_fit():
    need = activation_bytes(256, 8, 4, False)
    assert fitting_micro_batch(1024, 8, 4, False, need) == 256
    assert fitting_micro_batch(1024, 8, 4, False, 10) is None
    assert fitting_micro_batch(16, 8, 4, False, 1e9) == 16


@pytest.mark.parametrize("name", sorted(fleet.devices()))
def test_every_profile_is_plausible(name):
    device = fleet.device(name)
    assert 1e9 < device.flops_per_s < 1e15
    assert 0 < device.idle_w < device.busy_w
    assert device.source
    assert device.confidence
