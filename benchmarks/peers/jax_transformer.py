"""Per-worker gradients of acesim's Transformer (RMS norm, ReLU^2, tied) in JAX."""

from __future__ import annotations

import os

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

VERSION = f"JAX {jax.__version__}"


def norm(x: Any, gain: Any) -> Any:
    """Return gain x / sqrt(mean(x^2) + 1e-5)."""
    return gain * x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-5)


def loss(heads: int, layers: int, p: dict[str, Any], tokens: Any, targets: Any) -> Any:
    """Return the mean cross-entropy of one worker's batch [B, T]."""
    batch, length = tokens.shape
    x = p["wte.weight"][tokens] + p["wpe.weight"][:length]
    width = x.shape[-1]
    past = jnp.tril(jnp.ones((length, length), bool))
    for layer in range(layers):
        name = f"h.{layer}."
        qkv = norm(x, p[name + "ln_1.weight"]) @ p[name + "attn_qkv.weight"].T
        q, k, v = qkv.reshape(batch, length, 3, heads, width // heads).transpose(2, 0, 3, 1, 4)
        scores = q @ k.swapaxes(-1, -2) * (heads / width) ** 0.5
        y = jax.nn.softmax(jnp.where(past, scores, -jnp.inf), -1) @ v
        x = x + y.swapaxes(1, 2).reshape(batch, length, width) @ p[name + "attn_proj.weight"].T
        hidden = norm(x, p[name + "ln_2.weight"]) @ p[name + "mlp_fc.weight"].T
        x = x + jnp.square(jax.nn.relu(hidden)) @ p[name + "mlp_proj.weight"].T
    logits = norm(x, p["ln_f.weight"]) @ p["wte.weight"].T
    chosen = jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]
    return jnp.mean(jax.nn.logsumexp(logits, -1) - chosen)


def _each(compiled: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> list[Any]:
    return jax.block_until_ready([compiled(*own) for own in arguments])


def variants(problem: Any, stacked: bool) -> dict[str, Callable[[], Any]]:
    """Return ways to take all workers' gradients, compiled: a loop, and vmap over chunks of 8 and over all.

    Parameters and batches are cut before, so that only gradients are timed.
    """
    gradient = jax.grad(partial(loss, problem.spec.heads, problem.spec.layers))
    rows = {name: jnp.asarray(part) for name, part in problem.views(stacked).items()}
    tokens, targets = jnp.asarray(problem.tokens, jnp.int32), jnp.asarray(problem.targets, jnp.int32)
    single = {name: part[0] for name, part in rows.items()}

    def part(at: Any) -> tuple[Any, ...]:
        return {name: own[at] for name, own in rows.items()} if stacked else single, tokens[at], targets[at]

    found = {"loop": partial(_each, jax.jit(gradient), [part(row) for row in range(problem.workers)])}
    mapped = jax.jit(jax.vmap(gradient, in_axes=(0 if stacked else None, 0, 0)))
    for size in (8, problem.workers):
        cuts = [slice(start, start + size) for start in range(0, problem.workers, size)]
        found[f"vmap {size}"] = partial(_each, mapped, [part(cut) for cut in cuts])
    return found


def flat(name: str, result: list[Any], order: list[str]) -> Any:
    """Return the gradients as one matrix [W, P]."""
    rows = result if name != "loop" else [{key: own[key][None] for key in order} for own in result]
    return np.concatenate([np.concatenate([np.asarray(own[key]).reshape(own[key].shape[0], -1) for key in order], 1)
                           for own in rows])
