"""Says how long bytes take: links, traces, topology, max-min sharing."""

from acesim.network.flows import Flows
from acesim.network.replay import replay
from acesim.network.tcp import Tcp, tcp_of
from acesim.network.topology import Topology, build
from acesim.network.traces import Trace, constant

__all__ = ["Flows", "Tcp", "Topology", "Trace", "build", "constant", "replay", "tcp_of"]
