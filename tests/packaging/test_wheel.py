"""The wheel carries scenarios, traces and profiles, and works where there is no checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import acesim, sys
from acesim import audit
from acesim.scenario import load, shipped_scenarios
from acesim.network import build
from acesim.fleet import devices
assert acesim.__file__.startswith(sys.argv[1]), acesim.__file__
assert {"quickstart", "table1", "table1-sanity", "minimal"} <= set(shipped_scenarios())
scenario = load("table1")
built = build(scenario.workers, scenario.network, 0)
assert len(built.worker_names) == 80 and "a100" in devices()
assert len(audit("ace-sync", "nowhere").missing) >= 12
print("fine")
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, timeout=300, capture_output=True)
    (wheel,) = folder.glob("acesim-*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


@pytest.mark.slow
def test_it_works_outside_the_checkout(unpacked, tmp_path):
    place = {"PYTHONPATH": str(unpacked), "PATH": "", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(unpacked)], cwd=tmp_path, env=place, capture_output=True,
                          text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "fine"


@pytest.mark.slow
def test_it_carries_every_file_of_data(unpacked):
    for folder, name in (("scenarios", "scenarios"), ("claims", "claims"), ("traces", "traces")):
        there = {path.name for path in (unpacked / "acesim" / name).iterdir()}
        assert {path.name for path in (ROOT / folder).iterdir() if path.suffix in {".yaml", ".json", ".md"}} <= there
    assert (unpacked / "acesim" / "fleet" / "devices.json").is_file()
    assert (unpacked / "acesim" / "py.typed").is_file()
