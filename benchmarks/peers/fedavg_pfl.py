"""The FedAvg workload in pfl (`pip install pfl torch`)."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.sampling import MinimizeReuseUserSampler
from pfl.hyperparam.base import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Metrics
from pfl.model.pytorch import PyTorchModel

from benchmarks.peers.torch_mlp import mean_nats, network
from benchmarks.peers.workload import BATCH, RATE, ROUNDS, STEPS, WORKERS, examples, told


class Trained(torch.nn.Module):
    """The network with the two methods pfl asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.network = network()

    def loss(self, inputs: Any, labels: Any, eval: bool = False) -> Any:
        """Return the mean cross-entropy."""
        return torch.nn.functional.cross_entropy(self.network(torch.as_tensor(inputs)), torch.as_tensor(labels))

    def metrics(self, inputs: Any, labels: Any, eval: bool = True) -> dict[str, Any]:
        """Return nothing: evaluation is not timed."""
        return {}


class Clock(TrainingProcessCallback):
    """Notes when rounds end."""

    def __init__(self) -> None:
        self.ends_s = [time.process_time()]

    def after_central_iteration(self, aggregate_metrics: Any, model: Any, *, central_iteration: int) -> Any:
        """Note the time, and go on."""
        self.ends_s.append(time.process_time())
        return False, Metrics()


def main() -> None:
    """Play all rounds."""
    inputs, labels = (torch.from_numpy(part) for part in examples())
    users = FederatedDataset(lambda user: Dataset(raw_data=[inputs[user], labels[user]], user_id=str(user)),
                             MinimizeReuseUserSampler(list(range(WORKERS))))
    module, clock = Trained(), Clock()
    model = PyTorchModel(module, torch.optim.SGD, torch.optim.SGD(module.parameters(), 1.0))
    clock.ends_s = [time.process_time()]
    FederatedAveraging().run(
        NNAlgorithmParams(central_num_iterations=ROUNDS, evaluation_frequency=ROUNDS + 1, train_cohort_size=WORKERS,
                          val_cohort_size=0),
        SimulatedBackend(training_data=users, val_data=None), model,
        NNTrainHyperParams(local_batch_size=BATCH, local_num_epochs=None, local_learning_rate=RATE,
                           local_num_steps=STEPS),
        NNEvalHyperParams(local_batch_size=None), [clock])
    spans_s = [end - start for start, end in pairwise(clock.ends_s)]
    told(spans_s, mean_nats(module.network, inputs, labels))


if __name__ == "__main__":
    main()
