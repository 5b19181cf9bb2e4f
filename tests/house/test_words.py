"""Locals and parameters are nouns: no function of the product calls one `found`, `told` or `one`."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(
    path.parent.relative_to(ROOT).as_posix()
    for top in ("shared", "scorer")
    for path in (ROOT / top).rglob("__init__.py")
)
# fmt: off
FORBIDDEN = frozenset({
    "asked", "done", "found", "given", "gone", "here", "how", "its", "kept", "known", "left", "mine", "named", "of",
    "one", "ones", "others", "ours", "said", "seen", "such", "taken", "theirs", "there", "those", "told", "wanted",
    "what", "where", "which", "who", "whole", "why",
})
# fmt: on


def list_locals(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every parameter and every name that a function, a comprehension or a module binds, with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.arg(arg=name) | ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield name, node.lineno
            case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                yield name, node.lineno
            case ast.Name(id=name, ctx=ast.Store()):
                yield name, node.lineno
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name, node.lineno
            case _:
                pass


def list_fields(tree: ast.AST) -> set[tuple[str, int]]:
    """The names that the bodies of classes bind: fields, which may be stored or answered under them."""
    bodies = (statement for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for statement in node.body)
    targets = (statement.target for statement in bodies if isinstance(statement, ast.AnnAssign))
    return {(target.id, target.lineno) for target in targets if isinstance(target, ast.Name)}


def find_forbidden(text: str) -> list[str]:
    """The forbidden names that a source binds: `12: found`."""
    tree = ast.parse(text)
    bound = set(list_locals(tree)) - list_fields(tree)
    return [f"{line}: {name}" for name, line in sorted(bound, key=lambda pair: pair[1]) if name.strip("_") in FORBIDDEN]


@pytest.mark.parametrize("package", PACKAGES)
def test_no_local_has_a_forbidden_name(package: str) -> None:
    sources = sorted((ROOT / package).glob("*.py"))
    broken = {path.name: find_forbidden(path.read_text()) for path in sources}
    assert {name: lines for name, lines in broken.items() if lines} == {}


@pytest.mark.parametrize(
    "text",
    [
        "found = 1",
        "def f(found): ...",
        "f = lambda found: 1",
        "x = [1 for found in y]",
        "for a, (found, *b) in c: ...",
        "with a as found: ...",
        "try: ...\nexcept A as found: ...",
        "match a:\n    case [found, *_]: ...",
        "match a:\n    case {**found}: ...",
        "match a:\n    case [*found]: ...",
        "(found := 1)",
        "def found(): ...",
        "class A:\n    def f(self, *, found=1): ...",
        "_found = 1",
    ],
)
def test_a_forbidden_name_is_seen_wherever_it_is_bound(text: str) -> None:
    assert [line.partition(": ")[2].strip("_") for line in find_forbidden(text)] == ["found"]


def test_fields_and_what_is_only_read_may_have_any_name() -> None:
    assert find_forbidden("class A:\n    done: int = 0\n\n\nprint(a.done, found)\nb(done=1)") == []
