"""The post: addresses payloads, says how long it takes to pack and unpack them, and learns from how they travelled."""

from __future__ import annotations

from acesim.engine.ledger import check_payload
from acesim.engine.messages import Message, calls
from acesim.engine.state import average
from acesim.engine.world import World
from acesim.seam import Compressor, Payload, Wire, Work


class Post:
    """What all messages of a run have in common, whoever sends them."""

    def __init__(self, world: World) -> None:
        self._world, self._setup = world, world.setup

    def work_s(self, row: int, work: Work, calls: int = 1) -> float:
        """Return the simulated time of declared work on one nominal model, in so many calls."""
        fleet, entries = self._setup.fleet, self._setup.info.nominal_size
        return calls * fleet.launch_s(row, work) + fleet.work_s(row, work, entries)

    def addressed(self, sender: int, receiver: int, payload: Payload, compressor: Compressor, version: int) -> Message:
        """Address a payload; its parts, and what rides on it, are the caller's."""
        world, up = self._world, sender < receiver
        route, latency_s = world.route_up(sender) if up else world.route_down(receiver)
        round_number = world.workers[sender].round if world.is_worker(sender) else world.servers[sender].round
        header = calls(payload) * world.topology.message_header_bytes
        return Message("up" if up else "down", sender, receiver, round_number, version, payload,
                       self._wire(sender, compressor, payload), 0, header, route, latency_s, [],
                       world.topology.message_startup_s)

    def _wire(self, sender: int, compressor: Compressor, payload: Payload) -> Wire:
        """Return a payload's nominal bytes, after checking its own count."""
        info = self._setup.info
        check_payload(self._world.name(sender), payload.nbytes, compressor.wire(info.shapes, payload.measure).total)
        return compressor.wire(info.nominal_shapes, payload.measure)

    def learn(self, message: Message, now_s: float) -> None:
        """Let the cloud learn from a message: bandwidth from its flow, and from an upload the time of its round."""
        measured, sender, span_s = self._world.measured, message.sender, message.sent_s - message.flow_start_s
        rate = message.flow_bytes / span_s if span_s > 0 else float("nan")
        if message.kind == "down":
            known = measured.down_bandwidth_bytes_per_s
            known[message.receiver] = average(known[message.receiver], rate)
        elif self._world.is_worker(sender):
            measured.bandwidth_bytes_per_s[sender] = average(measured.bandwidth_bytes_per_s[sender], rate)
            taken_s = now_s - self._world.workers[sender].asked_s
            measured.round_time_s[sender] = average(measured.round_time_s[sender], taken_s)
        else:
            region, known = sender - self._world.workers_count, measured.region_bandwidth_bytes_per_s
            known[region] = average(known[region], rate)
