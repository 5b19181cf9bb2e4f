"""The documents say what the code says."""

import ast
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from shared.config import settings
from shared.config.fields import Settings
from shared.contract import paths
from shared.contract.reasons import Reason
from shared.contract.windows import MINUTE, Window, format_length
from shared.state.requests import Backfill, Quarantined, Scope
from shared.state.runs import CHUNK_FOLLOWS, PHASE_FOLLOWS, ChunkState, Phase
from tests.shared.api.test_app import FLEET, client
from tests.storm.world import NOON, WINDOW, World

ROOT = Path(__file__).parents[2]
ROOT_DOCS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "findings/README.md")]
DOCS = [*ROOT_DOCS, *sorted((ROOT / "docs").rglob("*.md"))]
SOURCES = [ROOT / "function_app.py", *sorted([*(ROOT / "shared").rglob("*.py"), *(ROOT / "scorer").rglob("*.py")])]


def nodes() -> Iterator[ast.AST]:
    """The syntax of the whole product; what is only for developers is not of it."""
    return (node for path in SOURCES for node in ast.walk(ast.parse(path.read_text())))


def between(text: str, mark: str) -> str:
    """What stands between the comments `<!-- mark -->` and `<!-- /mark -->`."""
    return text.split(f"<!-- {mark} -->\n")[1].split(f"<!-- /{mark} -->", maxsplit=1)[0].strip()


# Diagrams

Follows = Mapping[Phase, AbstractSet[Phase]] | Mapping[ChunkState, AbstractSet[ChunkState]]


def diagram(follows: Follows, starts: Sequence[str]) -> str:
    """A table of moves as a mermaid diagram."""
    lines = ["```mermaid", "stateDiagram-v2", *(f"    [*] --> {start}" for start in starts)]
    lines += [f"    {state} --> {after}" for state in follows for after in type(state) if after in follows[state]]
    lines += [f"    {state} --> [*]" for state in follows if state.terminal]
    return "\n".join([*lines, "```"])


# A run begins as a person's wish, by the schedule, or as missed.
DIAGRAMS = [("phases", PHASE_FOLLOWS, ["requested", "planning", "missed"]), ("chunks", CHUNK_FOLLOWS, ["waiting"])]


@pytest.mark.parametrize(("mark", "follows", "starts"), DIAGRAMS)
def test_the_state_diagrams_are_those_of_the_code(mark: str, follows: Follows, starts: Sequence[str]) -> None:
    assert between((ROOT / "docs" / "architecture.md").read_text(), mark) == diagram(follows, starts)


# Settings


def settings_table() -> str:
    """The settings as `docs/settings.md` shows them."""
    lines = ["| Setting | Default | What it is |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        if name != "website_site_name":
            lines.append(f"| `{name.upper()}` | {shown(name)} | {field.description} |")
    return "\n".join(lines)


def shown(name: str) -> str:
    """A default as a person would write it."""
    spelled = {
        "storage": "*required*", "heartbeat": "*required*", "schedule": "`0 5 * * * *`", "chunk_size": "`auto`",
        "model_names": "`{device}[/{sensor}].{ext}`", "readings_columns": "as they are called",
        "prune_predictions": "`false`", "predictions_folder": "`true`", "rescore_late": "`false`", "wait_for": "",
        "other_versions": "`warn`", "predictions_schema": "",
        "features": "", "missing_values": "", "window_origin": "", "model_formats": "", "readings_csv": "", "sinks": "",
    }  # fmt: skip
    default = Settings.model_fields[name].default
    if isinstance(default, timedelta):
        default = f"PT{default.seconds}S" if default % MINUTE else format_length(default)
    return spelled.get(name, f"`{default}`" if default != "" else "")


def test_the_settings_table_is_that_of_the_code() -> None:
    assert between((ROOT / "docs" / "settings.md").read_text(), "settings") == settings_table()


def test_a_default_in_the_table_is_the_one_that_counts() -> None:
    told = {n.upper(): shown(n).strip("`") for n in Settings.model_fields if shown(n).startswith("`")}
    expected = {"STORAGE": "UseDevelopmentStorage=true", "HEARTBEAT": "0 * * * * *"}
    assert settings.load_settings({**expected, **told}) == settings.load_settings(expected)


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_settings_that_are_named_exist(path: Path) -> None:
    named = set(re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?:=[^`]*)?`", path.read_text()))
    constants = {
        "PHASE_FOLLOWS",
        "CHUNK_FOLLOWS",
        "FLEETSCORE_DATA",
        "FLEETSCORE_FLEETS",
        "FLEETSCORE_STORMS",
        "NODE_CORES",
        "NUMBA_CACHE_DIR",
        "SQL_PASSWORD",
        "EVENTS_KEY",
    }
    of_azd = set(re.findall(r"\$\{(\w+)", (ROOT / "infra" / "main.parameters.json").read_text()))
    assert named - set(settings.list_names()) - constants - of_azd == set()


# Links, files, words


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?://)([^)#\s]*)#?([^)\s]*)\)", path.read_text()):
        there = path.parent / target if target else path
        assert there.exists(), target
        titles = re.findall(r"^#+ (.+)$", there.read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in [re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles], anchor


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_files_that_are_named_exist(path: Path) -> None:
    for name in re.findall(r"`((?:shared|scorer|local|tests|docs|bench)/[\w/.-]+)`", path.read_text()):
        assert (ROOT / name).exists(), name


def test_the_words_of_the_glossary_are_the_names_of_classes_or_stand_in_the_code() -> None:
    classes, names = set(), set()
    for node in nodes():
        match node:
            case ast.ClassDef(name=name):
                classes.add(name)
            case ast.FunctionDef(name=name) | ast.arg(arg=name) | ast.Name(id=name) | ast.Attribute(attr=name):
                names |= set(name.lower().split("_"))
    words = set(re.findall(r"^\| ([\w ]+) \|", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)) - {"Word"}
    assert words - classes <= {word for word in words if word.split()[0].lower() in names} | {"Orphan"}


# The runbook


def error_lines() -> set[str]:
    """The constant text of every line that is written as an error, or at a level that is worked out."""
    found = set()
    for node in nodes():
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="log" | "logging"), attr="error" | "exception")):
                found.add(ast.literal_eval(node.args[0]))
            case ast.Call(func=ast.Attribute(value=ast.Name(id="log" | "logging"), attr="critical" | "log")):
                found.add(ast.literal_eval(node.args[1 if node.func.attr == "log" else 0]))
    return found


def test_the_runbook_has_every_line_that_is_written_as_an_error_and_no_other() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    assert set(re.findall(r"^### `(.+)`$", runbook, re.MULTILINE)) == error_lines()


def test_every_logger_is_called_log_or_the_runbook_would_miss_its_lines() -> None:
    loggers = {found for path in SOURCES for found in re.findall(r"(\w+)\s*=.*\bgetLogger\(", path.read_text())}
    assert loggers == {"log"}


def test_the_runbook_says_what_every_reason_of_a_run_wants() -> None:
    ends = {Reason.DEADLINE, Reason.TOO_MANY_FAILURES, Reason.CIRCUIT_OPEN, Reason.EMPTY_FLEET, Reason.LEDGER_LOST}
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    assert {reason for reason in Reason if f"`{reason}`" in runbook} >= ends | {Reason.COMMIT_CONFLICT, Reason.TOO_LATE}


# Reasons


def reasons_table() -> str:
    """The reasons as `docs/reasons.md` shows them."""
    lines = ["| Code | Outcome | Who gives it | In version 1 | What to do |", "|---|---|---|---|---|"]
    for reason in Reason:
        first = f"`{reason.first_code}`" if reason.first_code != reason else ""
        lines.append(f"| `{reason}` | {reason.outcome} | {reason.source} | {first} | {reason.advice} |")
    return "\n".join(lines)


def test_the_table_of_reasons_is_that_of_the_code() -> None:
    assert between((ROOT / "docs" / "reasons.md").read_text(), "reasons") == reasons_table()


# What is asked over HTTP


def commands(path: Path) -> list[str]:
    """The curl commands of a document, each in one line."""
    return re.findall(r"^curl .+$", path.read_text().replace("\\\n", " "), re.MULTILINE)


def asked_for() -> World:
    """A world that has all that the documents ask for: a run that is over, a backfill, a model in quarantine."""
    world = World(dict(FLEET))
    world.beat_until_over()
    span = Window.parse("20261120T0000Z-P1D")
    world.ledger.add_backfill(Backfill("backfill-1", span, Scope.MISSING, 1, NOON, span.start))
    world.ledger.add_quarantined(Quarantined("pump1/heat", "e1", Reason.CRASHED, "", WINDOW, NOON))
    world.work.write(paths.log_path(WINDOW, "c00000", 1), b"printed")
    return world


@pytest.mark.parametrize("command", [command for path in DOCS for command in commands(path)])
def test_what_the_documents_ask_over_http_is_understood(command: str) -> None:
    known = {"$RUN": WINDOW, "$BACKFILL": "backfill-1", "$JSON": "Content-Type: application/json"}
    for name, value in known.items():
        command = command.replace(name, value)
    words = shlex.split(command, comments=True)
    given = {flag: word for flag, word in pairwise(words) if flag in ("-X", "-d", "-H")}
    (path,) = [word[word.index("/api/") :] for word in words if "/api/" in word]
    method = given.get("-X", "POST" if "-d" in given else "GET")
    headers = dict([given.get("-H", "Content-Type: application/x-www-form-urlencoded").split(": ")])
    told = client(asked_for()).request(method, path, content=given.get("-d"), headers=headers)
    assert told.is_success or told.status_code == 409, told.text  # 409: this run does not stand so


def test_the_documents_ask_for_something() -> None:
    assert all(commands(ROOT / name) for name in ("docs/operate.md", "docs/runbook.md"))
