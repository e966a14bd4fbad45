"""Style as code: what a reviewer need not remember."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ("domain", "adapters", "engines", "projections")
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
# Spelled apart, or this file would find itself.
BANNED = ["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]
MACHINES = ["/wo" + "rk/", "/ro" + "ot/", "/Us" + "ers/", "/mn" + "t/"]
BANNER = re.compile(r"^\s*#\s*([=\-#*~_])\1{4,}")
BARE_EXCUSE = re.compile(r"#\s*noqa(?!: [A-Z0-9, ]+\(.+\))|#\s*type: ignore(?!\[[^]]+\]\s+# .{5,})")
# Rules of specs/billing.md that later work brings into force, and why nothing can test them yet.
LATER: dict[str, str] = {}


def files(*folders: str, ending: str) -> list[Path]:
    return sorted(p for folder in folders for p in (ROOT / folder).rglob(f"*{ending}"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


MODULES = files(*CODE, "tests", ending=".py")
TEXTS = [
    *MODULES,
    *files("specs", ending=".md"),
    *files("tests", ending=".md"),
    ROOT / "README.md",
    ROOT / "Makefile",
    ROOT / "pyproject.toml",
]
SOURCES = {path: path.read_text("utf-8") for path in TEXTS}
TREES = {path: ast.parse(SOURCES[path]) for path in MODULES}


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_a_module_fits_in_a_head() -> None:
    lines = {name_of(path): len(SOURCES[path].splitlines()) for path in MODULES}

    assert {name: n for name, n in lines.items() if n > MODULE_LINES_MAX} == {}


def test_a_function_fits_on_a_screen() -> None:
    lines = {
        f"{name_of(path)}: {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path, tree in TREES.items()
        for node in functions(tree)
    }

    assert {name: n for name, n in lines.items() if n > FUNCTION_LINES_MAX} == {}


def test_what_is_left_to_do_is_an_issue_and_not_a_comment() -> None:
    assert found_in(SOURCES, re.compile(rf"\b({'|'.join(BANNED)})\b")) == []


def test_no_text_names_a_machine() -> None:
    assert found_in(SOURCES, re.compile("|".join(MACHINES))) == []


def test_there_are_no_banners() -> None:
    assert found_in(TREES, BANNER) == []


def test_every_exception_from_a_rule_says_why() -> None:
    assert found_in(TREES, BARE_EXCUSE) == []


def found_in(paths: Iterable[Path], pattern: re.Pattern[str]) -> list[str]:
    """`file:line` of every line with the pattern."""
    return [
        f"{name_of(path)}:{number}"
        for path in paths
        for number, line in enumerate(SOURCES[path].splitlines(), start=1)
        if pattern.search(line)
    ]


def test_every_module_of_the_program_begins_with_what_it_is() -> None:
    code = [path for path in MODULES if path.relative_to(ROOT).parts[0] in CODE]

    assert [name_of(path) for path in code if not ast.get_docstring(TREES[path])] == []


def test_no_test_uses_a_mock() -> None:
    mocks = {"mock", "Mock", "MagicMock", "AsyncMock", "patch"}
    users = [
        name_of(path)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom | ast.Import)
        and mocks & {alias.name.rpartition(".")[2] for alias in node.names}
    ]

    assert users == []


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_readme_names_the_two_commands(command: str) -> None:
    assert command in (ROOT / "README.md").read_text("utf-8")


def rules() -> list[str]:
    """The rules of specs/billing.md, in order."""
    text = (ROOT / "specs" / "billing.md").read_text("utf-8")
    return re.findall(r"^- \*\*(B\d+)\*\*", text, re.MULTILINE)


@cache
def cited() -> frozenset[str]:
    """The rules that the docstrings of tests name."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    docstrings = [
        ast.get_docstring(node) or ""
        for path, tree in TREES.items()
        if path.relative_to(ROOT).parts[0] == "tests"
        for node in ast.walk(tree)
        if isinstance(node, kinds)
    ]
    return frozenset(rule for text in docstrings for rule in re.findall(r"\bB\d+\b", text))


def test_the_rules_are_numbered_without_holes() -> None:
    assert rules() == [f"B{number}" for number in range(1, len(rules()) + 1)]
    assert len(rules()) >= 14


@pytest.mark.parametrize("rule", rules())
def test_every_rule_in_force_is_cited_by_a_test(rule: str) -> None:
    if rule in LATER:
        assert rule not in cited(), f"{rule} is tested now: take it out of LATER"
    else:
        assert rule in cited()


def test_only_rules_that_exist_are_cited() -> None:
    assert cited() - set(rules()) == set()
