from __future__ import annotations

from pathlib import Path

from adapters.http.errors import STATUS
from tests.fakes.street import Street

SPEC = (Path(__file__).parents[4] / "specs" / "http.md").read_text(encoding="utf-8")


async def test_every_route_stands_in_the_specification(street: Street) -> None:
    routes = {resource.canonical for resource in street.resources}

    assert {route for route in routes if route not in SPEC} == set()


def test_every_code_stands_in_the_specification_under_its_status() -> None:
    rows = {line.split("|")[1].strip(): line for line in SPEC.splitlines() if line.startswith("| ")}

    missing = [kind.code for kind, s in STATUS.items() if f"`{kind.code}`" not in rows[str(s)]]
    assert missing == []
