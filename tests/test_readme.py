"""What the README and the shipped scenarios promise."""

import re
from pathlib import Path

import pytest
from tests_support import small_scenario

from acesim import study
from acesim.policies import RECIPES, recipes
from acesim.study import read_scenario

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHIPPED = sorted((ROOT / "scenarios").glob("*.yaml"))


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def plugin(tmp_path):
    """The README's policy of one's own, as a file."""
    [text] = [block for block in blocks("python") if "POLICIES" in block]
    file = tmp_path / "mine.py"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_policy_of_ones_own_takes_thirty_lines(plugin):
    assert len(plugin.read_text().splitlines()) <= 30
    assert list(recipes([plugin])) == [*RECIPES, "half-k"]


def test_a_policy_of_ones_own_runs(plugin, tmp_path):
    """And does what it says: workers slower than the median send half as many entries."""
    scenario = small_scenario(epochs=1, nominal={"model": [{"name": "x", "shape": [1000]}],
                                                 "tokens_per_step": {"cloud": 64, "edge": 64}})
    done = study.run(scenario, policies=["full-sync", "half-k"], jobs=1, out=tmp_path / "results", plugins=[plugin])
    assert not done.faults
    assert done.compare()["label"].tolist() == ["full-sync", "half-k"]
    events = done.events()
    sent = events[(events["label"] == "half-k") & (events["kind"] == "upload") & (events["round"] >= 1)]
    assert sorted(sent["values_bytes"].unique()) == [4 * 25, 4 * 50]


def test_every_recipe_is_in_the_table():
    rows = re.findall(r"^\| (`[a-z0-9/-]+`(?:, `[a-z0-9/-]+`)*) \|", README, flags=re.MULTILINE)
    table = [name for row in rows for name in re.findall(r"[a-z0-9/-]+", row)]
    assert sorted(table) == sorted(RECIPES)


def test_the_scenario_it_shows_loads(tmp_path):
    (tmp_path / "tram.csv").write_text("t_s,down_mbps,up_mbps\n0,20,5\n1,30,8\n", encoding="utf-8")
    for number, text in enumerate(blocks("yaml")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text, encoding="utf-8")
        assert read_scenario(file).name == "mine"


def test_files_it_names_are_there():
    named = re.findall(r"`((?:docs|scenarios|traces|tests|benchmarks)/[\w./-]+|[A-Z]+\.md)`", README)
    assert named
    assert not [name for name in named if not (ROOT / name).exists()]


@pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
def test_every_shipped_scenario_loads_with_all_checks(path):
    scenario = read_scenario(path)
    assert scenario.name == path.stem
    assert scenario.policies


def test_there_are_scenarios_to_load():
    assert {"quickstart", "table1", "table1-sanity"} <= {path.stem for path in SHIPPED}
