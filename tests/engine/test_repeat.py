"""The same seed gives the same run, wherever it is computed: in this process, in others, with any hash seed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests_support import counted_text, language, play, small_scenario, small_setup

from acesim import study
from acesim.records.manifest import digest
from acesim.scenario import to_yaml

POLICIES = ["full-sync", {"name": "top-k", "ratio": 0.1}, {"name": "fedavg", "fraction": 0.5}, "ace-sync", "local-only"]
ROOT = Path(study.__file__).resolve().parents[1]


@pytest.fixture
def scenario(tmp_path):
    task = language(counted_text(tmp_path), steps_per_epoch=2)
    return small_scenario(task=task, policies=POLICIES)


def digests(done):
    assert not done.faults
    return {(record.label, record.seed): (record.manifest["digest"], record.manifest["training_digest"])
            for record in done.records}


@pytest.mark.slow
def test_the_number_of_processes_changes_nothing(scenario, tmp_path):
    """Two processes share ten runs; each run is then the one that this process computes."""
    apart = digests(study.run(scenario, seeds=[0, 1], jobs=2, out=tmp_path / "two"))
    alone = digests(study.run(scenario, seeds=[0, 1], jobs=1, out=tmp_path / "one"))
    assert len(alone) == 10
    assert alone == apart
    assert len({each for each, _ in alone.values()}) == 10


def test_what_a_study_computes_is_what_the_engine_plays(scenario, tmp_path):
    done = digests(study.run(scenario, policies=["ace-sync"], jobs=1, out=tmp_path / "out"))
    played = play(small_setup("ace-sync", scenario=scenario))
    assert done["ace-sync", 0] == (digest(played.metrics, played.outcome.totals, played.outcome.model),
                                   played.outcome.training_digest)


CODE = """
import sys, acesim
done = acesim.run(sys.argv[1], jobs=1, out=sys.argv[2])
print([(record.label, record.manifest["digest"], record.manifest["training_digest"]) for record in done.records])
"""


@pytest.mark.slow
def test_the_hash_seed_changes_nothing(scenario, tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text(to_yaml(scenario), encoding="utf-8")
    told = {subprocess.run([sys.executable, "-c", CODE, file, tmp_path / seed], check=True, capture_output=True,
                           text=True, env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}).stdout
            for seed in ("0", "1")}
    assert len(told) == 1
    assert told.pop().count("ace-sync") == 1
