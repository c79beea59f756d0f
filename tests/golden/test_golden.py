"""Golden rows of a small run of all four policies, in two processes with different hash seeds.

A change here is a change of results: say so in CHANGELOG.md under RESULTS, and write the file anew by
`pytest tests/golden --update-golden`.  Values are rounded, for processors differ in the last bits.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GOLDEN = HERE / "quickstart_small.csv"


def rows(folder, hash_seed):
    folder.mkdir()
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(HERE.parents[1]),
                                "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, HERE / "quickstart_small.py", folder], env=environment, check=False,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden")
    return [rows(folder / seed, seed) for seed in ("0", "1")]


def test_the_hash_seed_changes_nothing(printed):
    assert printed[0] == printed[1]


def test_the_rows_are_the_golden_ones(printed, request):
    if request.config.getoption("--update-golden"):
        GOLDEN.write_text(printed[0], encoding="utf-8", newline="\n")
    assert printed[0].splitlines() == GOLDEN.read_text(encoding="utf-8").splitlines()
