import pytest

from acesim.scenario import Access, Layer, Nominal, Scenario, WorkerGroup
from acesim.scenario.errors import AcesimError
from acesim.scenario.nominal import preset_layers


def group(name="a", tier="edge"):
    return WorkerGroup(name=name, count=1, device="rk3588", access=Access(kind="lte"), tier=tier)


def test_transformer_by_hand():
    """Embeddings, 24 layers of 12 d^2 + 13 d, the last norm."""
    d = 1024
    layers = preset_layers("transformer-350m")
    assert sum(layer.size for layer in layers) == 50_257 * d + 1024 * d + 24 * (12 * d * d + 13 * d) + 2 * d
    assert sum(layer.size for layer in layers) == 354_823_168
    assert len(layers) == 2 + 24 * 12 + 2
    assert layers[0].shape == (50_257, 1024)
    assert len({layer.name for layer in layers}) == len(layers)


def test_resnet_by_hand():
    layers = preset_layers("resnet-50")
    assert sum(layer.size for layer in layers) == 25_557_032
    assert sum(len(layer.shape) == 4 for layer in layers) == 53  # 49 in the blocks and the stem, 4 shortcuts
    assert layers[-2].shape == (1000, 2048)


def test_a_preset_knows_its_extents():
    assert (Nominal(model="transformer-350m").width, Nominal(model="transformer-350m").depth) == (1024, 24)
    assert (Nominal(model="resnet-50").width, Nominal(model="resnet-50", depth=16).depth) == (327, 16)
    assert Nominal(model=[Layer(name="w", shape=(3, 4))]).width is None


def test_resnet_extents_give_two_copies_of_its_activations():
    """34 x tokens x width x depth bytes at 160 tokens an image, against 2 x 4 bytes x 11 113 984 outputs."""
    nominal = Nominal(model="resnet-50")
    assert 34 * 160 * nominal.width * nominal.depth == pytest.approx(2 * 4 * 11_113_984, rel=0.001)


def test_layers_spelt_out():
    nominal = Nominal(model=[{"name": "w", "shape": "1024 x 4096"}, {"name": "b", "shape": [4096]}])
    assert [layer.shape for layer in nominal.layers()] == [(1024, 4096), (4096,)]
    assert [layer.size for layer in nominal.layers()] == [4_194_304, 4096]


def test_the_proxy_has_no_layers_here():
    with pytest.raises(AcesimError, match="same-as-proxy"):
        Nominal().layers()


def test_tokens_go_by_group_then_tier():
    nominal = Nominal(model="resnet-50", tokens_per_step={"edge": "64 x 768", "slow": 32})
    assert nominal.tokens(group()) == 49_152
    assert nominal.tokens(group("slow")) == 32
    with pytest.raises(AcesimError, match="nothing for worker group c"):
        nominal.tokens(group("c", "cloud"))


def test_checkpointing_at_the_edge_unless_told():
    assert Nominal().checkpoints(group())
    assert not Nominal().checkpoints(group(tier="cloud"))
    assert not Nominal(checkpointing={"a": False}).checkpoints(group())
    assert Nominal(checkpointing={"a": False}).checkpoints(group("b"))


def test_the_proxy_times_its_own_batch():
    scenario = Scenario(name="x", nominal={"model": "same-as-proxy"},
                        task={"batch_size": 3, "model": {"context": 16}})
    assert scenario.nominal.tokens(group()) == 48
    assert (scenario.nominal.width, scenario.nominal.depth) == (48, 2)
    quadratic = Scenario(name="x", nominal={}, task={"kind": "quadratic", "batch_size": 5})
    assert quadratic.nominal.tokens_per_step == {"cloud": 5, "edge": 5}
    assert quadratic.nominal.width is None
