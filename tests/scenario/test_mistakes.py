"""Every mistake is one line that names file, line, value, rule and remedy; the cases are in mistakes*.txt."""

from pathlib import Path

import pytest

from acesim.scenario import load
from acesim.scenario.errors import ScenarioError


def cases(name):
    """Return (what is wrong, what is told) of every case in a file."""
    blocks = (Path(__file__).parent / name).read_text(encoding="utf-8").split("\n----\n")[1:]
    return [tuple(part.strip("\n") for part in block.split("\n==> ")) for block in blocks]


def told(source, overrides=()):
    with pytest.raises(ScenarioError) as caught:
        load(source, overrides)
    return str(caught.value)


def written(text, folder):
    (folder / "s.yaml").write_text(text, encoding="utf-8")
    return "s.yaml"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("text", "message"), cases("mistakes.txt"))
def test_in_a_file(tmp_path, text, message):
    assert told(written(text + "\n", tmp_path)) == message


@pytest.mark.parametrize(("assignment", "message"), cases("mistakes-of-overrides.txt"))
def test_in_an_override(assignment, message):
    assert told("table1", [assignment]) == message


@pytest.mark.parametrize(("text", "message"), [
    ("", "s.yaml: the file is empty; a scenario is a mapping (name: ..., task: ...)"),
    ("name: x\n\tseeds: 1\n", "s.yaml:2: not valid YAML: a tab; indent with spaces"),
    ("name: x\x00\n", "s.yaml:1: not valid YAML: a control character"),
    ("name: " + 600 * "[" + "\n", "s.yaml: lists or mappings nested far too deeply"),
])
def test_that_cannot_be_seen(tmp_path, text, message):
    assert told(written(text, tmp_path)) == message


def test_in_the_names_of_files(tmp_path):
    message = told(written("name: x\ntask: {corpus: {files: none/*.txt}}\n", tmp_path))
    assert message == (f"s.yaml:2: task.corpus.files = {tmp_path / 'none' / '*.txt'}: no file matches; give "
                       "a glob such as texts/*.txt, relative to the scenario's folder")
    worker = "{name: a, count: 1, device: n100, access: {trace: gone.csv}}"
    message = told(written(f"name: x\nworkers: [{worker}]\n", tmp_path))
    assert message == (f"s.yaml:2: workers[0].access.trace = {tmp_path / 'gone.csv'}: no such file; paths "
                       "start from the scenario's folder")
