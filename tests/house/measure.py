"""What the size and the words of the product come to: files, lines, functions, names, imports."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from statistics import median, quantiles

from tests.house.rules import ROOT, find_violations, read_sources
from tests.house.test_words import find_forbidden

TREES = ("shared", "scorer")


def list_functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method, nested ones too, but properties and dunders: those are nouns, or Python's."""
    for node in ast.walk(tree):
        match node:
            case (
                ast.FunctionDef(name=name, decorator_list=marks) | ast.AsyncFunctionDef(name=name, decorator_list=marks)
            ):
                if not name.startswith("__") and not any("property" in ast.unparse(mark) for mark in marks):
                    yield node


def measure_functions() -> tuple[list[int], float]:
    """The lines of each function, and the share of those whose name is one word."""
    functions = [function for text in read_sources().values() for function in list_functions(ast.parse(text))]
    lengths = [(function.end_lineno or 0) - function.lineno + 1 for function in functions]
    return lengths, sum("_" not in function.name.strip("_") for function in functions) / len(functions)


def measure() -> dict[str, tuple[float, float]]:
    """Each measure by its name: what it is, and the most that it may be."""
    paths = [path for tree in TREES for path in (ROOT / tree).rglob("*.py")]
    folders = Counter(path.parent for path in paths if path.name != "__init__.py")
    lengths, one_word = measure_functions()
    return {
        "files in a folder": (max(folders.values()), 15),
        "lines of a file": (max(len(path.read_text().splitlines()) for path in paths), 350),
        "lines of a function, median": (median(lengths), 8),
        "lines of a function, p90": (quantiles(lengths, n=10)[-1], 22),
        "function names of one word, %": (round(100 * one_word, 1), 35),
        "forbidden names": (sum(len(find_forbidden(path.read_text())) for path in paths), 0),
        "broken import rules": (len(find_violations(read_sources())), 0),
    }
