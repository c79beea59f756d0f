"""The house: a room imports only rooms on floors below it, and only the third-party modules it may."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "acesim"
FLOORS = [{"scenario"}, {"seam"}, {"fleet", "network", "learning"}, {"compressors", "aggregators", "schedules"},
          {"records", "policies"}, {"engine"}, {"report", "runner"}, {"study"},
          {"sweeps", "estimates", "audits", "matching"},
          {"terminal"}, {"cli"}]
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
NUMERIC = {"numpy", "scipy"}
ALLOWED = {
    "scenario": {"numpy", "pydantic", "pydantic_core", "ruamel"}, "seam": {"numpy"}, "fleet": NUMERIC,
    "network": NUMERIC | {"numba"},  # optional: compiles what plain numpy does too
    "learning": NUMERIC, "compressors": NUMERIC, "aggregators": NUMERIC, "schedules": NUMERIC, "policies": {"numpy"},
    "records": {"numpy", "pandas", "pyarrow"}, "engine": {"numpy", "simpy"},
    "report": {"numpy", "scipy", "pandas", "pyarrow", "matplotlib", "jinja2"},
    "runner": {"threadpoolctl"}, "study": {"pandas", "joblib"}, "sweeps": {"numpy", "pandas"}, "audits": {"pandas"},
    "estimates": {"numpy", "joblib", "threadpoolctl"}, "matching": {"threadpoolctl"}, "terminal": {"rich"},
    "cli": {"click"},
    "__init__": set(), "__main__": set(),
}
STANDARD = set(sys.stdlib_module_names)


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imports(path: Path):
    """Yield (module, only for types?) of every import of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.If)
                   and ast.unparse(node.test) == "TYPE_CHECKING" for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, id(node) in typing_only
        elif isinstance(node, ast.ImportFrom):
            if node.level:  # from a neighbour in the same room
                assert node.level == 1, f"{path}: reaches out of its room"
                continue
            if node.module == "acesim":
                for name in node.names:
                    yield f"acesim.{name.name}", id(node) in typing_only
            else:
                yield node.module, id(node) in typing_only


FILES = sorted(PACKAGE.rglob("*.py"))


def test_every_room_has_a_floor():
    assert {room_of(path) for path in FILES} - {"__init__", "__main__"} == set(FLOOR)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_go_down(path):
    room = room_of(path)
    for module, _ in imports(path):
        top, _, rest = module.partition(".")
        if top == "acesim":
            target = rest.split(".")[0]
            if target in FLOOR and room in FLOOR and target != room:
                assert FLOOR[target] < FLOOR[room], f"{room} (floor {FLOOR[room]}) imports {module}"
        elif top not in STANDARD:
            assert top in ALLOWED[room], f"{room} may not import {top}"


def test_a_violation_would_be_seen(tmp_path):
    """The rule can fail: a compressor that imports SimPy, or the engine, is caught."""
    path = tmp_path / "bad.py"
    path.write_text("import simpy\nfrom acesim.engine import simulate\n")
    found = [module for module, _ in imports(path)]
    assert found == ["simpy", "acesim.engine"]
    assert "simpy" not in ALLOWED["compressors"]
    assert FLOOR["engine"] > FLOOR["compressors"]


def test_a_process_that_computes_loads_nothing_that_looks_at_results():
    """A third of a second and 40 MB in every process."""
    names = {"pandas", "matplotlib", "rich", "click", "joblib"}
    code = f"import sys, acesim.runner; print(sorted({names} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert found.stdout.strip() == "[]"


def test_nothing_is_left_unfinished():
    words = ("NotImplementedError", "TODO", "FIXME", "XXX")
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert not [word for word in words if word in text], path
        assert "__import__('time')" not in text


CLOCKS = {"time", "datetime"}


@pytest.mark.parametrize("room", ["fleet", "network", "learning", "compressors", "aggregators", "schedules", "policies",
                                  "engine"])
def test_no_room_that_simulates_knows_the_clock_of_the_host(room):
    for path in sorted((PACKAGE / room).rglob("*.py")):
        assert not CLOCKS & {module.split(".")[0] for module, _ in imports(path)}, path
