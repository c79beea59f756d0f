"""LayerFusion against every other cut, against the greedy rules it replaces, and against the simulated clock."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acesim.compressors import QSGD, Costs, CountSketch, Dense, ErrorFeedback, Fused, TopK, Uniform, layer_fusion
from acesim.compressors.fusion import layerwise, predicted_s
from acesim.scenario.errors import PolicyError
from acesim.scenario.nominal import preset_layers
from acesim.scenario.streams import stream

quick = settings(max_examples=80, deadline=None, derandomize=True, database=None)
RESNET = tuple(layer.shape for layer in preset_layers("resnet-50"))
TRANSFORMER = tuple(layer.shape for layer in preset_layers("transformer-350m"))
MEMBERS = [Dense(), Dense("bf16"), TopK(0.01), QSGD(7, 64), CountSketch(3, ratio=0.1)]


def every_cut(layers):
    """All 2^(L - 1) ways to cut L layers into consecutive groups."""
    stops = layerwise(layers)
    for size in range(len(stops)):
        for inner in itertools.combinations(stops[:-1], size):
            yield (*inner, stops[-1])


SECONDS = st.sampled_from([0.0, 1e-4, 1e-3, 0.01, 0.1]) | st.floats(0, 1)
MODELS = st.lists(st.integers(1, 2000), min_size=1, max_size=9).map(lambda sizes: tuple((size,) for size in sizes))
COSTS = st.builds(Costs, backward_s=st.floats(1e-3, 2), encode_s=SECONDS, launch_s=SECONDS, startup_s=SECONDS,
                  s_per_byte=st.sampled_from([0.0, 1e-6, 1e-5, 1e-4, 1e-3]),
                  header_bytes=st.sampled_from([0, 64, 5000]))


@quick
@given(MODELS, COSTS, st.sampled_from(MEMBERS))
def test_no_cut_ends_before_it(layers, costs, compressor):
    best = min(predicted_s(compressor, cut, costs) for cut in every_cut(layers))
    assert predicted_s(compressor, layer_fusion(compressor, layers, costs), costs) == pytest.approx(best, rel=1e-11)


def test_no_cut_of_twelve_layers_ends_before_it():
    layers = tuple((size,) for size in (400, 10, 900, 3, 3, 3000, 50, 700, 20, 20, 1500, 100))
    for startup_s, launch_s in itertools.product((0.0, 0.003, 0.05), (0.0, 0.002, 0.03)):
        costs = Costs(0.3, 0.05, launch_s, startup_s, 1e-5, 64)
        best = min(predicted_s(TopK(0.1), cut, costs) for cut in every_cut(layers))
        assert predicted_s(TopK(0.1), layer_fusion(TopK(0.1), layers, costs), costs) == pytest.approx(best, rel=1e-12)


def test_a_prediction_by_hand():
    """Layers of 30 and 10 entries, the last first: reached and encoded at .25 x (4 + 2) + 1 = 2.5, sent by 2.5 + 3 +
    .1 x (5 + 40) = 10; the other encoded at 6 + 2 x 1 = 8, sent by 10 + 3 + .1 x (5 + 120) = 25.5."""
    costs = Costs(backward_s=4.0, encode_s=2.0, launch_s=1.0, startup_s=3.0, s_per_byte=0.1, header_bytes=5)
    assert predicted_s(Dense(), (30, 40), costs) == 25.5
    assert predicted_s(Dense(), (40,), costs) == 6 + 1 + 3 + 0.1 * (5 + 160)


# ---- facts

def greedy(compressor, layers, costs, merges):
    """Scan from the last layer; merge the open group into the next layer when `merges` says so (3.3 of the sources)."""
    stops = layerwise(layers)
    total, starts = stops[-1], [0, *stops[:-1]]
    groups, open_at = [], total  # stops, from the end of the vector
    for start in reversed(starts[1:]):  # the group start .. open_at is ready; the layer before it is next
        if not merges(compressor, costs, total, groups, start, open_at, max(x for x in starts if x < start)):
            groups.append(open_at)
            open_at = start
    return tuple(sorted([*groups, open_at]))


def times(compressor, costs, total, groups, start, stop):
    """When the open group would be encoded and when it would have left, after the groups that are closed."""
    behind = (*sorted(stop - start for stop in (*groups, stop)),)
    part = total - start
    scaled = costs._replace(backward_s=costs.backward_s * part / total, encode_s=costs.encode_s * part / total)
    left = predicted_s(compressor, behind, scaled)
    encoded = (costs.backward_s + costs.encode_s) * part / total + (len(groups) + 1) * costs.launch_s
    return encoded, left


def mg_wfbp(compressor, costs, total, groups, start, stop, before):
    """Merge when the next gradient is ready before this group has left, and waiting costs less than a start-up."""
    encoded, left = times(compressor, costs, total, groups, start, stop)
    begun = left - costs.startup_s - costs.s_per_byte * (costs.header_bytes
                                                         + compressor.nbytes(((stop - start,),), None))
    ready = encoded + costs.backward_s * (start - before) / total
    return ready < left and (begun > ready or ready - begun < costs.startup_s)


def omgs(compressor, costs, total, groups, start, stop, before):
    """Merge when what is waited for is less than what is saved."""
    encoded, left = times(compressor, costs, total, groups, start, stop)
    sending = costs.startup_s + costs.s_per_byte * (costs.header_bytes + compressor.nbytes(((stop - start,),), None))
    waited = costs.backward_s * (start - before) / total - costs.launch_s - (left - sending - encoded)
    saved = costs.startup_s + costs.s_per_byte * costs.header_bytes
    return waited < saved


@pytest.mark.parametrize("rule", [mg_wfbp, omgs])
@pytest.mark.parametrize("compressor", [Dense(), TopK(0.001), QSGD(7), CountSketch(5, ratio=0.01)], ids=repr)
@pytest.mark.parametrize(("startup_s", "s_per_byte"), [(9.08e-4, 7.4e-10), (5.23e-4, 8.57e-10), (1.1e-2, 1.7e-8),
                                                       (2.55e-6, 9.8e-11)])
def test_no_greedy_rule_beats_it_and_all_merge_to_an_advantage(rule, compressor, startup_s, s_per_byte):
    """ResNet-50 with the constants that were measured for 10 and 1 Gbit/s; .13 s of backward pass."""
    costs = Costs(0.13, 2e-3, 3e-5, startup_s, s_per_byte, 64)
    best, each, rough = (predicted_s(compressor, cut, costs) for cut in (
        layer_fusion(compressor, RESNET, costs), layerwise(RESNET), greedy(compressor, RESNET, costs, rule)))
    assert best <= rough * (1 + 1e-12)
    assert best <= each
    assert rough <= each * 1.001
    assert best <= predicted_s(compressor, layerwise(RESNET)[-1:], costs)


@quick
@given(MODELS, st.floats(1e-3, 2), SECONDS, st.sampled_from([0.0, 1e-6, 1e-4]))
def test_without_overheads_merging_is_worthless(layers, backward_s, encode_s, s_per_byte):
    """alpha = 0, no launches, no headers, and bytes in proportion to entries: layer by layer is as good as any."""
    costs = Costs(backward_s, encode_s, s_per_byte=s_per_byte)
    best = predicted_s(Dense(), layer_fusion(Dense(), layers, costs), costs)
    assert predicted_s(Dense(), layerwise(layers), costs) == pytest.approx(best, rel=1e-11)


@pytest.mark.parametrize("overhead", [{"startup_s": 100.0}, {"launch_s": 100.0}, {"header_bytes": 10**12}])
@pytest.mark.parametrize("compressor", MEMBERS, ids=repr)
def test_with_large_overheads_everything_is_one_group(compressor, overhead):
    assert layer_fusion(compressor, RESNET, Costs(0.1, 0.01, s_per_byte=1e-9)._replace(**overhead)) == (25_557_032,)


def test_of_equals_the_fewest_groups():
    assert layer_fusion(Dense(), RESNET, Costs(1.0)) == (25_557_032,)  # bytes take no time


def test_three_hundred_layers():
    costs = Costs(0.3, 1e-3, 3e-5, 9e-4, 7.4e-10, 64)
    cut = layer_fusion(TopK(0.01), TRANSFORMER, costs)
    assert 1 < len(cut) < len(TRANSFORMER)
    assert set(cut) <= set(layerwise(TRANSFORMER))


def test_an_empty_layer_is_refused():
    with pytest.raises(PolicyError, match="an empty one"):
        layer_fusion(Dense(), ((3,), (0,)), Costs(1.0))


# ---- the compressor

def payload_of(compressor, x, level=None):
    return compressor.encode(x, level, stream(0, "compressor"), compressor.init(x.size))[0]


X = np.random.default_rng(3).standard_normal(300).astype(np.float32)


@pytest.mark.parametrize("inner", [*MEMBERS, TopK(0.5, "auto"), Uniform(4), ErrorFeedback(TopK(0.1))], ids=repr)
def test_one_group_is_the_compressor_itself(inner):
    """Same bodies, same bytes, and one chunk that is ready at the end."""
    whole = Fused(inner, (300,))
    sent, alone = payload_of(whole, X), payload_of(inner, X)
    assert whole.serialise(sent.body) == inner.serialise(alone.body)
    assert (sent.nbytes, sent.measure) == (alone.nbytes, alone.measure)
    assert whole.wire(RESNET, sent.measure) == inner.wire(RESNET, alone.measure)
    assert whole.chunks == ((1.0, 1.0, 1.0),)
    np.testing.assert_array_equal(whole.decode(sent.body, 300), inner.decode(alone.body, 300))


def test_a_choice_is_made_within_each_group():
    """The two largest of the first three entries and the largest of the others, though it is small."""
    x = np.array([9.0, 8.0, 7.0, 0.1, 0.2], np.float32)
    fused = Fused(TopK(0.7), (3, 5))
    payload = payload_of(fused, x)
    np.testing.assert_array_equal(fused.decode(payload.body, 5), np.array([9, 8, 0, 0, 0.2], np.float32))
    assert payload.nbytes == 8 * 2 + 8 * 1
    assert fused.chunks == ((1 / 3, 2 / 5, 2 / 5), (2 / 3, 1.0, 3 / 5))


def test_groups_without_entries_send_nothing_at_that_scale():
    fused = Fused(TopK(0.5), (1, 2, 3, 1000))
    assert fused.sizes(10) == [0, 0, 0, 10]
    assert payload_of(fused, X[:10]).nbytes == 8 * 5
    assert fused.nbytes(((1000,),), 0.5) == 8 * (1 + 1 + 1 + 498)


def test_a_measure_of_its_own_for_every_group():
    fused = Fused(TopK(0.5), (1, 400, 700, 1000))
    assert fused._measure([0.5, 0.25, 0.125], 10) == ((0.5, 0.5, 0.25, 0.125),)
    assert fused.nbytes(((1000,),), fused._measure([0.5, 0.25, 0.125], 10)) == 8 * (1 + 199 + 75 + 37)


@pytest.mark.parametrize("stops", [(), (0, 5), (5, 5), (6, 5)])
def test_stops_that_do_not_rise(stops):
    with pytest.raises(PolicyError, match="must rise"):
        Fused(Dense(), stops)


@pytest.mark.parametrize("compressor", MEMBERS, ids=repr)
def test_layers_of_resnet_take_what_they_take_one_by_one(compressor):
    fused = Fused(compressor, layerwise(RESNET))
    alone = sum(compressor.nbytes((shape,), None) for shape in RESNET)
    assert fused.nbytes(RESNET, payload_of(fused, X).measure) == alone
    assert math.isclose(sum(chunk.share for chunk in fused.chunks), 1.0)
    assert [chunk.ready_at for chunk in fused.chunks] == sorted(chunk.ready_at for chunk in fused.chunks)
    assert (len(fused.chunks), fused.chunks[-1].ready_at) == (161, 1.0)
