"""Turns a YAML file into a frozen, fully checked `Scenario` in SI units, or says exactly what is wrong."""

from acesim.scenario.canonical import content_hash, dump, restore, schema, to_yaml
from acesim.scenario.files import file_hashes
from acesim.scenario.library import scenario_path, shipped_scenarios
from acesim.scenario.loader import load, load_document
from acesim.scenario.overrides import override, override_keys
from acesim.scenario.reference import reference
from acesim.scenario.schema import (
    Access,
    Corpus,
    ImageTask,
    LanguageModelTask,
    Layer,
    NetworkSpec,
    Nominal,
    OptimizerSpec,
    PluginTask,
    PolicySpec,
    QuadraticTask,
    Range,
    Scenario,
    Server,
    Servers,
    Stop,
    TransformerSpec,
    WorkerGroup,
)

__all__ = [
    "Access", "Corpus", "ImageTask", "LanguageModelTask", "Layer", "NetworkSpec", "Nominal", "OptimizerSpec",
    "PluginTask", "PolicySpec", "QuadraticTask", "Range", "Scenario", "Server", "Servers", "Stop", "TransformerSpec",
    "WorkerGroup", "content_hash", "dump", "file_hashes", "load", "load_document", "override", "override_keys",
    "reference", "restore", "scenario_path", "schema", "shipped_scenarios", "to_yaml",
]
