"""The FedAvg workload in Flower's simulation on Ray (`pip install flwr[simulation] torch`)."""

from __future__ import annotations

import os

os.environ.update(FLWR_TELEMETRY_ENABLED="0", RAY_USAGE_STATS_ENABLED="0")

import time
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from flwr.client import ClientApp, NumPyClient
from flwr.common import Context, ndarrays_to_parameters
from flwr.server import ServerApp, ServerAppComponents, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.simulation import run_simulation

from benchmarks.peers.torch_mlp import mean_nats, network, train
from benchmarks.peers.workload import WORKERS, examples, told

ROUNDS = 5  # a round takes seconds: fewer than the others play


def arrays(model: torch.nn.Module) -> list[Any]:
    """Return the parameters as Flower sends them."""
    return [part.detach().numpy() for part in model.state_dict().values()]


def fill(model: torch.nn.Module, parts: list[Any]) -> None:
    """Put received parameters into a network."""
    model.load_state_dict({name: torch.from_numpy(np.array(part))
                           for name, part in zip(model.state_dict(), parts, strict=True)})


class Worker(NumPyClient):
    """One worker; the examples are made where it runs and kept there."""

    kept: tuple[Any, Any] | None = None

    def __init__(self, row: int) -> None:
        self.row = row

    def fit(self, parameters: list[Any], config: Any) -> tuple[list[Any], int, dict[str, Any]]:
        """Take the local steps."""
        Worker.kept = Worker.kept or examples()
        inputs, labels = (torch.from_numpy(part[self.row]) for part in Worker.kept)
        model = network()
        fill(model, parameters)
        train(model, inputs, labels)
        return arrays(model), len(labels), {}


def main() -> None:
    """Play all rounds."""
    ends_s: list[float] = []
    last: list[Any] = []

    def note(number: int, parameters: Any, config: Any) -> None:
        ends_s.append(time.perf_counter())
        last[:] = parameters

    def server(context: Context) -> ServerAppComponents:
        strategy = FedAvg(fraction_fit=1.0, fraction_evaluate=0.0, min_fit_clients=WORKERS,
                          min_available_clients=WORKERS, evaluate_fn=note,
                          initial_parameters=ndarrays_to_parameters(arrays(network())))
        return ServerAppComponents(strategy=strategy, config=ServerConfig(num_rounds=ROUNDS))

    def client(context: Context) -> Any:
        return Worker(int(context.node_config["partition-id"])).to_client()

    run_simulation(ServerApp(server_fn=server), ClientApp(client_fn=client), num_supernodes=WORKERS,
                   backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}})
    model = network()
    fill(model, last)
    inputs, labels = (torch.from_numpy(part) for part in examples())
    told([end - start for start, end in pairwise(ends_s)], mean_nats(model, inputs, labels))


if __name__ == "__main__":
    main()
