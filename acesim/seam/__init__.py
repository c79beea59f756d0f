"""The policy seam: the few types that rooms hand to each other, and the protocols a policy is made of.

A policy is a combination of small parts.  Each part is a frozen dataclass that stores its constructor arguments and
nothing else; its methods are pure; state is explicit, owned by the engine, and always comes last, in and out.
The engine knows no policy, and a policy knows no clock.

Letters of shapes, here and everywhere: W workers, R regions, P parameters, G groups, L levels, B batch, T sequence,
V vocabulary, C workers in one chunk.
"""

from __future__ import annotations

from acesim.seam.model import KINDS, Group, ModelInfo, Speed
from acesim.seam.parts import (
    Aggregator,
    Compressor,
    Foreseeing,
    GradientFunction,
    Guided,
    LocalTraining,
    Predicting,
    Remembering,
    Varying,
    Walking,
)
from acesim.seam.planning import Plan, Schedule, View
from acesim.seam.policy import TREES, Recipe, TreePolicy
from acesim.seam.values import (
    Budget,
    Chunk,
    Generator,
    Guide,
    Payload,
    Rated,
    Shapes,
    Update,
    Variant,
    Vector,
    Wire,
    Work,
    size_of,
)

__all__ = ["KINDS", "TREES", "Aggregator", "Budget", "Chunk", "Compressor", "Foreseeing", "Generator",
           "GradientFunction", "Group", "Guide", "Guided", "LocalTraining", "ModelInfo", "Payload", "Plan",
           "Predicting", "Rated", "Recipe", "Remembering", "Schedule", "Shapes", "Speed", "TreePolicy", "Update",
           "Variant", "Varying", "Vector", "View", "Walking", "Wire", "Work", "size_of"]
