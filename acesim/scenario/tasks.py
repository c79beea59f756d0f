"""The facts of a task: what is trained, on which data, by which rule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from acesim.scenario.base import Fact, Flag, Positive, Text, parameter

NonNegative = Annotated[float, Field(strict=True, ge=0)]
AboveZero = Annotated[float, Field(strict=True, gt=0)]
BelowOne = Annotated[float, Field(strict=True, ge=0, lt=1)]
Share = Annotated[float, Field(strict=True, gt=0, lt=1)]
Widths = Annotated[tuple[Positive, ...], Field(min_length=1)]

DROPS, FACTOR = (0.5, 0.75), 0.1
"""Of the learning rate's schedule `step`: where it drops, and to which share."""

HELD_OUT = 0.2
"""Share of a data set that is scored where neither the scenario nor the file says."""


def _one_source(data: Any, usual: str) -> Any:
    """Fill in the usual source where no data is named."""
    if not isinstance(data, Mapping):
        return data
    source, files = data.get("source"), data.get("files")
    if source is not None and files is not None:
        raise ValueError("give either source or files, not both")
    return {**data, "source": usual} if source is None and files is None else data


class Corpus(Fact):
    """Where text comes from: the docstrings of the Python that runs this, or files of one's own (a glob)."""

    source: Literal["python-docs"] | None = None
    files: Text | None = None
    split: Literal["by-document"] = "by-document"
    held_out: Share = 0.1

    @model_validator(mode="before")
    @classmethod
    def _exactly_one(cls, data: Any) -> Any:
        return _one_source(data, "python-docs")


class TransformerSpec(Fact):
    """The model that is trained: a decoder-only Transformer over characters."""

    layers: Positive = 2
    d_model: Positive = 48
    heads: Positive = 3
    context: Positive = 32
    mlp_ratio: Positive = 4
    norm: Literal["rms", "layer"] = "rms"
    activation: Literal["relu2", "relu", "gelu", "gelu-tanh"] = "relu2"
    tied: Flag = True
    vocabulary: Annotated[int, Field(strict=True, ge=2)] = 96

    @model_validator(mode="after")
    def _whole_heads(self) -> TransformerSpec:
        if self.d_model % self.heads:
            raise ValueError(f"d_model {self.d_model} cannot be shared evenly by {self.heads} heads; "
                             f"d_model must be a multiple of heads")
        return self


class OptimizerSpec(Fact):
    """The server's rule for policies that send gradients; the learning rate is the peak after the warm-up.

    warm_up     rounds over which the rate rises in equal steps to its peak
    schedule    what it does then, over the rest of the run: linear and cosine fall to zero, step by `factor` at each of
                `drops`, shares of that rest (unless said, a tenth from half on, a hundredth from three quarters)
    weight_decay  decoupled with adamw, added to the gradient with sgd
    clip_norm   the longest gradient the rule takes as it is: a longer one is shortened to this; null: any
    """

    name: Literal["adamw", "sgd"] = "adamw"
    learning_rate: AboveZero = 8e-3
    schedule: Literal["constant", "linear", "cosine", "step"] = "linear"
    drops: Annotated[tuple[Share, ...], Field(min_length=1)] = DROPS
    factor: Share = FACTOR
    warm_up_rounds: Annotated[int, Field(ge=0)] = 20
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.95)
    eps: AboveZero = 1e-8
    weight_decay: NonNegative = 0.01
    momentum: BelowOne = 0.0
    nesterov: Flag = False
    clip_norm: AboveZero | None = None

    @model_validator(mode="after")
    def _no_idle_settings(self) -> OptimizerSpec:
        if self.name == "adamw" and (self.momentum or self.nesterov):
            raise ValueError("momentum and nesterov belong to sgd; adamw has betas")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum > 0")
        if self.schedule != "step" and (self.drops, self.factor) != (DROPS, FACTOR):
            raise ValueError(f"drops and factor belong to schedule: step, not {self.schedule}")
        if list(self.drops) != sorted(set(self.drops)):
            raise ValueError(f"drops {list(self.drops)} must ascend, each once")
        return self


class LanguageModelTask(Fact):
    """Next-character prediction.  batch_size: sequences a worker and step."""

    kind: Literal["language-model"] = "language-model"
    corpus: Corpus = Field(default_factory=lambda: Corpus(source="python-docs"))
    model: TransformerSpec = TransformerSpec()
    optimizer: OptimizerSpec = OptimizerSpec()
    batch_size: Positive = 1
    steps_per_epoch: Positive = 24
    scored_characters: Positive = 40_000

    @property
    def proxy_tokens(self) -> int:
        """Tokens of a step of the model that is trained."""
        return self.batch_size * self.model.context

    @property
    def proxy_extents(self) -> tuple[int, int]:
        """Width and depth of the model that is trained, for the memory of its activations."""
        return self.model.d_model, self.model.layers


class Counted:
    """What is known of a task whose examples are no sequences: each counts as one token, and holds no activations."""

    batch_size: int

    @property
    def proxy_tokens(self) -> int:
        """Tokens of a step."""
        return self.batch_size

    @property
    def proxy_extents(self) -> tuple[None, None]:
        """Width and depth, for the memory of activations: none."""
        return None, None


class QuadraticTask(Counted, Fact):
    """A quadratic bowl for each worker, with a known optimum.

    condition       largest over smallest curvature
    heterogeneity   distance of the workers' own optima from the common one
    noise           standard deviation of a gradient's entries at batch size 1
    """

    kind: Literal["quadratic"] = "quadratic"
    dimension: Positive = 64
    condition: Annotated[float, Field(strict=True, ge=1)] = 10.0
    heterogeneity: NonNegative = 1.0
    noise: NonNegative = 0.1
    batch_size: Positive = 1
    steps_per_epoch: Positive = 24
    optimizer: OptimizerSpec = OptimizerSpec()


class NetworkOnlyTask(Counted, Fact):
    """Nothing is learned; policies say how many bytes go up and down (`given-bytes`, or any other's formula)."""

    kind: Literal["network-only"] = "network-only"
    batch_size: Positive = 1
    steps_per_epoch: Positive = 24
    optimizer: OptimizerSpec = OptimizerSpec()


# ---- classification

class ClassData(Fact):
    """Labelled examples: scikit-learn's digits, or an .npz file of one's own with X and y.

    held_out   share of each class that is scored; null: 0.2, or the X_test and y_test of the file
    """

    source: Literal["digits"] | None = None
    files: Text | None = None
    held_out: Share | None = None

    @model_validator(mode="before")
    @classmethod
    def _exactly_one(cls, data: Any) -> Any:
        filled = _one_source(data, "digits")
        if isinstance(filled, Mapping) and filled.get("source") is not None and filled.get("held_out") is None:
            return {**filled, "held_out": HELD_OUT}
        return filled


class DenseModel(Fact):
    """Fully connected layers with ReLU; `hidden`: their widths."""

    kind: Literal["mlp"] = "mlp"
    hidden: Widths = (128,)

    def reuse(self, height: int, width: int, channels: int, classes: int) -> float:
        """Return how often each parameter is used for one example, on average."""
        return 1.0


class ConvModel(Fact):
    """3 x 3 convolutions with ReLU, one 2 x 2 max pooling, then fully connected layers.

    channels   of each convolution
    hidden     widths of the fully connected layers before the last
    """

    kind: Literal["conv"] = "conv"
    channels: Widths = (8, 16)
    hidden: tuple[Positive, ...] = ()

    def reuse(self, height: int, width: int, channels: int, classes: int) -> float:
        """Return how often each parameter is used for one image, on average.

        A convolution's parameters are used at every pixel, all others once.

        >>> round(ConvModel().reuse(8, 8, 1, 10), 2)
        21.59
        """
        kernels = sum((9 * inside + 1) * outside
                      for inside, outside in pairwise((channels, *self.channels)))
        sizes = (height // 2 * (width // 2) * self.channels[-1], *self.hidden, classes)
        dense = sum((inside + 1) * outside for inside, outside in pairwise(sizes))
        return (height * width * kernels + dense) / (kernels + dense)


class LinearModel(Fact):
    """Softmax regression: no hidden layer.  With two classes it is logistic regression."""

    kind: Literal["linear"] = "linear"

    def reuse(self, height: int, width: int, channels: int, classes: int) -> float:
        """Return how often each parameter is used for one example."""
        return 1.0


class EqualQuantity(Fact):
    """Every worker holds as many examples as any other."""

    kind: Literal["equal"] = "equal"


class ArithmeticQuantity(Fact):
    """Shares fall by equal steps from the first worker to the last; `ratio`: first over last."""

    kind: Literal["arithmetic"] = "arithmetic"
    ratio: Annotated[float, Field(strict=True, ge=1)] = 10.0


class LogNormalQuantity(Fact):
    """Shares are drawn: exp(sigma z), z ~ N(0, 1)."""

    kind: Literal["log-normal"] = "log-normal"
    sigma: NonNegative = 0.5


def _tagged(usual: str) -> Discriminator:
    """Choose among facts by `kind`; where none is given, the usual one."""
    def kind(value: Any) -> Any:
        return str(value.get("kind", usual)) if isinstance(value, Mapping) else getattr(value, "kind", None)
    return Discriminator(kind)


Model = Annotated[Annotated[DenseModel, Tag("mlp")] | Annotated[ConvModel, Tag("conv")]
                  | Annotated[LinearModel, Tag("linear")], _tagged("mlp")]
Quantity = Annotated[Annotated[EqualQuantity, Tag("equal")] | Annotated[ArithmeticQuantity, Tag("arithmetic")]
                     | Annotated[LogNormalQuantity, Tag("log-normal")], _tagged("equal")]


class DirichletPartition(Fact):
    """Label skew: the smaller alpha, the fewer classes a worker holds.

    alpha             of the Dirichlet distribution
    self_balancing    a worker that holds its equal share takes no part in the classes still to be dealt
    quantity          null: what falls to a worker; otherwise sizes are fixed, and classes are drawn to them
    """

    kind: Literal["dirichlet"] = "dirichlet"
    alpha: AboveZero = 0.5
    min_partition_size: Positive = 10
    self_balancing: Flag = False
    quantity: Quantity | None = None

    @model_validator(mode="after")
    def _one_rule_for_sizes(self) -> DirichletPartition:
        if self.self_balancing and self.quantity is not None:
            raise ValueError("self_balancing and quantity both decide sizes; leave one of the two out")
        return self


class ClassesPartition(Fact):
    """Label skew: every worker holds so many classes and no other; owners of a class share it by `quantity`."""

    kind: Literal["classes"] = "classes"
    classes_per_worker: Positive = 2
    min_partition_size: Positive = 10
    quantity: Quantity = EqualQuantity()


class IidPartition(Fact):
    """No label skew: examples are dealt at random."""

    kind: Literal["iid"] = "iid"
    min_partition_size: Positive = 10
    quantity: Quantity = EqualQuantity()


Partition = Annotated[Annotated[DirichletPartition, Tag("dirichlet")] | Annotated[ClassesPartition, Tag("classes")]
                      | Annotated[IidPartition, Tag("iid")], _tagged("dirichlet")]


class ImageTask(Fact):
    """Classification of images, or of any rows of numbers.  batch_size: examples a worker and step."""

    kind: Literal["image-classification"] = "image-classification"
    data: ClassData = Field(default_factory=lambda: ClassData(source="digits"))
    model: Model = DenseModel()
    partition: Partition = DirichletPartition()
    optimizer: OptimizerSpec = OptimizerSpec()
    batch_size: Positive = 32
    steps_per_epoch: Positive = 24

    @property
    def proxy_tokens(self) -> int | None:
        """Tokens of a step: an example counts as often as it uses each parameter; None: only the file knows."""
        if self.data.files is not None and self.model.kind == "conv":
            return None
        return math.ceil(self.batch_size * self.model.reuse(8, 8, 1, 10))  # an image of the digits

    @property
    def proxy_extents(self) -> tuple[None, None]:
        """Activations are small beside the weights, and not counted."""
        return None, None


# ---- tasks of one's own

class PluginTask(Counted, Fact):
    """A task of one's own, by the name it is registered under; `parameters` are its builder's."""

    kind: Literal["plugin"] = "plugin"
    name: Text
    parameters: dict[str, Annotated[Any, AfterValidator(parameter)]] = Field(default_factory=dict)
    optimizer: OptimizerSpec = OptimizerSpec()
    batch_size: Positive = 1
    steps_per_epoch: Positive = 24


Task = Annotated[Annotated[LanguageModelTask, Tag("language-model")] | Annotated[ImageTask, Tag("image-classification")]
                 | Annotated[QuadraticTask, Tag("quadratic")] | Annotated[NetworkOnlyTask, Tag("network-only")]
                 | Annotated[PluginTask, Tag("plugin")],
                 _tagged("language-model")]
