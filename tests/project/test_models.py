"""docs/models.md says what becomes of each kind of model; `python -m tests.project.models` makes the whole page."""

from __future__ import annotations

import re
import warnings
from functools import cache
from pathlib import Path

import pytest

from tests.project import models
from tests.project.models import VARIANTS, Kind

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text()


def between(mark: str) -> str:
    return PAGE.split(f"<!-- {mark} -->\n")[1].split(f"<!-- /{mark} -->")[0].strip()


@cache
def list_kinds() -> list[Kind]:
    return models.list_kinds()


def list_rows() -> list[tuple[str, str, str]]:
    """The section, the kind and what becomes of it, of each row of the page."""
    sections = re.split(r"^### (.*)$", between("kinds"), flags=re.MULTILINE)
    return [
        (section, name, word)
        for section, table in zip(sections[1::2], sections[2::2], strict=True)
        for name, word in re.findall(r"^\| (.*?) \| (.*?) \|$", table, re.MULTILINE)
        if name != "Model"
    ]


def test_the_page_has_each_kind_and_says_what_becomes_of_it() -> None:
    rows = list_rows()

    assert [(section, name) for section, name, _ in rows] == [(kind.section, kind.name) for kind in list_kinds()]
    for index, (kind, (_, _, words)) in enumerate(zip(list_kinds(), rows, strict=True)):
        variant = VARIANTS[index % len(VARIANTS)]  # one of six; the command tries all
        ((_, word),) = models.judge_kind(kind, [variant]).items()
        formats = dict(re.fullmatch(r"([^()]+)(?: \((.*)\))?", part).groups() for part in words.split("; "))
        assert word in formats, kind.name
        assert variant[1] in (formats[word] or variant[1]), kind.name


def test_a_transformer_alone_is_not_supported() -> None:
    for kind in list_kinds():
        is_clusterer = hasattr(kind.model[0], "predict") if kind.section.startswith("Transformers") else True
        if not is_clusterer:
            with warnings.catch_warnings(action="ignore"):
                transformer = kind.model[0].fit(models.FITTED)
            assert models.judge(transformer, "array", "pickle") == "unsupported_model", kind.name


def test_the_page_says_what_becomes_of_old_releases() -> None:
    assert "\n".join(models.list_release_rows()) == between("releases")


@pytest.mark.parametrize("word", ["packed", "in the child", "unsupported_model", "not_novelty", "untrusted_model"])
def test_the_page_explains_its_words(word: str) -> None:
    assert word in PAGE.partition("## Kinds")[0]
