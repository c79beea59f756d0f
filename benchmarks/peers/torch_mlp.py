"""The FedAvg workload as a plain loop in PyTorch; what the other peers train is this network too."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn

from benchmarks.peers.workload import BATCH, RATE, ROUNDS, SIZES, STEPS, examples, told

torch.set_num_threads(1)


def network() -> nn.Sequential:
    """Return the MLP, with the same initial weights every time."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(SIZES[0], SIZES[1]), nn.ReLU(), nn.Linear(SIZES[1], SIZES[2]))


def train(model: nn.Module, inputs: Any, labels: Any) -> None:
    """Take the local steps of one worker."""
    optimizer = torch.optim.SGD(model.parameters(), RATE)
    for step in range(STEPS):
        part = slice(step * BATCH, (step + 1) * BATCH)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[part]), labels[part]).backward()
        optimizer.step()


def mean_nats(model: nn.Module, inputs: Any, labels: Any) -> float:
    """Return the loss over all workers' examples."""
    with torch.no_grad():
        return float(nn.functional.cross_entropy(model(inputs.flatten(0, 1)), labels.flatten()))


def main() -> None:
    """Play all rounds."""
    inputs, labels = (torch.from_numpy(part) for part in examples())
    model, anchor = network(), network().state_dict()
    spans_s = []
    for _ in range(ROUNDS):
        start = time.process_time()
        total = {name: torch.zeros_like(part) for name, part in anchor.items()}
        for own, classes in zip(inputs, labels, strict=True):
            model.load_state_dict(anchor)
            train(model, own, classes)
            for name, part in model.state_dict().items():
                total[name] += part
        anchor = {name: part / len(inputs) for name, part in total.items()}
        spans_s.append(time.process_time() - start)
    model.load_state_dict(anchor)
    told(spans_s, mean_nats(model, inputs, labels))


if __name__ == "__main__":
    main()
