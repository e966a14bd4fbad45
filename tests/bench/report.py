"""What a benchmark says: a table for people, JSON for machines."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parents[2] / "build" / "bench"


@dataclass(frozen=True)
class Row:
    """One figure of ours beside a peer's. `ratio` is how many times better ours is."""

    name: str
    ours: str
    peer: str
    peer_name: str
    ratio: float | None


def percentile_ms(values: Sequence[float], percent: int) -> str:
    ranked = sorted(values)
    return f"{ranked[min(len(ranked) - 1, len(ranked) * percent // 100)]:.2f} ms"


def publish(name: str, rows: Sequence[Row]) -> None:
    """Print the table and write `build/bench/<name>.json`."""
    table = Table("", "Payphone", "peer", "", "ratio", title=name)
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
        table.add_row(row.name, row.ours, row.peer, row.peer_name, ratio)
    Console(width=160).print(table)
    FOLDER.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()
    report = {"rows": [asdict(row) for row in rows], "load": load, "cores": os.cpu_count()}
    (FOLDER / f"{name}.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
