"""The import rules, each by folder: who may import whom, and where the world may be touched.

A file is judged by the longest folder of `MAY_IMPORT` that holds it; a folder that no rule names breaks the rules by
that alone, so no new package escapes them. What is imported late, by `import_module("...")`, counts like any import.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Package: the packages (or modules) of ours that it may import beside itself. Imports point downwards only.
_CONTRACT = {"shared.contract"}
_STATE = _CONTRACT | {"shared.state"}
_PORTS = _STATE | {"shared.ports"}
_PLANNING = _PORTS | {"shared.planning"}
_TRACKING = _PLANNING | {"shared.tracking"}
_CONTROL = _TRACKING | {"shared.control", "shared.publishing"}
_ADAPTERS = _PORTS | {"shared.adapters.azure"}
_BASE = _CONTRACT | {"scorer.errors", "scorer.arrow", "scorer.library_versions", "scorer.processes"}
_STORAGE = _BASE | {"scorer.storage"}
_FORMATS = _STORAGE | {
    "scorer.readings.cells",
    "scorer.readings.column_names",
    "scorer.readings.projection",
    "scorer.readings.timestamps",
}
_READINGS = _STORAGE | {"scorer.readings", "scorer.readings.formats", "scorer.readings.listing"}
_FAMILIES = _BASE | {
    "scorer.model_files.content",
    "scorer.model_files.estimator_kinds",
    "scorer.model_files.parsed",
    "scorer.families",
}
_PACKS = _STORAGE | {"scorer.model_files", "scorer.families", "scorer.packs"}
_PREDICTIONS = _STORAGE | {"scorer.predictions"}
_SINKS = _PREDICTIONS | {"scorer.sinks"}
_ESTIMATORS = (
    _READINGS
    | _PREDICTIONS
    | {"scorer.model_files", "scorer.families", "scorer.estimators", "scorer.kernels.numpy_steps"}
)
_SANDBOX = (
    _READINGS
    | _PREDICTIONS
    | {
        "scorer.estimators",
        "scorer.families.base",
        "scorer.model_files.allowlist",
        "scorer.model_files.compact",
        "scorer.sandbox",
    }
)
_SCORING = _READINGS | _PACKS | _PREDICTIONS | {"scorer.kernels", "scorer.sandbox", "scorer.scoring"}
MAY_IMPORT: Mapping[str, set[str]] = {
    "shared": {"shared"},  # the entry points: bootstrap, __main__, and the ports
    "shared.contract": set(),
    "shared.contract.fleet": _CONTRACT,
    "shared.contract.publishing": _CONTRACT,
    "shared.contract.readings": _CONTRACT,
    "shared.contract.summaries": _CONTRACT,
    "shared.state": _CONTRACT,
    "shared.planning": _PORTS,
    "shared.tracking": _PLANNING,
    "shared.publishing": _TRACKING,
    "shared.control": _TRACKING | {"shared.publishing", "shared.control.sinks"},
    "shared.control.sinks": _TRACKING | {"shared.publishing", "shared.control.options", "shared.control.tick"},
    "shared.api": _STATE
    | {"shared.ports", "shared.planning.backfill", "shared.publishing"}
    | {"shared.control.services", "shared.control.options"},
    "shared.cli": _CONTRACT,
    "shared.config": _PLANNING,
    "shared.adapters": _PORTS,
    "shared.adapters.azure": _PORTS,
    "shared.adapters.azureml": _ADAPTERS,
    "shared.adapters.batch": _ADAPTERS,
    "scorer": {"scorer", "shared.contract"},
    "scorer.storage": _BASE,
    "scorer.readings": _STORAGE
    | {"scorer.readings.formats", "scorer.readings.listing", "scorer.readings.avro", "scorer.kernels.rows"},
    "scorer.readings.avro": _FORMATS
    | {"scorer.readings.formats", "scorer.readings.nested", "scorer.readings.time_zones", "scorer.kernels.rows"},
    "scorer.readings.nested": _FORMATS
    | {"scorer.readings.time_zones", "scorer.readings.formats.remarks", "scorer.kernels.rows"},
    "scorer.readings.listing": _STORAGE | {"scorer.readings.layouts", "scorer.readings.time_zones"},
    "scorer.readings.formats": _FORMATS | {"scorer.readings.nested"},
    "scorer.device_formats": _BASE | {"scorer.readings.time_zones"},
    "scorer.model_files": _BASE,
    "scorer.model_files.boosters": _BASE | {"scorer.model_files.parsed"},
    "scorer.families": _FAMILIES,
    "scorer.families.predictors": _FAMILIES,
    "scorer.families.trees": _FAMILIES,
    "scorer.kernels": _CONTRACT | {"scorer.families"},
    "scorer.kernels.native": {
        "scorer.families.neighbours",
        "scorer.families.steps",
        "scorer.kernels.batch",
        "scorer.kernels.numba_compiler",
        "scorer.library_versions",
    },
    "scorer.kernels.numba_parts": {"scorer.families.neighbours", "scorer.kernels.numba_arithmetic"},
    "scorer.packs": _PACKS,
    "scorer.predictions": _STORAGE,
    "scorer.sinks": _SINKS,
    "scorer.sinks.sql": _SINKS,
    "scorer.estimators": _ESTIMATORS,
    "scorer.estimators.checks": _BASE,
    "scorer.sandbox": _SANDBOX,
    "scorer.scoring": _SCORING,
    "scorer.commands": _SCORING,
    "scorer.commands.desk": _SCORING | {"scorer.commands.options"},
    # The console script, which alone may import both sides; nothing imports it.
    "fleetscore": {"scorer.__main__", "scorer.commands", "shared.__main__", "shared.cli", "shared.contract"},
}
# Single modules that may do what the others of their folder may not.
EXCEPTIONS: Mapping[str, set[str]] = {
    "shared.ports": _STATE,
    "scorer.errors": _CONTRACT,
    "scorer.arrow": _CONTRACT,
    "scorer.library_versions": set(),
    "scorer.processes": set(),
    "scorer.commands.desk.convert_models": _STORAGE
    | {
        "scorer.estimators",
        "scorer.packs.fetch",
        "scorer.model_files.content",
        "scorer.model_files.estimator_kinds",
        "scorer.model_files.parsed",
        "scorer.model_files.sidecar",
        "scorer.commands.desk.folders",
        "scorer.commands.desk.convert_summary",
        "scorer.commands.desk.unscored",
    },
    "scorer.commands.publish_runs": _SINKS | {"scorer.commands.options"},
    "scorer.commands.desk.convert_readings": _BASE
    | {
        "scorer.device_formats",
        "scorer.readings.layouts",
        "scorer.commands.desk.folders",
        "scorer.commands.desk.readings_options",
        "scorer.commands.desk.readings_summary",
        "scorer.commands.desk.unscored",
    },
    "scorer.commands.desk.command_line": _CONTRACT
    | {"scorer.commands.options", "scorer.commands.desk.readings_options", "scorer.commands.desk.unscored"},
    "scorer.commands.desk.readings_options": _CONTRACT
    | {
        "scorer.device_formats.options",
        "scorer.device_formats.names",
        "scorer.commands.options",
        "scorer.commands.desk.unscored",
    },
    # Sent by value and run on a worker, where the scorer is; the app itself never imports it.
    "shared.adapters.dask_cluster": _PORTS | {"scorer.commands.dask_launcher", "scorer.launch"},
}

_CLOUDS = {"azure", "obstore", "distributed", "dask", "msrest", "adlfs"}
_NUMBERS = {"numpy", "pyarrow", "pandas", "scipy", "sklearn", "numba"}
_LIBRARIES = {"sklearn", "skops", "joblib", "lightgbm", "xgboost", "onnxruntime", "pyod", "catboost"}
_DATABASES = {"adbc_driver_manager", "adbc_driver_postgresql", "mssql_python", "psycopg", "pyodbc"}
_RECORDERS = {"asammdf", "nptdms"}  # files of industry's devices, at a desk only
_WORLD = {"os", "io", "pathlib", "socket", "subprocess", "time", "random", "threading", "logging", "shutil"}
PURE = ("shared.contract", "shared.state", "shared.planning", "shared.tracking", "shared.publishing")
IMPURE = {
    "shared.planning.plan_writer",
    "shared.planning.round_writer",
    "shared.planning.late_round_writer",
    "shared.tracking.observe",
}
OURS = ("shared", "scorer", "fleetscore")
# Packages from outside: which modules of ours, by prefix, may import them.
ONLY_HERE: Mapping[frozenset[str], tuple[str, ...]] = {
    frozenset(_CLOUDS): ("shared.adapters", "scorer.storage", "scorer.sinks", "scorer.commands.dask_launcher"),
    frozenset({"numba"}): ("scorer.kernels.numba_",),
    frozenset({"llvmlite"}): ("scorer.kernels.numba_", "scorer.kernels.native"),
    frozenset(_NUMBERS): ("scorer",),
    frozenset(_DATABASES): ("scorer.sinks",),
    frozenset(_RECORDERS): ("scorer.device_formats.libraries",),
    frozenset(_LIBRARIES): ("scorer.estimators", "scorer.sandbox.supervisor", "scorer.commands.desk.convert_models"),
}


def find_violations(sources: Mapping[str, str]) -> list[str]:
    """What breaks the rules. *sources*: the text of each module, by its dotted name, of `OURS` only."""
    packages = {name.rpartition(".")[0] for name in sources} - {""}
    broken = [f"{package}: no rule names this package" for package in sorted(packages - MAY_IMPORT.keys())]
    for module, text in sorted(sources.items()):
        imported = set(list_imports(module, text))
        broken += [f"{module} imports {other}" for other in sorted(imported) if not _may_import(module, other)]
        if module.startswith("shared"):
            broken += _find_world(module, text)
    return broken


def list_imports(module: str, text: str) -> Iterator[str]:
    """Every module that a source imports, late ones too, in full: `shared.contract.domain`, `azure.functions`."""
    package = module.split(".")[:-1]
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                base = package[: len(package) + 1 - node.level] if node.level else []
                whole = ".".join([*base, *([node.module] if node.module else [])])
                yield from (f"{whole}.{alias.name}" for alias in node.names)
            case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module")):
                yield from _list_late_import(package, node)
            case _:
                pass


def _list_late_import(package: list[str], call: ast.Call) -> Iterator[str]:
    match call.args[0] if call.args else None:
        case ast.Constant(value=str(name)):
            yield ".".join([*package, name[1:]]) if name.startswith(".") else name
        case _:
            pass  # a name from a closed list: `allowlist` and `supervisor` say which


def _may_import(module: str, other: str) -> bool:
    top = other.split(".", maxsplit=1)[0]
    if top in OURS:
        return _is_below(other, _rule_of(module))
    if top in ("local", "bench", "tests", "function_app"):
        return False
    if top in _WORLD and module.startswith(PURE) and module not in IMPURE:
        return False
    return all(module.startswith(where) for packages, where in ONLY_HERE.items() if top in packages)


def _rule_of(module: str) -> set[str]:
    if module in EXCEPTIONS:
        return EXCEPTIONS[module]
    package = module.rpartition(".")[0] or module
    return {package, *MAY_IMPORT.get(package, set())}


def _is_below(other: str, allowed: set[str]) -> bool:
    return any(other == prefix or other.startswith(f"{prefix}.") for prefix in allowed)


def _find_world(module: str, text: str) -> Iterator[str]:
    """Only settings read the environment, and only entry points the clock. Adapters may do both."""
    if module.startswith("shared.adapters"):
        return
    if "os.environ" in text and module != "shared.config.settings":
        yield f"{module} reads the environment"
    if (".now(" in text and module != "shared.__main__") or "time.time(" in text:
        yield f"{module} reads the clock"


def read_sources() -> Mapping[str, str]:
    """The text of each module of `OURS`, by its dotted name."""
    paths = [path for top in OURS for path in sorted((ROOT / top).rglob("*.py"))]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text() for path in paths}
