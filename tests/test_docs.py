"""The documents say what the code says."""

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import StrEnum
from pathlib import Path

import pytest

from shared.runs import CHUNK_FOLLOWS, PHASE_FOLLOWS
from shared.settings import Settings

ROOT = Path(__file__).parents[1]
DOCS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def diagram(follows: Mapping[StrEnum, AbstractSet[StrEnum]], starts: Sequence[str]) -> str:
    """A table of moves as a mermaid diagram."""
    lines = ["```mermaid", "stateDiagram-v2", *(f"    [*] --> {start}" for start in starts)]
    lines += [f"    {state} --> {after}" for state in follows for after in type(state) if after in follows[state]]
    lines += [f"    {state} --> [*]" for state in follows if not follows[state]]
    return "\n".join([*lines, "```"])


def settings_table() -> str:
    """The settings as the README shows them."""
    lines = ["| Setting | Default | What it is |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        if name != "website_site_name":
            lines.append(f"| `{name.upper()}` | {shown(name)} | {field.description} |")
    return "\n".join(lines)


def shown(name: str) -> str:
    """A default as a person would write it."""
    spelled = {
        "storage": "*wanted*", "schedule": "`0 5 * * * *`", "heartbeat": "*wanted*", "window": "`PT1H`",
        "chunk_size": "`auto`", "model_names": "`{device}[/{sensor}].{ext}`", "silence": "`PT10M`",
        "retry_backoff": "`PT30S`", "job_timeout": "`PT1H`", "readings_columns": "as they are called",
    }  # fmt: skip
    default = Settings.model_fields[name].default
    return spelled.get(name) or (f"`{default}`" if default != "" else "")


def between(text: str, mark: str) -> str:
    """What stands between the comments `<!-- mark -->` and `<!-- /mark -->`."""
    return text.split(f"<!-- {mark} -->\n")[1].split(f"<!-- /{mark} -->", maxsplit=1)[0].strip()


# A run begins as a person's wish, by the schedule, or as missed.
DIAGRAMS = [("phases", PHASE_FOLLOWS, ["requested", "planning", "missed"]), ("chunks", CHUNK_FOLLOWS, ["waiting"])]


@pytest.mark.parametrize(("mark", "follows", "starts"), DIAGRAMS)
def test_the_state_diagrams_are_those_of_the_code(
    mark: str, follows: Mapping[StrEnum, AbstractSet[StrEnum]], starts: Sequence[str]
) -> None:
    assert between((ROOT / "docs" / "architecture.md").read_text(), mark) == diagram(follows, starts)


def test_the_settings_table_is_that_of_the_code() -> None:
    assert between((ROOT / "README.md").read_text(), "settings") == settings_table()


def test_a_default_in_the_table_is_the_one_that_counts() -> None:
    from shared import settings

    told = {n.upper(): shown(n).strip("`") for n in Settings.model_fields if shown(n).startswith("`")}
    wanted = {"STORAGE": "UseDevelopmentStorage=true", "HEARTBEAT": "0 * * * * *"}
    assert settings.load({**wanted, **told}) == settings.load(wanted)


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", path.read_text()):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_files_that_are_named_exist(path: Path) -> None:
    for name in re.findall(r"`((?:shared|scorer|local|tests|docs|bench)/[\w/.-]+)`", path.read_text()):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_settings_that_are_named_exist(path: Path) -> None:
    known = {name.upper() for name in Settings.model_fields}
    named = set(re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?:=[^`]*)?`", path.read_text()))
    constants = {"PHASE_FOLLOWS", "CHUNK_FOLLOWS", "FLEETSCORE_DATA"}
    assert named - known - constants == set()


def test_the_words_of_the_glossary_are_the_names_of_classes() -> None:
    import ast

    sources = [*(ROOT / "shared").rglob("*.py"), *(ROOT / "scorer").rglob("*.py")]
    classes = {n.name for p in sources for n in ast.walk(ast.parse(p.read_text())) if isinstance(n, ast.ClassDef)}
    words = set(re.findall(r"^\| (\w+) \|", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)) - {"Word"}
    ideas = {"Device", "Fleet", "Pack", "Job", "Watermark", "Orphan", "Tick"}  # words without a class of their own
    assert words - ideas <= classes
