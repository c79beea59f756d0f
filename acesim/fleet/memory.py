"""The memory law: what a policy and a step hold on every device, and whether it fits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from acesim.fleet.devices import chosen, members
from acesim.scenario.errors import Problem, ScenarioError
from acesim.seam import TreePolicy

if TYPE_CHECKING:
    from acesim.scenario.schema import Nominal, Scenario, WorkerGroup

MOST_PIECES = 4096  # micro-batches of a step; more than that is no way to train


class Memory(NamedTuple):
    """Bytes by worker group, of a region server (0 where there is none) and of the cloud server."""

    workers: dict[str, float]
    region: float
    cloud: float


def activation_bytes(tokens: float, width: int, depth: int, checkpointed: bool) -> float:
    """Return the activations of `tokens` tokens that go through the model together.

    34 x tokens x width x depth bytes, attention scores left out (Korthikanti et al. 2022, arXiv:2205.05198, equation 1
    without its attention term).  With checkpointing 2 x tokens x width bytes a layer stay, and 34 of one layer.
    """
    layer = 34.0 * tokens * width
    return layer + 2.0 * tokens * width * depth if checkpointed else layer * depth


def pieces(nominal: Nominal, group: WorkerGroup, room_bytes: float) -> int:
    """Return the micro-batches a step of a group is cut into: the scenario's number, or as few as fit."""
    if nominal.micro_batch != "auto":
        return nominal.micro_batch
    count = 1
    while count < MOST_PIECES and _activations(nominal, group, count) > room_bytes:
        count *= 2
    return count


def _activations(nominal: Nominal, group: WorkerGroup, count: int) -> float:
    if nominal.width is None or nominal.depth is None:  # layers of one's own, without their extents: weights only
        return 0.0
    tokens = max(1.0, nominal.tokens(group) / count)
    return activation_bytes(tokens, nominal.width, nominal.depth, nominal.checkpoints(group))


def memory(scenario: Scenario, policy: TreePolicy, parameters: int) -> Memory:
    """Return what a policy needs, at nominal scale, on every kind of worker and on its servers.

    parameters   P_nominal
    raises       ScenarioError naming every device that cannot hold it, and what would help
    """
    nominal, held = scenario.nominal, float(policy.memory_bytes("worker", parameters, 0))
    workers = {}
    for group in scenario.workers:
        room = min(each.memory_bytes for each in members(group)) - held
        workers[group.name] = held + _activations(nominal, group, pieces(nominal, group, room))
    count = sum(group.count for group in scenario.workers)
    in_regions = policy.tree == "regions"
    regions = scenario.network.regions
    region = float(policy.memory_bytes("region", parameters, -(-count // regions))) if in_regions else 0.0
    cloud = float(policy.memory_bytes("cloud", parameters, regions + 1 if in_regions else count))
    found = Memory(workers, region, cloud)
    problems = list(_too_large(scenario, found, held))
    if problems:
        raise ScenarioError(problems)
    return found


def _too_large(scenario: Scenario, needed: Memory, held: float) -> Iterator[Problem]:
    for row, group in enumerate(scenario.workers):
        smallest, needs = min(members(group), key=lambda each: each.memory_bytes), needed.workers[group.name]
        has = smallest.memory_bytes
        if needs > has:
            remedy = "a smaller nominal model, a policy with less state" if held > has else \
                "checkpointing: {edge: true}, a larger micro_batch, fewer tokens_per_step"
            yield Problem(("workers", row, "device"), smallest.name, f"has {has / 1e9:.1f} GB, but the policy needs "
                          f"{needs / 1e9:.1f} GB ({held / 1e9:.1f} of it apart from activations); take {remedy}, or a "
                          "device with more memory")
    for role, needs in (("region", needed.region), ("cloud", needed.cloud)):
        server = chosen(getattr(scenario.servers, role).device)
        if needs > server.memory_bytes:
            yield Problem(("servers", role, "device"), server.name, f"has {server.memory_bytes / 1e9:.1f} GB, but the "
                          f"policy's server needs {needs / 1e9:.1f} GB; take a device with more memory, a smaller "
                          "nominal model, or a policy whose server keeps less per worker (a lossless downlink keeps "
                          "nothing)")
