"""Claims files: every mistake is a line that names file, line, value, rule and remedy; the cases are in a file."""

from pathlib import Path

import pytest

from acesim.scenario.claims import load_claims
from acesim.scenario.errors import ScenarioError
from acesim.scenario.library import claims_path, shipped_claims

HEAD = "paper: {title: x}\nscenario: table1\nclaims:"


def cases():
    """Return (what is wrong, what is told) of every case."""
    text = (Path(__file__).parent / "mistakes-of-claims.txt").read_text(encoding="utf-8")
    return [tuple(part.strip("\n") for part in block.split("\n==> ")) for block in text.split("\n----\n")[1:]]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("text", "message"), cases())
def test_a_mistake(text, message):
    Path("c.yaml").write_text(text.replace("HEAD", HEAD) + "\n", encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        load_claims("c.yaml")
    assert str(caught.value) == message


def test_names():
    assert "ace-sync" in shipped_claims()
    assert claims_path("ace-sync").suffix == ".yaml"
    with pytest.raises(ScenarioError, match=r"ace-snc: there is no such file or claims file; did you mean ace-sync\?"):
        load_claims("ace-snc")
    Path("folder").mkdir()
    with pytest.raises(ScenarioError, match="is a folder; a claims file is a file"):
        load_claims("folder")


def test_what_a_claim_says_of_itself():
    text = HEAD + """
  - id: a
    says: b
    figures: [44.7, 112.5]
    measure: {metric: time_to_s, of: top-k, against: fedavg, form: ratio, target: {share: 97 %, of: full-sync}}
    rule: {expect: less, factor: 1.5}
  - {id: b, says: b, uncheckable: c, figure: 3}
"""
    Path("c.yaml").write_text(text, encoding="utf-8")
    found = load_claims("c.yaml")
    one, other = found.claims.claims
    assert one.published == pytest.approx(44.7 / 112.5)
    assert one.measure.policies == ("top-k", "fedavg", "full-sync")
    assert other.published == 3
    assert found.claims.paper.cited == "x"
    assert str(found.problem(("claims", 0, "rule"), None, "r")) == "c.yaml:8: claims[0].rule: r"
