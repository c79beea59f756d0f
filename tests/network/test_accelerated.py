"""The compiled twin: the same bits as the plain way, and chosen as the environment says."""

import importlib.util
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acesim.network import accelerated, compiled, coupling
from acesim.network.flows import Flows
from acesim.network.nesting import fill, fill_one
from acesim.network.terms import Terms
from acesim.network.traces import Trace, constant
from acesim.scenario.errors import PolicyError

RATES = st.one_of(st.sampled_from([0.0, 1.0, 2.0, 3.0]), st.floats(0.01, 9.0))


@st.composite
def trees(draw):
    """Draw (links, starts): flows over a tree of two levels, some with terms, in a loop of 8 steps."""
    regions, workers = draw(st.integers(1, 3)), draw(st.integers(2, 8))
    rows = st.lists(RATES, min_size=8, max_size=8).filter(any)
    flat = draw(st.booleans())

    def link(factor):
        return constant(factor * draw(st.floats(0.5, 5.0))) if flat else Trace(1.0, factor * np.array(draw(rows)))
    links = [link(1.0) for _ in range(workers)]
    links += [constant(draw(st.floats(1.0, 8.0))) for _ in range(regions)]
    links.append(constant(draw(st.floats(2.0, 12.0))))
    terms = st.builds(Terms, weight=st.sampled_from([1.0, 1.0, 0.5, 3.0]), share=st.sampled_from([1.0, 0.7]),
                      most_bytes_per_s=st.sampled_from([math.inf, 2.5]))
    plain = draw(st.booleans())
    starts = [(draw(st.sampled_from([0.0, 0.0, 0.4, 3.0, 700.5])), key, draw(st.sampled_from([0.0, 3.0, 20.0, 5e3])),
               (key % workers, workers + key % workers % regions, workers + regions)[: draw(st.integers(2, 3))],
               Terms() if plain else draw(terms)) for key in range(draw(st.integers(2, 12)))]
    return links, sorted(starts, key=lambda start: start[:2])


def play(links, starts):
    """Return every (time, key) of an end, and what is left of all flows at every start, bit for bit."""
    net, waiting, log = Flows(links), list(starts), []
    while waiting or len(net):
        end_s = net.next_finish()
        if waiting and waiting[0][0] <= end_s:
            net.release(waiting[0][1], waiting[0][2], waiting[0][3], waiting[0][0], waiting[0][4])
            waiting.pop(0)
            log += [net.remaining(key) for key in sorted(net._flows)]
        else:
            log += [(end_s, key) for key in net.advance(end_s)]
    return log


@settings(max_examples=150, deadline=None)
@given(trees())
def test_the_same_bits(world):
    """Uncompiled where numba is not installed: then it is the algorithm that is compared."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coupling, "compiled", lambda *_: None)
        expected = play(*world)
        patch.setattr(coupling, "compiled", lambda *_: compiled.walk)
        assert play(*world) == expected


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_one_step_and_many_give_the_same_bits(flows_, steps, seed):
    rng = np.random.default_rng(seed)
    caps = rng.choice([0.0, 1.0, 2.5], (steps, flows_)) * rng.random((steps, flows_))
    capacity = rng.random(steps) * flows_
    rates = fill(caps.copy(), [capacity[:, None]], [None], None)
    assert rates.tolist() == [fill_one(row, room) for row, room in zip(caps.tolist(), capacity.tolist(), strict=True)]
    placed = fill(caps.copy(), [capacity[:, None]], [np.zeros(flows_, dtype=np.int64)], np.ones(flows_))
    assert (rates == placed).all()


def test_a_setting_says_when(monkeypatch):
    def asked(setting, there=True):
        monkeypatch.setattr(accelerated.importlib.util, "find_spec", lambda _: object() if there else None)
        accelerated._least.cache_clear()
        return [accelerated.compiled(solved, setting) is not None for solved in (1, accelerated.PAYS)]

    monkeypatch.setattr(accelerated, "_walk", lambda: (compiled.walk, ""))
    try:
        assert asked("auto") == [False, True]
        assert asked("auto", there=False) == [False, False]
        assert asked("on") == [True, True]
        assert asked("off") == [False, False]
        with pytest.raises(PolicyError, match="not installed"):
            asked("on", there=False)
        with pytest.raises(PolicyError, match="must be one of auto, on, off"):
            asked("perhaps")
    finally:
        accelerated._least.cache_clear()


def test_the_environment_is_asked_where_nothing_is_said(monkeypatch):
    monkeypatch.setattr(accelerated, "_walk", lambda: (compiled.walk, ""))
    for setting, taken in (("off", False), ("auto", True)):
        monkeypatch.setenv(accelerated.VARIABLE, setting)
        accelerated._environment.cache_clear()
        assert (accelerated.compiled(accelerated.PAYS, None) is not None) == (taken and there())
    monkeypatch.undo()
    accelerated._environment.cache_clear()


def there():
    return importlib.util.find_spec("numba") is not None


def test_where_nothing_can_be_compiled_the_plain_way_is_gone(monkeypatch):
    monkeypatch.setattr(accelerated, "_least", lambda _: 0.0)
    monkeypatch.setattr(accelerated, "_walk", lambda: (None, "no locator available"))
    assert accelerated.compiled(1, "auto") is None
    with pytest.raises(PolicyError, match="NUMBA_CACHE_DIR"):
        accelerated.compiled(1, "on")


@pytest.mark.parametrize("problem", [RuntimeError("no locator"), ImportError("Numba needs NumPy 2.2 or less")])
def test_a_numba_that_cannot_be_imported_is_none(problem, monkeypatch):
    def refuses(name):
        raise problem
    monkeypatch.setattr(accelerated.importlib, "import_module", refuses)
    assert accelerated._walk.__wrapped__() == (None, str(problem))
