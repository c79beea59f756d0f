"""Names the combinations that are compared: one screen of recipes."""

from acesim.policies.info import model_info, nominal_shapes, sketch
from acesim.policies.recipes import RECIPES
from acesim.policies.registry import build, check, describe, knobs, recipes

__all__ = ["RECIPES", "build", "check", "describe", "knobs", "model_info", "nominal_shapes", "recipes", "sketch"]
