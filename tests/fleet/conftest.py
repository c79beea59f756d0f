import pytest

from acesim.scenario import Scenario


@pytest.fixture
def written():
    """A scenario of three boards and a cloud worker, as a user writes it; facts of the boards may be given."""
    def made(**group):
        boards = {"name": "boards", "count": 3, "device": "rk3588", "access": {"kind": "lte"}} | group
        cloud = {"name": "cloud", "count": 1, "device": "a100", "access": {"kind": "datacenter"}}
        return Scenario(name="x", task={"kind": "quadratic"}, policies=["full-sync"], workers=[cloud, boards],
                        nominal={"model": "transformer-350m", "tokens_per_step": {"cloud": 32, "edge": 32}})
    return made
