"""How much memory a process has held, and that one run does not answer for another."""

import sys

import numpy as np
import pytest

from acesim.records import resident


@pytest.mark.skipif(sys.platform != "linux", reason="the peak begins anew on Linux alone")
def test_the_peak_begins_anew_and_counts_what_was_held_since():
    held = np.ones(12_500_000)  # 100 MB
    before = resident.peak_rss_bytes()
    del held
    resident.forget_peak()
    anew = resident.peak_rss_bytes()
    assert anew < before - 80e6
    held = np.ones(6_250_000)
    assert resident.peak_rss_bytes() > anew + 40e6
    del held


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not say")
def test_where_the_peak_cannot_begin_anew_it_is_the_process_s(tmp_path, monkeypatch):
    monkeypatch.setattr(resident, "_STATUS", tmp_path / "none")
    monkeypatch.setattr(resident, "_CLEAR", tmp_path / "no" / "such")
    resident.forget_peak()
    assert resident.peak_rss_bytes() > 10_000_000
