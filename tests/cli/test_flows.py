"""acesim flows: what is wrong with a file is told in one line, and nothing is computed."""

import copy
import json

import pytest
from click.testing import CliRunner

from acesim.cli import cli

LINK, FLOW = {"id": "a", "bw": 10, "lat": 0.5}, {"id": "f", "start": 0, "size": 20, "route": ["a"]}


def told(folder, text):
    file = folder / "f.json"
    file.write_text(text, encoding="utf-8")
    found = CliRunner().invoke(cli, ["flows", str(file)])
    return found.exit_code, found.output.replace(str(file), "f.json").strip()


@pytest.mark.parametrize(("part", "changed", "line"), [
    ("flows", {"size": -1}, "f.json: flows[0].size = -1: must be a number >= 0 and <= 1e+18 (bytes)"),
    ("flows", {"size": float("nan")}, "f.json: flows[0].size = nan: must be a number >= 0 and <= 1e+18 (bytes)"),
    ("flows", {"start": float("inf")}, "f.json: flows[0].start = inf: must be a number >= 0 and <= 1e+10 (seconds)"),
    ("flows", {"size": 10**400}, f"f.json: flows[0].size = 1{56 * '0'}...: must be a number >= 0 and <= 1e+18 (bytes)"),
    ("flows", {"size": "20 MB"}, "f.json: flows[0].size = 20 MB: must be a number >= 0 and <= 1e+18 (bytes)"),
    ("flows", {"route": ["b"]}, "f.json: flows[0].route[0] = \"b\": no such link (knows: \"a\")"),
    ("flows", {"route": ["a", "a"]}, "f.json: flows[0].route[1] = a: is in the route twice; a route crosses each link "
                                     "once"),
    ("flows", {"route": []}, "f.json: flows[0].route = []: must be a list of link ids, at least one"),
    ("links", {"bw": -1}, "f.json: links[0].bw = -1: must be a number >= 0 and <= 1e+18 (bytes per second)"),
    ("links", {"bw": 0}, "f.json: links[0].bw = 0: must be > 0 at some time; else nothing ever passes"),
])
def test_a_value_that_cannot_be(tmp_path, part, changed, line):
    document = copy.deepcopy({"links": [LINK], "flows": [FLOW]})
    document[part][0] |= changed
    assert told(tmp_path, json.dumps(document)) == (2, line)


@pytest.mark.parametrize(("text", "line"), [
    ("{links", "f.json: not JSON: Expecting property name"), ("", "f.json: not JSON: Expecting value"),
    (100_000 * "[", "f.json: not a flows file: lists or objects nested far too deeply"),
    ("[]", 'f.json: the file must be an object with links and flows: {"links": [...], "flows": [...]}'),
    ('{"links": [], "links": []}', "f.json: not JSON: key links stands twice; remove one"),
    (json.dumps({"links": [LINK], "flows": []}), "f.json: flows = []: must be a list with at least one entry"),
    (json.dumps({"links": [LINK, LINK], "flows": [FLOW]}), "f.json: links[1].id = a: is given twice; give each an id"),
    (json.dumps({"links": [LINK], "flows": [{"id": 1, "start": 0, "size": 1}]}), "f.json: flows[0].route: is missing"),
    (json.dumps({"links": [LINK | {"id": [1]}], "flows": [FLOW]}), "f.json: links[0].id = [1]: must be text or"),
    (json.dumps({"links": [LINK | {"profile": [[1, 0]]}], "flows": [FLOW]}),
     "f.json: flows: from 0.5 s on nothing moves any more for ['f']: the last rate of a profile"),
])
def test_a_file_that_cannot_be(tmp_path, text, line):
    code, output = told(tmp_path, text)
    assert code == 2
    assert line in output
    assert "Traceback" not in output


def test_what_is_right_is_computed(tmp_path):
    assert told(tmp_path, "\ufeff" + json.dumps({"links": [LINK], "flows": [FLOW]})) == (0, '{"finish": {"f": 2.5}}')
    assert told(tmp_path, json.dumps({"links": [LINK], "flows": [FLOW]})) == (0, '{"finish": {"f": 2.5}}')
