"""The walls: which room may import which, and where the world may be touched."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Each room may import those before it on its line's left, and nothing else of the house.
RUNGS = [
    "errors", "windows", "domain", "wishes", "runs", "names", "reading_policy", "scoring_policy", "paths", "contract",
    "ports", "schedule", "planner", "policy", "evidence", "attempts", "tracker", "drafting", "rules", "ticking",
    "seeing", "committing", "opening", "chores", "control", "views", "chunk_views", "backfill_views", "guard",
    "forms", "settings", "asking", "routes", "backfilling", "operating", "api", "wiring", "__main__",
]  # fmt: skip
PURE = {
    "errors", "windows", "domain", "wishes", "runs", "contract", "names", "reading_policy", "scoring_policy", "paths",
    "ports", "schedule", "planner", "policy", "evidence", "attempts", "tracker", "views", "chunk_views",
    "backfill_views", "guard", "forms",
}  # fmt: skip
NODE = {
    "errors",
    "windows",
    "domain",
    "contract",
    "paths",
    "names",
    "reading_policy",
    "scoring_policy",
}  # what the scorer may use
SOURCES = [
    path
    for folder in ("shared", "scorer", "local")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "node_modules" not in path.parts
]


def imports(path: Path) -> set[str]:
    """Every module that a file imports, in full: `shared.domain`, `azure.functions`."""
    here = list(path.relative_to(ROOT).with_suffix("").parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(here[: -node.level]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            found |= {f"{module}.{alias.name}" for alias in node.names} | {module}
    return found


def rooms(path: Path) -> set[str]:
    """The rooms of `shared` that a file uses."""
    return {parts[1] for module in imports(path) if (parts := module.split("."))[0] == "shared" and len(parts) > 1}


def test_every_folder_has_a_rule() -> None:
    """A new package turns this red until a rule names it: no file escapes by lying one level down."""
    folders = {path.parent.relative_to(ROOT).as_posix() for path in SOURCES if path.parts[-2] != "local"}
    assert folders == {"shared", "shared/adapters", "scorer"}


def test_every_room_has_its_rung() -> None:
    assert {path.stem for path in (ROOT / "shared").glob("*.py")} - {"__init__"} == set(RUNGS)


@pytest.mark.parametrize("room", RUNGS)
def test_rooms_import_only_downwards(room: str) -> None:
    allowed = set(RUNGS[: RUNGS.index(room)]) | ({"adapters"} if room == "wiring" else set())
    assert rooms(ROOT / "shared" / f"{room}.py") <= allowed


def test_adapters_never_import_what_uses_them() -> None:
    for path in (ROOT / "shared" / "adapters").rglob("*.py"):
        assert rooms(path) <= NODE | {"wishes", "runs", "ports", "adapters"}, path.name


def test_the_scorer_uses_only_what_nodes_share() -> None:
    for path in (ROOT / "scorer").rglob("*.py"):
        assert rooms(path) <= NODE, path.name


def test_the_app_never_imports_the_scorer_or_the_local_stack() -> None:
    for path in [*(ROOT / "shared").rglob("*.py"), ROOT / "function_app.py"]:
        assert not {m for m in imports(path) if m.split(".")[0] in ("scorer", "local")}, path.name


def test_only_adapters_and_the_function_app_know_a_cloud() -> None:
    clouds = ("azure", "obstore", "distributed", "dask")
    for path in SOURCES:
        if "adapters" not in path.parts and path.parts[-2] in ("shared", "local"):
            found = {m for m in imports(path) if m.split(".")[0] in clouds}
            assert path.parts[-2] == "local" or not found, (path.name, found)


def test_only_settings_read_the_environment_and_only_entry_points_the_clock() -> None:
    for path in (ROOT / "shared").rglob("*.py"):
        source = path.read_text()
        if "adapters" not in path.parts:
            assert "os.environ" not in source or path.stem == "settings", path.name
            assert ".now(" not in source or path.stem == "__main__", path.name
            assert "time.time(" not in source, path.name


def test_pure_rooms_do_nothing_to_the_world() -> None:
    forbidden = {"os", "io", "pathlib", "socket", "subprocess", "time", "random", "threading", "logging", "shutil"}
    for room in PURE:
        found = {module.split(".")[0] for module in imports(ROOT / "shared" / f"{room}.py")}
        assert not found & forbidden, room


def test_no_file_outgrows_a_sitting() -> None:
    long = {path.relative_to(ROOT).as_posix(): n for path in SOURCES if (n := len(path.read_text().splitlines())) > 350}
    assert long == {}
