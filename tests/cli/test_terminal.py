"""Tables on a terminal: a figure is never cut, however narrow it is."""

import pytest
from rich.console import Console

from acesim import terminal
from acesim.report.layout import Block, Page

HEADER = ["policy", "top-1 of the proxy %", "wait s", "GB up/round", "simulated h"]
ROWS = [["full-sync", "38.29 \u00b1 0.12", "4,903.5 \u00b1 21.0", "113.51", "1,316"],
        ["top-k", "37.81", "3,557", "31.02", "267"]]


@pytest.mark.parametrize("width", [24, 40, 60, 80, 200])
def test_every_figure_stands_whole(width, monkeypatch, capsys):
    monkeypatch.setattr(terminal, "Console", lambda **kwargs: Console(width=width, highlight=False))
    monkeypatch.setattr(terminal, "WIDTH", width)
    terminal.show_page(Page([Block("all", HEADER, ROWS)], []))
    shown = capsys.readouterr().out
    for cell in (cell for row in ROWS for cell in row):
        assert any(cell in line for line in shown.splitlines()), cell
    assert "\u2026" not in shown
    assert shown.count("full-sync") == {24: 4, 40: 3, 60: 2, 80: 1, 200: 1}[width]


def test_prose_is_broken_into_lines(capsys):
    terminal.show_page(Page([Block("all", ["claim", "what was found"], [["a", "word " * 60]], prose=True)], []))
    assert max(map(len, capsys.readouterr().out.splitlines())) <= terminal.WIDTH
