"""Turns a vector into a payload with an honest byte count, and back."""

from acesim.compressors.base import CompressorBase
from acesim.compressors.cache import CachedFeedback
from acesim.compressors.dense import Dense, buckets
from acesim.compressors.feedback import ErrorFeedback
from acesim.compressors.fused import Fused
from acesim.compressors.fusion import Costs, layer_fusion
from acesim.compressors.grouped import Grouped
from acesim.compressors.knapsack import solve_exact, solve_greedy, solve_uniform
from acesim.compressors.lattice import Lattice
from acesim.compressors.layered import LayerTopK, SampledTopK
from acesim.compressors.menu import DEFAULT_MENU
from acesim.compressors.momentum import Clipped, MomentumCorrection, Scaled, SparsificationAwareMomentum
from acesim.compressors.predictive import Predictive
from acesim.compressors.qsgd import QSGD
from acesim.compressors.shrunk import Shrunk
from acesim.compressors.silent import Silent
from acesim.compressors.sketch import CountSketch
from acesim.compressors.split import Split
from acesim.compressors.threshold import Changes, Threshold
from acesim.compressors.topk import TopK
from acesim.compressors.uniform import Uniform
from acesim.seam import Budget

__all__ = ["DEFAULT_MENU", "QSGD", "Budget", "CachedFeedback", "Changes", "Clipped", "CompressorBase", "Costs",
           "CountSketch", "Dense", "ErrorFeedback", "Fused", "Grouped", "Lattice", "LayerTopK", "MomentumCorrection",
           "Predictive", "SampledTopK", "Scaled", "Shrunk", "Silent", "SparsificationAwareMomentum", "Split",
           "Threshold", "TopK", "Uniform", "buckets", "layer_fusion", "solve_exact", "solve_greedy", "solve_uniform"]
