"""`make simulate`: live through a range of seeds on every core, and name the first that fails."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice

from rich.progress import Progress

from tests.simulation.bugs import BUGS
from tests.simulation.world import World

TRACE_LINES = 60


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one seed came to; `failure` is empty where everything held."""

    seed: int
    seen: Counter[str]
    events: int
    answers: int
    failure: str
    trace: tuple[str, ...]


@contextmanager
def quiet() -> Iterator[None]:
    """Faults are logged where they are met; here they are made on purpose, by the thousand."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def live(seed: int, bug: str = "") -> Outcome:
    """One seed, from an empty store to the last audit."""
    failure = ""
    with quiet(), BUGS[bug]() if bug else nullcontext():
        world = World(seed)
        try:
            world.run()
        except Exception as broken:  # noqa: BLE001 (whatever a life dies of is what it is for)
            failure = f"{type(broken).__name__}: {broken}"
    return Outcome(
        seed=seed,
        seen=world.seen,
        events=world.onlooker.position,
        answers=world.onlooker.acknowledged,
        failure=failure,
        trace=tuple(world.trace[-TRACE_LINES:]) if failure else (),
    )


def outcomes(first: int, runs: int, bug: str, cores: int) -> Iterator[Outcome]:
    """All of them as they come, no more than a few ahead of whoever asks."""
    if cores == 1 or runs == 1:
        yield from (live(seed, bug) for seed in range(first, first + runs))
        return
    seeds = iter(range(first, first + runs))
    with ProcessPoolExecutor(cores) as pool:
        running: set[Future[Outcome]] = {
            pool.submit(live, seed, bug) for seed in islice(seeds, 4 * cores)
        }
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(live, seed, bug) for seed in islice(seeds, len(done))}
            # The smallest first, so that a range names the same seed each time it can.
            yield from sorted((future.result() for future in done), key=lambda o: o.seed)


def report(failed: Outcome, bug: str) -> None:
    option = f" BUG={bug!r}" if bug else ""
    print("\n".join(failed.trace))
    print(failed.failure)
    print(f"seed {failed.seed} failed; again: make simulate SEED={failed.seed} RUNS=1{option}")


def main() -> int:
    """Run a range of seeds; the first that fails is named and can be run alone."""
    parser = argparse.ArgumentParser(description="seeded lives of a gateway")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--bug", choices=["", *BUGS], default="", help="break the program first")
    options = parser.parse_args()
    seen: Counter[str] = Counter()
    began, events, answers = time.monotonic(), 0, 0
    with Progress() as progress:
        task = progress.add_task("seeds", total=options.runs)
        for outcome in outcomes(options.seed, options.runs, options.bug, options.cores):
            if outcome.failure:
                progress.stop()
                report(outcome, options.bug)
                return 1
            seen += outcome.seen
            events, answers = events + outcome.events, answers + outcome.answers
            progress.advance(task)
    for name, count in sorted(seen.items()):
        print(f"{count:>8} {name}")
    took_s = time.monotonic() - began
    print(f"{options.runs} seeds, {events} events, {answers} answers in {took_s:.1f} s: all held")
    return 0


if __name__ == "__main__":
    sys.exit(main())
