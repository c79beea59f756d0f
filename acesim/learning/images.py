"""Classifiers in numpy whose backward pass is written by hand: linear, fully connected, convolutional.

    x -> [3 x 3 convolution, ReLU] ... -> 2 x 2 max pooling -> [linear, ReLU] ... -> linear -> logits

Without convolutions it is an MLP, without hidden layers too it is softmax regression.  Every layer has
biases; there is no batch norm.  Mean cross-entropy in nats.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from acesim.learning import layers, layers2d
from acesim.learning.flat import FlatModel, Row, Tensor, place
from acesim.learning.layers import Array, Views
from acesim.scenario.errors import Problem, ScenarioError

if TYPE_CHECKING:
    from acesim.scenario.tasks import ConvModel, DenseModel, LinearModel

Shape = tuple[int, ...]


def layout(sizes: tuple[int, ...], channels: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Return the tensors in the order of the flat vector: each layer's weight, then its bias.

    Initial deviations are sqrt(2 / inputs) before a ReLU (He et al. 2015, arXiv:1502.01852), 1 / sqrt(inputs)
    before the logits; biases start at 0.

    sizes      inputs of the fully connected layers, then the classes
    channels   of the images, then of each convolution
    """
    convolutions = [(f"conv.{row}", outside, 9 * inside, "other")
                    for row, (inside, outside) in enumerate(pairwise(channels))]
    hidden = [(f"fc.{row}", outside, inside, "mlp") for row, (inside, outside) in enumerate(pairwise(sizes[:-1]))]
    linears = [*convolutions, *hidden, ("head", sizes[-1], sizes[-2], "head")]
    rows: list[Row] = []
    for row, (name, outside, inside, kind) in enumerate(linears):
        depth = row / max(1, len(linears) - 1)
        gain = 1 if kind == "head" else 2
        rows += [(f"{name}.weight", (outside, inside), kind, depth, inside, (gain / inside) ** 0.5),
                 (f"{name}.bias", (outside,), "other", depth, 1, 0.0)]
    return place(rows)


class Bent(NamedTuple):
    """What a layer with a ReLU leaves for the backward pass: what the weights were applied to, and the slope."""

    x: Array
    slope: Array


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    unpooled, pooled   around the pooling; None without convolutions
    features           [C, B, inputs] of the last layer
    """

    convolutions: tuple[Bent, ...]
    unpooled: Array | None
    pooled: Array | None
    hidden: tuple[Bent, ...]
    features: Array
    logits: Array


class Classifier(FlatModel):
    """A network of one shape; it holds work buffers but no parameters.

    spec      kind, channels (conv), hidden (mlp, conv)
    shape     of an example: (features,) or (height, width, channels); all arrive flattened
    classes   V
    dtype     of the arithmetic; float64 is the reference
    raises    ScenarioError where convolutions meet what is no image
    """

    def __init__(self, spec: DenseModel | ConvModel | LinearModel, shape: Shape, classes: int,
                 dtype: Any = np.float32) -> None:
        channels: Shape = getattr(spec, "channels", ())
        hidden: Shape = getattr(spec, "hidden", ())
        inputs = int(np.prod(shape))
        if channels:
            pooled = _pooled(shape)
            inputs, channels = pooled[0] * pooled[1] * channels[-1], (shape[2], *channels)
        self.shape = shape
        super().__init__(layout((inputs, *hidden, classes), channels), dtype)
        self._convolutions = tuple(f"conv.{row}" for row in range(len(channels[1:])))
        self._hidden = tuple(f"fc.{row}" for row in range(len(hidden)))
        self._first = (*self._convolutions, *self._hidden, "head")[0]

    def _forward(self, p: Views, inputs: Array) -> Tape:
        """Run the network on examples [C, B, features]; logits are [V, C, B]."""
        work, x = self._work, inputs
        convolutions, unpooled, pooled = [], None, None
        if self._convolutions:
            unpooled = inputs.reshape(*inputs.shape[:2], *self.shape)
            for name in self._convolutions:
                unpooled, kept = self._convolve(unpooled, p, name)
                convolutions.append(kept)
            pooled = layers2d.pool(unpooled, "pool", work)
            x = pooled.reshape(*inputs.shape[:2], -1)
        hidden = []
        for name in self._hidden:
            y, slope = self._bend(x, p, name)
            hidden.append(Bent(x, slope))
            x = y
        weight, bias = p["head.weight"], p["head.bias"]
        logits = work("logits", (weight.shape[1], *inputs.shape[:2]))
        np.matmul(weight, x.swapaxes(1, 2), out=logits.swapaxes(0, 1))
        logits += bias.T[..., None]
        return Tape(tuple(convolutions), unpooled, pooled, tuple(hidden), x, logits)

    def _bend(self, x: Array, p: Views, name: str) -> tuple[Array, Array]:
        """Return max(W x + b, 0) and its slope."""
        y = layers.linear(x, p, name, self._work)
        slope = self._work(name + ".slope", y.shape)
        layers.relu(y, slope, self._work)
        return y, slope

    def _convolve(self, images: Array, p: Views, name: str) -> tuple[Array, Bent]:
        x = layers2d.patches(images, name, self._work)
        y, slope = self._bend(x, p, name)
        return y.reshape(*images.shape[:4], -1), Bent(x, slope)

    def _backward(self, tape: Tape, inputs: Array, p: Views, g: Views) -> None:
        """Go back from the gradient of the logits, which stands in tape.logits."""
        work, dlogits = self._work, tape.logits.swapaxes(0, 1)
        np.matmul(dlogits, tape.features, out=g["head.weight"])
        np.add.reduce(dlogits, axis=2, out=g["head.bias"])
        if self._first == "head":
            return
        dx = np.matmul(dlogits.swapaxes(1, 2), p["head.weight"], out=work("dfeatures", tape.features.shape))
        for name, kept in zip(reversed(self._hidden), reversed(tape.hidden), strict=True):
            dx = self._unbend(kept, dx, p, g, name)
        if tape.unpooled is None or tape.pooled is None:
            return
        dx = layers2d.pool_backward(tape.unpooled, tape.pooled, dx.reshape(tape.pooled.shape), "pool", work)
        for name, kept in zip(reversed(self._convolutions), reversed(tape.convolutions), strict=True):
            dpatches = self._unbend(kept, dx.reshape(kept.slope.shape), p, g, name)
            if name != self._first:
                dx = layers2d.patches_backward(dpatches, tape.unpooled.shape[:4], name, work)

    def _unbend(self, kept: Bent, dy: Array, p: Views, g: Views, name: str) -> Array:
        """Return dx of a layer with a ReLU; the first layer of all has no use for it, and gives dy back."""
        dy *= kept.slope
        if name == self._first:
            layers.linear_gradient(kept.x, dy, g, name)
            return dy
        return layers.linear_backward(kept.x, dy, p, g, name, self._work(name + ".dx", kept.x.shape))


def _pooled(shape: Shape) -> Shape:
    """Return height and width after the pooling."""
    if len(shape) == 3 and min(shape[:2]) >= 2:
        return shape[0] // 2, shape[1] // 2
    given = f"rows of {shape[0]} numbers" if len(shape) == 1 else f"{shape[0]} x {shape[1]} pixels"
    raise ScenarioError([Problem(
        ("task", "model", "kind"), "conv",
        f"needs images of at least 2 x 2 pixels, X as [N, height, width] or [N, height, width, channels]; the data "
        f"has {given}; write model: {{kind: mlp}}")])
