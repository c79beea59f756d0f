"""The nominal workload: what is timed and counted, apart from what is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from acesim.scenario.base import Fact, Flag, Positive, Text
from acesim.scenario.errors import AcesimError
from acesim.scenario.units import count, extents

if TYPE_CHECKING:
    from acesim.scenario.schema import WorkerGroup

PROXY: Final = "same-as-proxy"
TRANSFORMER = "transformer-350m"
RESNET = "resnet-50"
_EXTENTS = {TRANSFORMER: (1024, 24), RESNET: (327, 50)}
"""(width, depth) for the memory of activations; see the presets."""


def _shape(value: Any) -> Any:
    return extents(value) if isinstance(value, str) else value


_WHOLE = {"type": "integer", "minimum": 1}
_SHAPE_SCHEMA = WithJsonSchema({"anyOf": [{"type": "array", "items": _WHOLE, "minItems": 1},
                                         {"type": "string"}]})
_TOKENS_SCHEMA = WithJsonSchema({"anyOf": [_WHOLE, {"type": "string", "pattern": r"^[\d.kMGx×* ]+$"}]})


class Layer(Fact):
    """One tensor of the nominal model: `shape` is a list, or text such as 1024 x 4096."""

    name: Text
    shape: Annotated[tuple[Positive, ...], BeforeValidator(_shape), Field(min_length=1), _SHAPE_SCHEMA]

    @property
    def size(self) -> int:
        """Number of entries."""
        entries = 1
        for length in self.shape:
            entries *= length
        return entries


def _pieces(value: Any) -> int | str:
    if value == "auto":
        return "auto"
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise ValueError("must be auto or a whole number of at least 1")


Preset = Literal["same-as-proxy", "transformer-350m", "resnet-50"]
Tokens = Annotated[int, BeforeValidator(count), _TOKENS_SCHEMA]
Layers = Annotated[tuple[Layer, ...], Field(min_length=1)]
Model = Annotated[Annotated[Preset, Tag("preset")] | Annotated[Layers, Tag("layers")],
                  Discriminator(lambda value: "layers" if isinstance(value, list | tuple) else "preset")]


class Nominal(Fact):
    """What is timed and counted.

    model            a preset, or a list of layers
    tokens_per_step  of one worker, by "cloud", "edge" or the name of a worker group; with same-as-proxy it
                     defaults to the batch that is trained, otherwise it has no default
    precision        a remark of what is computed in: a device's FLOP/s hold for it, memory is counted in fp32, and what
                     is sent is up to the compressor
    checkpointing    are activations computed again instead of held, by tier or worker group
    micro_batch      pieces a step is cut into so that activations fit; auto: as few as fit
    block            entries of a nominal group that share a scale and a level
    width, depth     for the memory of activations; a preset knows its own
    """

    model: Model = PROXY
    tokens_per_step: dict[str, Tokens] = Field(default_factory=dict)
    precision: Literal["fp32", "bf16"] = "fp32"
    checkpointing: dict[str, Flag] = Field(default_factory=lambda: {"cloud": False, "edge": True})
    micro_batch: Annotated[int | Literal["auto"], BeforeValidator(_pieces)] = "auto"
    block: Positive = 16_384
    width: Positive | None = None
    depth: Positive | None = None

    @model_validator(mode="before")
    @classmethod
    def _preset_extents(cls, data: Any) -> Any:
        preset = data.get("model") if isinstance(data, Mapping) else None
        if not isinstance(preset, str) or preset not in _EXTENTS:
            return data
        width, depth = _EXTENTS[preset]
        given = {key: data[key] for key in ("width", "depth") if data.get(key) is not None}
        return {**data, "width": width, "depth": depth, **given}

    @field_validator("checkpointing")
    @classmethod
    def _both_tiers(cls, given: dict[str, bool]) -> dict[str, bool]:
        return {"cloud": False, "edge": True, **given}

    @property
    def is_proxy(self) -> bool:
        """Is the model that is trained also the one that is timed?"""
        return self.model == PROXY

    def layers(self) -> tuple[Layer, ...]:
        """Return every tensor, in the order of the forward pass; AcesimError for same-as-proxy."""
        if isinstance(self.model, tuple):
            return self.model
        if self.is_proxy:
            raise AcesimError("nominal.model = same-as-proxy: its layers are those of the model that is "
                              "trained, which the task knows")
        return preset_layers(self.model)

    def tokens(self, group: WorkerGroup) -> int:
        """Return the tokens of one local step of a worker of `group`: by its name, else by its tier."""
        key = group.name if group.name in self.tokens_per_step else group.tier
        if key not in self.tokens_per_step:
            raise AcesimError(f"nominal.tokens_per_step: {missing_tokens(group.name, group.tier)}")
        return self.tokens_per_step[key]

    def checkpoints(self, group: WorkerGroup) -> bool:
        """Say whether workers of `group` compute activations again instead of holding them."""
        return self.checkpointing[group.name if group.name in self.checkpointing else group.tier]


def missing_tokens(group: str, tier: str) -> str:
    """Say that nobody can know the tokens of a step but who writes the scenario."""
    return (f"says nothing for worker group {group}; there is no default, for it alone decides whether "
            f"communication matters: write for example tokens_per_step: {{{tier}: 64 x 768}}")


@lru_cache(maxsize=4)
def preset_layers(preset: str) -> tuple[Layer, ...]:
    """Return the tensors of a preset.

    transformer-350m   354 823 168 parameters: 24 layers, width 1024, 16 heads, MLP 4096, vocabulary 50 257,
                       context 1024, learned positions, biases and layer norms everywhere, output tied to the
                       embedding (Radford et al. 2019, GPT-2 medium)
    resnet-50          25 557 032 parameters (He et al. 2016, arXiv:1512.03385, with the stride on the 3 x 3
                       convolution).  A 224 x 224 image costs as much as 160 tokens: 4.089e9 multiply-adds
                       over 25.6e6 parameters.  Its width of 327 at depth 50 makes 34 x tokens x width x depth
                       bytes what two copies of its 11.11e6 convolution outputs take in fp32 (before the norm
                       and after it).

    >>> sum(layer.size for layer in preset_layers("transformer-350m"))
    354823168
    >>> sum(layer.size for layer in preset_layers("resnet-50"))
    25557032
    """
    tensors = {TRANSFORMER: _transformer, RESNET: _resnet}[preset]
    return tuple(Layer(name=name, shape=shape) for name, shape in tensors())


_Tensors = Iterator[tuple[str, tuple[int, ...]]]


def _transformer() -> _Tensors:
    (width, depth), vocabulary, context = _EXTENTS[TRANSFORMER], 50_257, 1024
    yield "embedding.tokens", (vocabulary, width)
    yield "embedding.positions", (context, width)
    for layer in range(depth):
        yield from _norm(f"layer{layer}.norm1", width)
        yield from _linear(f"layer{layer}.attention.qkv", 3 * width, width)
        yield from _linear(f"layer{layer}.attention.out", width, width)
        yield from _norm(f"layer{layer}.norm2", width)
        yield from _linear(f"layer{layer}.mlp.up", 4 * width, width)
        yield from _linear(f"layer{layer}.mlp.down", width, 4 * width)
    yield from _norm("norm", width)


def _resnet() -> _Tensors:
    yield from _convolution("stem", 64, 3, 7)
    inputs = 64
    for stage, (blocks, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], start=1):
        for block in range(blocks):
            name = f"stage{stage}.block{block}"
            yield from _convolution(f"{name}.reduce", width, inputs, 1)
            yield from _convolution(f"{name}.spatial", width, width, 3)
            yield from _convolution(f"{name}.expand", 4 * width, width, 1)
            if block == 0:
                yield from _convolution(f"{name}.shortcut", 4 * width, inputs, 1)
            inputs = 4 * width
    yield from _linear("classifier", 1000, inputs)


def _linear(name: str, outputs: int, inputs: int) -> _Tensors:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _norm(name: str, width: int) -> _Tensors:
    yield f"{name}.gain", (width,)
    yield f"{name}.bias", (width,)


def _convolution(name: str, outputs: int, inputs: int, side: int) -> _Tensors:
    yield f"{name}.weight", (outputs, inputs, side, side)
    yield from _norm(f"{name}.norm", outputs)
