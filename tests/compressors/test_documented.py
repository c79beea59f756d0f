"""The compressor of one's own in docs/policies.md."""

import re
from pathlib import Path

import numpy as np
import pytest
from tests_support import small_scenario

from acesim import study
from acesim.scenario.plugins import plugin

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")


@pytest.fixture
def file(tmp_path):
    [text] = re.findall(r"^```python\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
    path = tmp_path / "sign.py"
    path.write_text(text, encoding="utf-8")
    return path


def test_it_keeps_what_a_compressor_promises(file):
    compressor = plugin(file, "POLICIES")["sign"].__globals__["Sign"]()
    vector = np.random.default_rng(0).standard_normal(1001).astype(np.float32)
    payload, _ = compressor.encode(vector, None, None, ())
    decoded = compressor.decode(payload.body, vector.size)
    assert ((vector - decoded) ** 2).sum() < (vector ** 2).sum()
    assert payload.nbytes == len(compressor.serialise(payload.body)) == 4 + 126
    again = compressor.deserialise(compressor.serialise(payload.body), vector.size)
    assert compressor.decode(again, vector.size).tobytes() == decoded.tobytes()


def test_it_runs_as_a_policy(file, tmp_path):
    scenario = small_scenario(epochs=1, nominal={"model": [{"name": "x", "shape": [1000]}],
                                                 "tokens_per_step": {"cloud": 64, "edge": 64}})
    done = study.run(scenario, policies=["full-sync", "sign"], jobs=1, out=tmp_path / "results", plugins=[file])
    assert not done.faults
    sent = done.events().query("label == 'sign' and kind == 'upload'")
    assert set(sent["values_bytes"]) == {125}
    assert set(sent["scale_bytes"]) == {4}
