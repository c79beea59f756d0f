"""`acesim schema SECTION`: every section and every key told, and nothing told that is not so."""

import pytest

from acesim.scenario import Scenario, load, reference
from acesim.scenario.errors import ScenarioError
from acesim.scenario.reference import WHOLE, keys, sections

SECTIONS = sorted({(".".join(path) or WHOLE, fact) for path, fact in sections(Scenario)}, key=str)


@pytest.mark.parametrize(("section", "fact"), SECTIONS)
def test_every_key_of_every_section_is_told(section, fact):
    texts = reference(section).split(f"\n\n{section}: ")
    told = [[line.split()[0] for line in text.splitlines() if line.startswith("  ") and line[2] != " "]
            for text in texts]
    assert any(set(keys(fact)) <= set(each) for each in told)


def test_every_section_is_documented():
    assert all(fact.__doc__ and fact.__doc__.strip() for _, fact in SECTIONS)


def test_kinds_units_and_defaults_are_those_of_the_file():
    rows = dict(line.split(maxsplit=1) for line in reference("workers.access").splitlines() if line.startswith("  ")
                and line[2] != " ")
    assert rows["downlink"] == "a rate, for example 20 Mbps"
    assert rows["block"] == "a time, for example 20 ms; 60 s unless given"
    assert rows["end"] == "loop, hold, error; loop unless given"
    assert rows["kind"].endswith("; must be given")
    assert "a whole number >= 1; must be given" in reference("workers")
    assert "[0] unless given" in reference("scenario")


def test_what_a_section_says_can_be_written(tmp_path):
    """The example of every quantity is taken where it stands."""
    path = tmp_path / "mine.yaml"
    rows = [line.split(maxsplit=1) for line in reference("network").splitlines() if line.startswith("  region_")]
    given = ", ".join(f"{key}: {told.split('for example ')[1].split(';')[0]}" for key, told in rows)
    path.write_text(f"name: mine\nstop: {{epochs: 1}}\nnetwork: {{{given}}}\n")
    assert load(str(path)).network.region_rtt_s == 0.02


def test_no_key_is_said_to_belong_among_the_parameters_of_a_policy(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nstop: {epochs: 1}\nnetwork: {parameters: 10}\npolicies: [full-sync]\n")
    with pytest.raises(ScenarioError, match=r"network\.parameters: unknown key (?!; it belongs in policies)"):
        load(str(path))


@pytest.mark.parametrize(("wrong", "near"), [("workers.acess", "workers.access"), ("netwrok", "network")])
def test_a_section_that_there_is_not_is_refused_with_the_nearest(wrong, near):
    with pytest.raises(ScenarioError, match=f"{wrong}: no section; did you mean {near}"):
        reference(wrong)
