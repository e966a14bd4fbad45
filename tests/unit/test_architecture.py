"""The tree is the architecture: what may import what, read from the sources."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOMAIN = sorted((ROOT / "domain").rglob("*.py"))
ALLOWED = sys.stdlib_module_names | {"eventsourcing", "domain"}
# What the test suites of others import: it alone may need Hypothesis, and the program never it.
FOR_TESTS = ROOT / "domain" / "testing"
PROGRAM = [
    path
    for folder in ("domain", "adapters", "engines", "projections")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if FOR_TESTS not in path.parents
]
# What decides about money and time takes both as arguments.
AGGREGATES = [
    ROOT / "domain" / f"{name}.py"
    for name in ("account", "bundle", "payment", "price_list", "session")
]
IMPURE = {"asyncio", "os", "random", "secrets", "socket", "subprocess", "threading", "time"}
CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "monotonic", "uuid1", "uuid4"}


def imports(path: Path) -> Iterator[str]:
    """The top-level packages a module names."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            yield (node.module or "").partition(".")[0]


def called(path: Path) -> Iterator[str]:
    """The names of the functions and methods a module calls."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute):
                yield node.func.attr
            elif isinstance(node.func, ast.Name):
                yield node.func.id


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_a_domain() -> None:
    assert len(DOMAIN) > 20


@pytest.mark.parametrize("path", DOMAIN, ids=name_of)
def test_the_domain_knows_the_standard_library_the_event_library_and_itself(path: Path) -> None:
    allowed = ALLOWED | ({"hypothesis"} if FOR_TESTS in path.parents else set())

    assert sorted(set(imports(path)) - allowed) == []


def test_the_program_needs_nothing_that_is_for_tests() -> None:
    users = [
        name_of(path)
        for path in PROGRAM
        if "hypothesis" in imports(path) or "domain.testing" in path.read_text("utf-8")
    ]

    assert users == []


@pytest.mark.parametrize("path", DOMAIN, ids=name_of)
def test_the_domain_asks_what_time_it_is(path: Path) -> None:
    assert sorted(set(called(path)) & CLOCKS) == []


@pytest.mark.parametrize("path", AGGREGATES, ids=name_of)
def test_an_aggregate_does_nothing_but_decide(path: Path) -> None:
    assert sorted(set(imports(path)) & IMPURE) == []


@pytest.mark.parametrize("path", AGGREGATES, ids=name_of)
def test_an_applier_never_raises(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef) and any(is_event(d) for d in node.decorator_list):
            inside = {type(part) for part in ast.walk(node)}
            assert not inside & {ast.Raise, ast.Assert}, f"{path.name}: {node.name}"


def is_event(decorator: ast.expr) -> bool:
    """Whether this is `@event(...)`."""
    return (
        isinstance(decorator, ast.Call)
        and isinstance(decorator.func, ast.Name)
        and decorator.func.id == "event"
    )


def test_the_import_contracts_hold() -> None:
    linter = Path(sys.executable).parent / "lint-imports"

    done = subprocess.run(
        [str(linter), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
