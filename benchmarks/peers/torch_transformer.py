"""Per-worker gradients of acesim's Transformer (RMS norm, ReLU^2, tied) in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

torch.set_num_threads(1)
VERSION = f"PyTorch {torch.__version__}"


def loss(heads: int, layers: int, p: dict[str, Any], tokens: Any, targets: Any) -> Any:
    """Return the mean cross-entropy of one worker's batch [B, T]."""
    batch, length = tokens.shape
    x = p["wte.weight"][tokens] + p["wpe.weight"][:length]
    width = x.shape[-1]
    later = torch.ones(length, length, dtype=torch.bool).triu(1)
    for layer in range(layers):
        name = f"h.{layer}."
        qkv = F.linear(F.rms_norm(x, (width,), p[name + "ln_1.weight"], 1e-5), p[name + "attn_qkv.weight"])
        q, k, v = qkv.view(batch, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-1, -2)) * (heads / width) ** 0.5
        y = torch.softmax(scores.masked_fill(later, -torch.inf), -1) @ v
        x = x + F.linear(y.transpose(1, 2).reshape(batch, length, width), p[name + "attn_proj.weight"])
        hidden = F.linear(F.rms_norm(x, (width,), p[name + "ln_2.weight"], 1e-5), p[name + "mlp_fc.weight"])
        x = x + F.linear(torch.relu(hidden).square(), p[name + "mlp_proj.weight"])
    logits = F.linear(F.rms_norm(x, (width,), p["ln_f.weight"], 1e-5), p["wte.weight"])
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))


def _loop(one: Callable[..., Any], stacks: dict[str, Any], tokens: Any, targets: Any) -> list[Any]:
    rows = range(len(tokens))
    own = [{name: part[row % len(part)].requires_grad_() for name, part in stacks.items()} for row in rows]
    return [torch.autograd.grad(one(own[row], tokens[row], targets[row]), list(own[row].values())) for row in rows]


def _chunks(mapped: Callable[..., Any], size: int, p: dict[str, Any], stacked: bool, tokens: Any,
            targets: Any) -> list[Any]:
    cuts = [slice(start, start + size) for start in range(0, len(tokens), size)]
    return [mapped({name: part[cut] for name, part in p.items()} if stacked else p, tokens[cut], targets[cut])
            for cut in cuts]


def variants(problem: Any, stacked: bool) -> dict[str, Callable[[], Any]]:
    """Return ways to take all workers' gradients: a loop, and vmap over chunks of 8 and over all."""
    heads, layers = problem.spec.heads, problem.spec.layers
    one = partial(loss, heads, layers)
    rows = {name: torch.from_numpy(part) for name, part in problem.views(stacked).items()}
    shared = rows if stacked else {name: part[0] for name, part in rows.items()}
    tokens, targets = torch.from_numpy(problem.tokens), torch.from_numpy(problem.targets)
    mapped = torch.func.vmap(torch.func.grad(one), in_dims=(0 if stacked else None, 0, 0))
    vmaps = {f"vmap {size}": partial(_chunks, mapped, size, shared, stacked, tokens, targets)
             for size in (8, problem.workers)}
    return {"loop": partial(_loop, one, rows, tokens, targets), **vmaps}


def flat(name: str, result: list[Any], order: list[str]) -> Any:
    """Return the gradients as one matrix [W, P]."""
    if name == "loop":
        return torch.stack([torch.cat([part.reshape(-1) for part in row]) for row in result]).numpy()
    return torch.cat([torch.cat([chunk[key].flatten(1) for key in order], 1) for chunk in result]).numpy()
