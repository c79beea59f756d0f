"""Specs by plain attributes: the room reads them and does not care who made them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

TRANSFORMER = {"layers": 2, "d_model": 12, "heads": 3, "context": 8, "mlp_ratio": 4, "norm": "rms",
               "activation": "relu2", "tied": True, "vocabulary": 17}
OPTIMIZER = {"name": "adamw", "learning_rate": 8e-3, "schedule": "linear", "warm_up_rounds": 4,
             "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.01, "momentum": 0.0, "nesterov": False,
             "clip_norm": None}
WORDS = ["the", "server", "sends", "a", "model", "to", "each", "worker", "and", "adds", "what", "comes"]


@pytest.fixture
def transformer_spec() -> Callable[..., Any]:
    """A small Transformer, with any of its numbers replaced."""
    return lambda **changes: SimpleNamespace(**{**TRANSFORMER, **changes})


@pytest.fixture
def language_task(tmp_path: Path, transformer_spec: Callable[..., Any]) -> Callable[..., Any]:
    """A language-model task over 30 generated documents, with any of its fields replaced."""
    rng = np.random.default_rng(5)
    for number in range(30):
        words = rng.choice(WORDS, 150 + 20 * (number % 7))
        (tmp_path / f"text-{number:02}.txt").write_text(" ".join(words) + f" {number % 10}.\n", "utf-8")
    corpus = {"source": None, "files": str(tmp_path / "*.txt"), "split": "by-document", "held_out": 0.1}

    def make(**changes: Any) -> Any:
        fields = {"kind": "language-model", "corpus": SimpleNamespace(**corpus), "model": transformer_spec(),
                  "optimizer": SimpleNamespace(**OPTIMIZER), "batch_size": 2, "steps_per_epoch": 24,
                  "scored_characters": 1500}
        return SimpleNamespace(**{**fields, **changes})

    return make


@pytest.fixture
def image_task(tmp_path: Path) -> Callable[..., Any]:
    """A classification task over 300 generated images of 4 x 4 pixels in 3 classes, with any field replaced."""
    rng = np.random.default_rng(6)
    labels = np.arange(300) % 3
    centres = rng.standard_normal((3, 4, 4))
    path = tmp_path / "images.npz"
    np.savez(path, X=centres[labels] + 0.7 * rng.standard_normal((300, 4, 4)), y=labels)
    data = {"source": None, "files": str(path), "held_out": 0.2}
    partition = {"kind": "dirichlet", "alpha": 0.5, "min_partition_size": 5, "self_balancing": False,
                 "quantity": None}

    def make(**changes: Any) -> Any:
        fields = {"kind": "image-classification", "data": SimpleNamespace(**data),
                  "model": SimpleNamespace(kind="mlp", hidden=(10,)), "partition": SimpleNamespace(**partition),
                  "optimizer": SimpleNamespace(**OPTIMIZER), "batch_size": 4, "steps_per_epoch": 24}
        return SimpleNamespace(**{**fields, **changes})

    return make


@pytest.fixture
def quadratic_task() -> Callable[..., Any]:
    """A quadratic task, with any of its fields replaced."""
    fields = {"kind": "quadratic", "dimension": 24, "condition": 10.0, "heterogeneity": 1.0, "noise": 0.1,
              "batch_size": 1, "steps_per_epoch": 24, "optimizer": SimpleNamespace(**OPTIMIZER)}
    return lambda **changes: SimpleNamespace(**{**fields, **changes})
