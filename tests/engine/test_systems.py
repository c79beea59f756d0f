"""DAGC, DGS and DGC in whole runs: where they must coincide they do, and what each promises of the models holds."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from tests_support import hand_setup, play, small_setup, view

from acesim.aggregators import EachArrival, Outer
from acesim.compressors import (
    Changes,
    CompressorBase,
    Dense,
    ErrorFeedback,
    LayerTopK,
    MomentumCorrection,
    Scaled,
    SparsificationAwareMomentum,
    Threshold,
)
from acesim.compressors.wrapper import Wrapper
from acesim.engine import Simulation
from acesim.learning.local import GradientStep, LocalSteps
from acesim.learning.optimizers import SGD, LearningRate
from acesim.schedules import Asynchronous, Fixed
from acesim.schedules.dagc import relative
from acesim.seam import TreePolicy

SGD_TASK = {"kind": "quadratic", "dimension": 24, "steps_per_epoch": 6, "noise": 0.3,
            "optimizer": {"name": "sgd", "learning_rate": 0.02, "schedule": "constant", "warm_up": "0 rounds"}}
DIGITS = {"kind": "image-classification", "data": {"source": "digits"}, "model": {"kind": "mlp", "hidden": [16]},
          "batch_size": 8, "steps_per_epoch": 4,
          "optimizer": {"name": "sgd", "learning_rate": 0.1, "warm_up": "0 rounds"}}
ONE = LearningRate("constant", 1.0)
FAST_AND_SLOW = {"up": [50.0, 80.0, 30.0], "down": [90.0, 40.0, 70.0], "step_s": [1.0, 1.7, 2.9], "size": 12,
                 "rounds": 9, "centres": [0.0, 1.0, 3.0], "nominal": 12}


def skewed(ratio):
    quantity = {"kind": "arithmetic", "ratio": ratio}
    return DIGITS | {"partition": {"kind": "dirichlet", "alpha": 0.5, "quantity": quantity}}


def same_run(a, b):
    np.testing.assert_array_equal(a.outcome.model, b.outcome.model)
    assert a.timeline() == b.timeline()
    assert repr(a.metrics) == repr(b.metrics)


# ---- DAGC

@pytest.mark.parametrize("mode", ["p23", "waterfill", "uniform"])
def test_with_equal_data_every_mode_of_dagc_r_is_the_same_round_for_round(mode):
    same_run(play(small_setup("dagc-r", {"ratio": 0.25}, task=SGD_TASK)),
             play(small_setup("dagc-r", {"ratio": 0.25, "mode": mode}, task=SGD_TASK)))


def test_with_equal_data_dagc_r_is_uniform_top_k():
    """Models, message for message; beside each 4 bytes of control in the first round, which tell the ratio."""
    ours = play(small_setup("dagc-r", {"ratio": 0.25}, task=SGD_TASK))
    top_k = play(small_setup("top-k", {"ratio": 0.25}, task=SGD_TASK))
    np.testing.assert_array_equal(ours.outcome.model, top_k.outcome.model)
    assert [event.message_bytes for event in ours.of("upload")] == [event.message_bytes for event in top_k.of("upload")]
    assert ours.metrics[-1].bytes_down - top_k.metrics[-1].bytes_down == 6 * 4
    assert [row.loss_nats for row in ours.metrics] == [row.loss_nats for row in top_k.metrics]


def test_with_equal_data_dagc_a_is_the_hard_threshold():
    same_run(play(small_setup("dagc-a", {"threshold": 0.5}, task=SGD_TASK)),
             play(small_setup("hard-threshold", {"threshold": 0.5}, task=SGD_TASK)))


@pytest.mark.parametrize("skew", [10.0, 100.0])
def test_with_skewed_data_they_differ_and_the_budget_is_the_same(skew):
    ours = play(small_setup("dagc-r", {"ratio": 0.05}, task=skewed(skew)))
    uniform = play(small_setup("dagc-r", {"ratio": 0.05, "mode": "uniform"}, task=skewed(skew)))
    assert not np.array_equal(ours.outcome.model, uniform.outcome.model)
    sent, theirs = (each.outcome.totals["upload_values_bytes"] for each in (ours, uniform))
    assert sent == pytest.approx(theirs, rel=0.01)
    setup = small_setup(task=skewed(skew))
    assigned = relative(np.array(setup.info.examples) / sum(setup.info.examples), 0.05).ratios
    for event in ours.of("upload"):
        assert event.message_bytes - event.header_bytes == 8 * int(assigned[event.who] * setup.info.size)


def test_clipped_ratios_are_said_and_logged():
    setup = small_setup("dagc-r", {"ratio": 0.8}, task=skewed(100.0))
    [remark] = setup.policy.remarks
    clipped = [event.value for event in play(setup).of("figure") if event.name == "clipped_ratios"]
    assert remark.startswith(f"{clipped[0]:.0f} of 6 workers would keep more than everything: clipped at 1")
    assert clipped[0] >= 1
    assert small_setup("dagc-r", {"ratio": 0.1}, task=skewed(100.0)).policy.remarks == ()


def test_the_authors_code_walks_ten_steps_and_compresses_layers():
    policy = small_setup("dagc-r", {"local_steps": 10, "ratio": 0.1}, task=skewed(10.0)).policy
    assert policy.uplink.inner == LayerTopK(0.1, (1024, 16, 160, 10), "int32", "ceil", "keep")
    assert policy.local == LocalSteps(SGD(), replace(policy.local.learning_rate))
    assert policy.local.learning_rate.peak == 0.01
    assert policy.aggregator == Outer(SGD(), LearningRate("constant", 1.0, 0, 1))
    assert policy.schedule.plan(view(6), ())[0].local_steps.tolist() == [10] * 6
    own = small_setup("dagc-r", {"local_steps": 10, "per_layer": False}, task=skewed(10.0)).policy
    assert own.uplink.inner == LayerTopK(0.1)


def test_walks_of_dagc_lower_the_loss():
    parameters = {"local_steps": 4, "ratio": 0.1, "inner_learning_rate": 0.1}
    played = play(small_setup("dagc-r", parameters, task=skewed(10.0), epochs=4))
    assert played.metrics[-1].loss_nats < 0.8 * played.metrics[0].loss_nats
    assert played.outcome.rounds == 4


def test_accordion_starts_mild_and_takes_the_extremes_of_dagc():
    setup = small_setup("accordion", {"ratio": 0.05, "window": 1}, task=skewed(100.0))
    assigned = relative(np.array(setup.info.examples) / sum(setup.info.examples), 0.05).ratios
    assert (setup.policy.schedule.gentle, setup.policy.schedule.harsh) == (assigned.max(), assigned.min())
    sent = {(event.round, event.message_bytes - event.header_bytes) for event in play(setup).of("upload")}
    allowed = {8 * int(share * setup.info.size) for share in (assigned.max(), assigned.min())}
    assert {size for _, size in sent} <= allowed
    assert (0, max(allowed)) in sent


def test_accordion_with_thresholds_sends_more_when_it_is_mild():
    schedule = small_setup("accordion", {"threshold": 0.01}, task=skewed(100.0)).policy.schedule
    assert schedule.gentle < 0.01 < schedule.harsh


# ---- asynchronous servers

def asynchronous(uplink, downlink, rate=0.05):
    return TreePolicy(GradientStep(), uplink, EachArrival(SGD(), ONE), downlink,
                      Asynchronous(learning_rate=LearningRate("constant", rate)))


@pytest.mark.parametrize("momentum", [0.5, 0.7])
def test_dgs_that_sends_everything_is_asgd_with_momentum(momentum):
    """100 % of the entries, no secondary compression: for the same arrivals the same models, bit for bit."""
    dgs = asynchronous(Scaled(SparsificationAwareMomentum(LayerTopK(1.0), momentum)), LayerTopK(1.0))
    exact = replace(dgs, downlink=Changes())
    asgd = asynchronous(Scaled(MomentumCorrection(Dense(), momentum, masking=False)), Dense())
    world = FAST_AND_SLOW | {"down": [1e12] * 3}  # answers take no time, so that an empty one is no sooner there
    a, b = (play(hand_setup(policy, **world)) for policy in (exact, asgd))
    np.testing.assert_array_equal(a.outcome.model, b.outcome.model)
    assert [event.who for event in a.of("upload")] == [event.who for event in b.of("upload")]
    # The first answers of a difference are empty: no worker lacks anything yet.  Everything else is as long.
    assert {event.values_bytes for event in [*a.of("upload"), *b.of("upload")]} == {48}
    assert [event.values_bytes for event in a.of("download")] == [0] * 3 + [48] * (len(b.of("download")) - 3)


def test_dgs_that_sends_everything_keeps_the_times_of_asgd_too():
    """Where the empty first answer is sent dense, too, all messages are 4 P: one timeline."""
    momentum = 0.5
    dgs = asynchronous(Scaled(SparsificationAwareMomentum(LayerTopK(1.0), momentum)), AllOfIt())
    asgd = asynchronous(Scaled(MomentumCorrection(Dense(), momentum, masking=False)), Dense())
    same_run(*(play(hand_setup(policy, **FAST_AND_SLOW)) for policy in (dgs, asgd)))


class AllOfIt(Changes):
    """Changes that counts zeros as changes: the dense message of DGS at R = 100 %."""

    def choose(self, magnitudes, level, rng):
        return np.arange(magnitudes.size)


def test_two_models_that_are_alike_are_sent_only_where_they_differ():
    """8 bytes for every entry in which worker and server differ, 4 P where that is less; nothing is lost by it."""
    setup = hand_setup(asynchronous(Scaled(SparsificationAwareMomentum(LayerTopK(0.1), 0.5)), Changes()),
                       **(FAST_AND_SLOW | {"size": 40, "nominal": 40}))
    dense = replace(setup, policy=replace(setup.policy, downlink=Dense()))
    sizes = {event.message_bytes - event.header_bytes - event.control_bytes for event in play(setup).of("download")}
    assert 0 in sizes
    assert all(size % 8 == 0 and size <= 160 for size in sizes)
    assert len(sizes) > 2
    assert {event.values_bytes for event in play(dense).of("download")} == {160}


@pytest.mark.parametrize("secondary", [Changes(), LayerTopK(0.1), LayerTopK(0.5)], ids=repr)
def test_what_a_worker_holds_is_what_it_was_told(secondary):
    """theta_k = theta_0 + v_k: the sum of all decoded answers is the model it trains on, also with secondary
    compression; without, it is the server's at the time of the answer.  k roundings of float32."""
    setup = hand_setup(asynchronous(Scaled(SparsificationAwareMomentum(LayerTopK(0.2), 0.5)), secondary),
                       **(FAST_AND_SLOW | {"size": 30, "nominal": 30}))
    simulation = Simulation(setup, Nowhere())
    initial = setup.task.initial(setup.seed)
    told = {row: initial.astype(float) for row in range(3)}
    answers = {row: 0 for row in range(3)}
    arrive = simulation._arrive

    def watched(message):
        if message.kind == "down":
            told[message.receiver] += secondary.decode(message.payload.body, initial.size).astype(float)
            answers[message.receiver] += 1
            np.testing.assert_allclose(message.received, told[message.receiver], atol=answers[message.receiver] * 1e-6)
        arrive(message)

    simulation._arrive = watched
    simulation.run()
    assert min(answers.values()) >= 3
    if secondary.lossless:
        for worker in simulation.world.workers:
            assert worker.version <= simulation.world.cloud.version


def test_without_secondary_compression_an_answer_makes_a_worker_the_servers_equal():
    """v_k = M after each reply: what a worker holds is the server's model of the answer's version, bit for bit."""
    kept = []

    class Kept(EachArrival):
        def step(self, model, inbox, compressor, state):
            stepped = super().step(model, inbox, compressor, state)
            kept.append(stepped[0].copy())
            return stepped

    policy = asynchronous(Scaled(SparsificationAwareMomentum(LayerTopK(0.2), 0.5)), Changes())
    setup = hand_setup(replace(policy, aggregator=Kept(SGD(), ONE)), **(FAST_AND_SLOW | {"size": 30, "nominal": 30}))
    simulation = Simulation(setup, Nowhere())
    kept.append(setup.task.initial(setup.seed))
    held = []
    arrive = simulation._arrive

    def watched(message):
        if message.kind == "down":
            held.append((message.version, message.received.copy()))
        arrive(message)

    simulation._arrive = watched
    simulation.run()
    assert len({version for version, _ in held}) > 5
    for version, model in held:
        np.testing.assert_array_equal(model, kept[version])


def test_after_draining_every_worker_holds_the_servers_model():
    """A last answer of everything (k = P): theta_k = theta_0 + M, to a rounding."""
    setup = hand_setup(asynchronous(Scaled(ErrorFeedback(LayerTopK(0.2))), LayerTopK(0.1)),
                       **(FAST_AND_SLOW | {"size": 30, "nominal": 30}))
    simulation = Simulation(setup, Nowhere())
    simulation.run()
    world = simulation.world
    for worker in world.workers:
        difference = world.cloud.model - worker.model
        body = LayerTopK(0.1).encode(difference, 1.0, None, ())[0].body
        np.testing.assert_allclose(worker.model + LayerTopK(0.1).decode(body, 30), world.cloud.model, atol=1e-6)


class Nowhere:
    """A sink that keeps nothing."""

    def event(self, event):
        pass

    def block(self, block):
        pass

    def metric(self, row):
        pass


def test_secondary_compression_and_a_resync_now_and_then():
    """Every third answer to a worker or so is whole: dense, 4 P."""
    without = play(small_setup("dgs", {"ratio": 0.1, "secondary": 0.1}, task=SGD_TASK))
    resynced = play(small_setup("dgs", {"ratio": 0.1, "secondary": 0.1, "resync_every": 9}, task=SGD_TASK))
    assert {event.values_bytes for event in without.of("download")} == {4 * 2}
    whole = [event for event in resynced.of("download") if event.values_bytes == 4 * 24]
    assert 0 < len(whole) < len(resynced.of("download")) / 2
    assert sum(event.name == "resync" for event in resynced.of("figure")) == len({event.round for event in whole})


def test_the_server_of_model_differences_remembers_every_worker():
    """v_k: 4 bytes an entry and worker; where the whole model is sent none, with a barrier one for all."""
    info = small_setup().info
    from acesim.policies import build
    base = build("asgd", info, {}).memory_bytes("cloud", 1000, 6)
    assert build("dgs", info, {}).memory_bytes("cloud", 1000, 6) == base + 6 * 4 * 1000
    assert build("dgs", info, {"secondary": None}).memory_bytes("cloud", 1000, 6) == base + 6 * 4 * 1000
    barrier = replace(build("dgs", info, {}), schedule=Fixed())
    assert barrier.memory_bytes("cloud", 1000, 6) == base + 4 * 1000


@pytest.mark.parametrize("policy", ["dagc-r", "dagc-a", "accordion", "hard-threshold", "dgc", "dgs", "asgd", "gd-async",
                                    "dgc-async"])
def test_the_reference_backend_trains_the_same(policy):
    """One worker at a time or eight at once, bit for bit; the digits, whose layers are of both kinds."""
    runs = [play(small_setup(policy, task=skewed(10.0), edge=6, chunk=chunk, epochs=1)) for chunk in (1, 8)]
    same_run(*runs)


# ---- DGC

def dgc(uplink, rate=0.02):
    return TreePolicy(GradientStep(), uplink, Outer(SGD(), LearningRate("constant", rate)), Dense(), Fixed())


def test_dgc_with_masking_and_all_entries_is_plain_sgd():
    setup = small_setup(task=SGD_TASK)
    plain = play(replace(setup, policy=dgc(Dense())))
    masked = play(replace(setup, policy=dgc(MomentumCorrection(LayerTopK(1.0), 0.9))))
    np.testing.assert_array_equal(plain.outcome.model, masked.outcome.model)


def test_dgc_without_masking_and_all_entries_is_momentum_sgd():
    """The mean of the workers' velocities is the velocity of the mean: to roundings of float32."""
    setup = small_setup(task=SGD_TASK)
    server = replace(dgc(Dense()), aggregator=Outer(SGD(momentum=0.9), LearningRate("constant", 0.02)))
    ours = play(replace(setup, policy=dgc(MomentumCorrection(Dense(), 0.9, masking=False))))
    theirs = play(replace(setup, policy=server))
    np.testing.assert_allclose(ours.outcome.model, theirs.outcome.model, rtol=1e-4, atol=1e-5)


def test_dgc_warms_up_by_epochs_and_sends_vectors_whole():
    """P = 1210: 1184 in matrices of 1024 and 160, 26 whole.  Densities of the epochs: 25, 6.25, 1.5625, .39, .1 %."""
    setup = small_setup("dgc", {"selection": "exact"}, task=skewed(10.0), epochs=6)
    sent = {}
    for event in play(setup).of("upload"):
        sent.setdefault(event.round // 4, set()).add(event.message_bytes - event.header_bytes)
    counts = [256 + 40, 64 + 10, 16 + 2, 4 + 1, 1 + 1, 1 + 1]
    assert sent == {epoch: {4 * 26 + 8 * count} for epoch, count in enumerate(counts)}


def test_dgc_clips_by_the_square_root_of_the_workers():
    policy = small_setup("dgc", {"clip_norm": 3.0}).policy
    assert policy.uplink.longest == pytest.approx(3.0 / 6**0.5)


def test_dgc_repeats_with_its_streams():
    first, again = (play(small_setup("dgc", {"ratio": 0.01}, task=skewed(10.0))) for _ in range(2))
    same_run(first, again)


@dataclass(frozen=True)
class Watched(Wrapper):
    """Passes everything on, and notes [vector, decoded, state] of every encoding."""

    inner: CompressorBase
    log: list = field(default_factory=list, compare=False)

    def init(self, size):
        return self.inner.init(size)

    def encode_decoded(self, vector, level, rng, state):
        payload, decoded, state = self.inner.encode_decoded(vector, level, rng, state)
        self.log.append((vector.astype(float), decoded.astype(float), state))
        return payload, decoded, state

    def declared(self):
        return self.inner.declared()


@pytest.mark.parametrize("uplink", [ErrorFeedback(LayerTopK(0.2)), ErrorFeedback(Threshold(0.5)),
                                    MomentumCorrection(LayerTopK(0.2), 0.0, masking=False)], ids=repr)
def test_no_mass_is_lost_in_a_run(uplink):
    """What workers sent and what they still hold are all their gradients together; 12 roundings of float32 each."""
    watched, workers = Watched(uplink), 6
    play(replace(small_setup(task=SGD_TASK), policy=dgc(watched)))
    vectors, decoded, states = zip(*watched.log, strict=True)
    held = [getattr(state, "residual", getattr(state, "accumulated", None)) for state in states[-workers:]]
    assert len(vectors) == 12 * workers
    np.testing.assert_allclose(sum(decoded) + sum(held), sum(vectors), atol=1e-6 * np.abs(vectors).sum())
