"""What a benchmark says: a table for people, JSON for machines, and who else used the machine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parents[2] / "build" / "bench"
_LOOK_S = 0.5


@dataclass(frozen=True)
class Row:
    """One figure of ours beside a peer's. `ratio` is how many times better ours is."""

    name: str
    ours: str
    peer: str
    peer_name: str
    ratio: float | None
    goal: str = ""


@dataclass(frozen=True)
class Neighbours:
    """What the machine did while we did nothing: cores busy with others, the load average."""

    busy_cores: float
    load: float

    @property
    def text(self) -> str:
        return f"{self.busy_cores:.1f} of {os.cpu_count()} cores busy, load {self.load:.1f}"


def neighbours() -> Neighbours:
    """Look for half a second, idle."""
    busy = _busy_s()
    began = time.perf_counter()
    time.sleep(_LOOK_S)
    cores = (_busy_s() - busy) / (time.perf_counter() - began)
    return Neighbours(busy_cores=round(cores, 2), load=os.getloadavg()[0])


def _busy_s() -> float:
    """Seconds of CPU of the whole machine, but for what was idle or waited for a disk."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
    )
    ticks = user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK")


def percentile_ms(values: Sequence[float], percent: int) -> str:
    ranked = sorted(values)
    return f"{ranked[min(len(ranked) - 1, len(ranked) * percent // 100)]:.2f} ms"


def publish(name: str, rows: Sequence[Row], *, before: Neighbours | None = None) -> None:
    """Print the table and write `build/bench/<name>.json`; `before` is from before the first."""
    after = neighbours()
    before = before or after
    table = Table(
        *("", "Payphone", "goal", "peer", "", "ratio"),
        title=name,
        caption=f"neighbours before: {before.text}; after: {after.text}",
    )
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
        table.add_row(row.name, row.ours, row.goal, row.peer, row.peer_name, ratio)
    Console(width=180).print(table)
    FOLDER.mkdir(parents=True, exist_ok=True)
    report = {
        "rows": [asdict(row) for row in rows],
        "cores": os.cpu_count(),
        "neighbours_before": asdict(before),
        "neighbours_after": asdict(after),
    }
    (FOLDER / f"{name}.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
