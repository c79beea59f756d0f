"""The parts of a decoder-only Transformer, forward and backward, for many workers at once.

Every function works on stacks: activations are [C, N, width] (C workers, N = B T positions), weights
[C, out, in].  A leading axis of stride 0 serves parameters that the workers share, so shared and diverged
parameters take one path.  Each matrix product is one product per worker: what a worker gets does not depend,
in any bit, on who shares its chunk.  (Flattening the chunk into one large product is a little faster, and is
not independent in the last bits.)

Softmax runs over the FIRST axis of a [choices, ...] array: numpy reduces a matrix over its first axis many
times faster than over a short last axis.  Scores are held as [key, C, B, H, query], logits as [symbol, C, N].

A function named `x_backward` takes the gradient of x's output, writes gradients of parameters into `g`, and
returns the gradient of x's input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

Array = NDArray[Any]
Views = dict[str, Array]


FEW, SMALL, TINY = 32, 1_000_000, 1200
"""Rows that are few, multiplications of a small product, and entries of a tiny result: see `linear`."""


class Workspace:
    """Buffers that are made once for each name and shape, and used again by every later call.

    A buffer holds what its last user left in it.  Freshly mapped memory costs more than most of the
    arithmetic done here, which is why nothing on the usual path allocates large arrays.
    """

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self._buffers: dict[tuple[str, tuple[int, ...]], Array] = {}

    def __call__(self, name: str, shape: tuple[int, ...]) -> Array:
        """Return the buffer of this name and shape."""
        key = (name, shape)
        buffer = self._buffers.get(key)
        if buffer is None:
            buffer = self._buffers[key] = np.zeros(shape, self.dtype)
        return buffer

    def __getstate__(self) -> Any:
        return self.dtype

    def __setstate__(self, dtype: Any) -> None:
        self.dtype, self._buffers = dtype, {}


def turned(x: Array, work: Workspace) -> Array:
    """Return the matrices of x transposed, and laid out so."""
    out = work("turned", (*x.shape[:-2], x.shape[-1], x.shape[-2]))
    out[...] = x.swapaxes(-1, -2)
    return out


def linear(x: Array, p: Views, name: str, work: Workspace) -> Array:
    """y = x W^T (+ b), W [out, in].

    OpenBLAS has kernels for small products, but with both factors read along their rows only for tiny results; and it
    is slow at large products of few rows.  Measured with AVX-512, turning x saves up to half of the former's time, and
    y^T = W x^T a third of the latter's; with AVX2 both cost or gain a few per cent.
    """
    weight = p[name + ".weight"]
    (chunk, rows, into), width = x.shape, weight.shape[1]
    out = work(name, (chunk, rows, width))
    small = rows * into * width <= SMALL
    if rows <= FEW and not small:
        upright = work(name + ".upright", (chunk, width, rows))
        out[...] = np.matmul(weight, x.swapaxes(1, 2), out=upright).swapaxes(1, 2)
    else:
        if rows <= 2 * FEW and small and (into <= width or rows * width > TINY):
            x = turned(x, work).swapaxes(1, 2)
        np.matmul(x, weight.swapaxes(1, 2), out=out)
    if name + ".bias" in p:
        out += p[name + ".bias"][:, None]
    return out


def linear_gradient(x: Array, dy: Array, g: Views, name: str) -> None:
    """dW = dy^T x, db = sum dy."""
    np.matmul(dy.swapaxes(1, 2), x, out=g[name + ".weight"])
    if name + ".bias" in g:
        np.add.reduce(dy, axis=1, out=g[name + ".bias"])


def linear_backward(x: Array, dy: Array, p: Views, g: Views, name: str, out: Array) -> Array:
    """dW = dy^T x, db = sum dy; returns dx = dy W."""
    linear_gradient(x, dy, g, name)
    return np.matmul(dy, p[name + ".weight"], out=out)


class Normed(NamedTuple):
    """What a norm leaves for its backward pass: its output, x-hat, and 1 / deviation [C, N, 1]."""

    y: Array
    hat: Array
    scale: Array


def norm(x: Array, p: Views, name: str, work: Workspace, eps: float = 1e-5) -> Normed:
    """y = gain x / sqrt(mean(x^2) + eps); with a bias it is LayerNorm: x is centred first, the bias added."""
    hat, y = work(name + ".hat", x.shape), work(name + ".y", x.shape)
    centred = name + ".bias" in p
    if centred:
        x = np.subtract(x, x.mean(axis=2, keepdims=True), out=hat)
    scale = np.einsum("cnd,cnd->cn", x, x)[..., None]
    scale *= 1 / x.shape[2]
    scale += eps
    np.sqrt(scale, out=scale)
    np.divide(1, scale, out=scale)
    np.multiply(x, scale, out=hat)
    np.multiply(hat, p[name + ".weight"][:, None], out=y)
    if centred:
        y += p[name + ".bias"][:, None]
    return Normed(y, hat, scale)


def norm_backward(kept: Normed, dy: Array, p: Views, g: Views, name: str, work: Workspace) -> Array:
    """dx = (dhat - hat mean(dhat hat) [- mean(dhat) if centred]) / deviation, dhat = dy gain; ends in dy."""
    product = np.multiply(dy, kept.hat, out=work("norm.product", dy.shape))
    np.add.reduce(product, axis=1, out=g[name + ".weight"])
    along = np.matmul(product, p[name + ".weight"][..., None], out=work("norm.along", (*dy.shape[:2], 1)))
    centred = name + ".bias" in p
    if centred:
        np.add.reduce(dy, axis=1, out=g[name + ".bias"])
    dy *= p[name + ".weight"][:, None]
    along *= 1 / dy.shape[2]
    if centred:
        dy -= dy.mean(axis=2, keepdims=True)
    dy -= np.multiply(kept.hat, along, out=product)
    dy *= kept.scale
    return dy


def softmax(scores: Array, largest: Array | None = None) -> tuple[Array, Array]:
    """exp(scores - max) over the first axis, in place; returns (max, sum) and leaves out the division.

    largest   the max, where it is known
    """
    largest = np.maximum.reduce(scores, axis=0) if largest is None else largest
    scores -= largest
    np.exp(scores, out=scores)
    return largest, np.add.reduce(scores, axis=0)


def foremost(logits: Array, largest: Array, aim: Array, chosen: Array) -> Array:
    """Say of each column of logits [V, N] whether entry `aim` is the first of its largest; chosen: that entry.

    numpy's argmax over a first axis takes longer than all else that scoring does, and only ties need it.
    """
    if np.count_nonzero(logits == largest) == largest.size:
        return np.asarray(chosen == largest)
    return np.asarray(np.argmax(logits, axis=0) == aim)


def cross_entropy(logits: Array, targets: Array) -> Array:
    """Return every worker's mean of -log softmax(logits)[target] in nats; logits become its gradient.

    logits    [V, C, N]
    targets   int [C, N]
    returns   float64 [C]
    """
    chunk, count = targets.shape
    aim = (targets, np.arange(chunk)[:, None], np.arange(count))
    chosen = logits[aim]
    largest, total = softmax(logits)
    losses: Array = np.add.reduce(np.log(total) + largest - chosen, axis=1, dtype=np.float64) / count
    total *= count
    logits /= total
    logits[aim] -= logits.dtype.type(1 / count)
    return losses


def causal_mask(positions: int, dtype: Any) -> Array:
    """[key, 1, 1, 1, query]: 0 where the key is not later than the query, else -inf."""
    allowed = np.arange(positions)[:, None] <= np.arange(positions)
    return np.where(allowed, 0, -np.inf).astype(dtype)[:, None, None, None]


def split_heads(joined: Array, parts: int, batch: int, heads: int) -> Array:
    """[C, B T, parts H s] -> a view [parts, C, B, H, T, s]."""
    chunk, positions, width = joined.shape
    shape = (chunk, batch, positions // batch, parts, heads, width // (parts * heads))
    return joined.reshape(shape).transpose(3, 0, 1, 4, 2, 5)


class Attended(NamedTuple):
    """What attention leaves for its backward pass."""

    x: Array
    qkv: Array
    weights: Array
    context: Array


def attention(x: Array, p: Views, name: str, heads: int, batch: int, mask: Array,
              work: Workspace) -> tuple[Array, Attended]:
    """softmax(q k^T / sqrt(s) + mask) v, projected; q, k, v of all heads come from one product.

    x         [C, N, d]
    heads     H; s = d / H
    returns   y [C, N, d] and what the backward pass needs
    """
    chunk, positions, width = x.shape
    length = positions // batch
    qkv = linear(x, p, name + "attn_qkv", work)
    qkv[..., :width] *= (heads / width) ** 0.5
    q, k, v = split_heads(qkv, 3, batch, heads)
    weights = work(name + "scores", (length, chunk, batch, heads, length))
    by_key = weights.transpose(1, 2, 3, 0, 4)
    np.matmul(k, turned(q, work), out=by_key)
    weights += mask
    weights /= softmax(weights)[1]
    context = work(name + "context", x.shape)
    np.matmul(by_key.swapaxes(-1, -2), v, out=split_heads(context, 1, batch, heads)[0])
    y = linear(context, p, name + "attn_proj", work)
    return y, Attended(x, qkv, weights, context)


def attention_backward(kept: Attended, dy: Array, p: Views, g: Views, name: str, heads: int, batch: int,
                       work: Workspace) -> Array:
    """dV = A^T dC, dS = A (dA - sum A dA), dQ = dS K / sqrt(s), dK = dS^T Q / sqrt(s), then dx."""
    width = dy.shape[2]
    dcontext = linear_backward(kept.context, dy, p, g, name + "attn_proj", work("dcontext", dy.shape))
    dcontext = split_heads(dcontext, 1, batch, heads)[0]
    dqkv, dscores = work("dqkv", kept.qkv.shape), work("dscores", kept.weights.shape)
    q, k, v = split_heads(kept.qkv, 3, batch, heads)
    dq, dk, dv = split_heads(dqkv, 3, batch, heads)
    by_key, dby_key = kept.weights.transpose(1, 2, 3, 0, 4), dscores.transpose(1, 2, 3, 0, 4)
    np.matmul(by_key, dcontext, out=dv)
    np.matmul(v, turned(dcontext, work), out=dby_key)
    dscores -= np.add.reduce(np.multiply(dscores, kept.weights, out=work("product", dscores.shape)), axis=0)
    dscores *= kept.weights
    np.matmul(dby_key.swapaxes(-1, -2), k, out=dq)
    np.matmul(dby_key, q, out=dk)
    dqkv[..., :width] *= (heads / width) ** 0.5
    return linear_backward(kept.x, dqkv, p, g, name + "attn_qkv", work("dx", dy.shape))


def relu2(h: Array, slope: Array, work: Workspace) -> None:
    """max(h, 0)^2, in place; its derivative goes into `slope`."""
    np.maximum(h, work("zero", h.shape), out=h)  # an array of zeros: a scalar takes numpy's slow loop
    np.add(h, h, out=slope)
    np.multiply(h, h, out=h)


def relu(h: Array, slope: Array, work: Workspace) -> None:
    """max(h, 0), in place; its derivative goes into `slope`."""
    np.greater(h, 0, out=slope)
    h *= slope


def gelu(h: Array, slope: Array, work: Workspace) -> None:
    """h Phi(h), in place; its derivative Phi(h) + h phi(h) goes into `slope`."""
    share = 0.5 * (1 + erf(h * 0.5 ** 0.5))
    slope[...] = share + h * np.exp(-0.5 * h * h) * (2 * np.pi) ** -0.5
    h *= share


def gelu_tanh(h: Array, slope: Array, work: Workspace) -> None:
    """h (1 + tanh(u)) / 2, u = sqrt(2 / pi) (h + 0.044715 h^3), in place; derivative into `slope`."""
    root = (2 / np.pi) ** 0.5
    bend = np.tanh(root * (h + 0.044715 * h ** 3))
    slope[...] = 0.5 * (1 + bend) + 0.5 * h * (1 - bend * bend) * root * (1 + 3 * 0.044715 * h * h)
    h *= 0.5 * (1 + bend)


Activation = Callable[[Array, Array, Workspace], None]
"""(h, slope, work): replaces h by its activation, and writes the derivative into `slope`."""


def activation(name: str) -> Activation:
    """Return the activation of this name; raises KeyError when there is none."""
    return {"relu2": relu2, "relu": relu, "gelu": gelu, "gelu-tanh": gelu_tanh}[name]


class Bent(NamedTuple):
    """What an MLP leaves for its backward pass."""

    x: Array
    hidden: Array
    slope: Array


def mlp(x: Array, p: Views, name: str, bend: Activation, work: Workspace) -> tuple[Array, Bent]:
    """W2 bend(W1 x)."""
    hidden = linear(x, p, name + "mlp_fc", work)
    slope = work(name + "slope", hidden.shape)
    bend(hidden, slope, work)
    return linear(hidden, p, name + "mlp_proj", work), Bent(x, hidden, slope)


def mlp_backward(kept: Bent, dy: Array, p: Views, g: Views, name: str, work: Workspace) -> Array:
    """dh = (dy W2) bend'(h); returns dx = dh W1."""
    dhidden = linear_backward(kept.hidden, dy, p, g, name + "mlp_proj", work("dhidden", kept.hidden.shape))
    dhidden *= kept.slope
    return linear_backward(kept.x, dhidden, p, g, name + "mlp_fc", work("dx", dy.shape))
