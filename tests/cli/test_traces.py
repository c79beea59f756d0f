"""acesim traces: list, show, generate, convert."""

import pytest
from click.testing import CliRunner

from acesim.cli import cli


def called(*words):
    return CliRunner().invoke(cli, ["traces", *map(str, words)])


def test_list():
    found = called("list")
    assert found.exit_code == 0
    assert [line.split()[0] for line in found.stdout.splitlines()] == ["3g", "5g", "5g-mmwave", "fixed", "lte",
                                                                      "satellite", "wifi"]
    assert "171" in found.stdout


def test_generate_convert_and_show(tmp_path):
    made = tmp_path / "lte.csv"
    assert called("generate", "lte", "--seed", 3, "--seconds", 120, "--downlink", "2 Mbps", "--out",
                  made).exit_code == 0
    assert called("generate", "lte", "--seed", 3, "--seconds", 120, "--downlink",
                  "2 Mbps").stdout == made.read_text(encoding="utf-8")
    assert called("convert", made, tmp_path / "drive.down").exit_code == 0
    back = tmp_path / "back.csv"
    assert called("convert", tmp_path / "drive.up", back, "--step", "1 s").exit_code == 0
    for file in (made, back):
        shown = called("show", file, "--out", tmp_path / "picture.svg")
        assert shown.exit_code == 0
        assert "120 rows, 120 s; statistics in steps of 1 s" in shown.stdout
        assert "down  mean 2 Mbps, CV" in shown.stdout
        assert "8 s worth of mean-rate data take" in shown.stdout
        assert "█" in shown.stdout
    assert (tmp_path / "picture.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert called("convert", back, tmp_path / "back.log", "--quiet").output == ""
    assert called("show", tmp_path / "back.log", "--from", "pensieve").exit_code == 0


@pytest.mark.parametrize(("form", "suffix"), [("csv", "csv"), ("pensieve", "log"), ("mahimahi", "down")])
def test_standard_output_has_the_format_asked_for(tmp_path, form, suffix):
    made = tmp_path / f"x.{suffix}"
    words = ("generate", "lte", "--seconds", 20, "--to", form)
    assert called(*words, "--out", made).exit_code == 0
    assert called(*words).stdout == made.read_text(encoding="utf-8")


@pytest.mark.parametrize(("words", "message"), [
    (("show", "nowhere.csv"), "nowhere.csv: cannot be read"),
    (("convert", "{file}", "x.mp3"), "its suffix tells no format"),
    (("convert", "{file}", "x.csv", "--step", "0s"), "--step: 0s: must be one time > 0, for example 1 s"),
    (("convert", "{file}", "x.csv", "--step", "1-2 s"), "--step: 1-2 s: must be one time > 0"),
    (("convert", "{file}", "x.csv", "--step", "1"), "--step: 1: needs a unit"),
    (("show", "{file}", "--from", "mahimahi"), "must be a whole number of milliseconds"),
    (("show", "{file}", "--out", "x.gif"), "unknown kind of picture"),
])
def test_what_is_refused(tmp_path, words, message):
    file = tmp_path / "x.csv"
    file.write_text("t_s,down_mbps\n0,1\n1,2\n")
    found = called(*(word.format(file=file) for word in words))
    assert found.exit_code == 2
    assert message in found.output
