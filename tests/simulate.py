"""`make simulate`: live through a range of seeds, and name the first that fails."""

from __future__ import annotations

import argparse
from collections import Counter

from tests.property.simulation import simulate


def main() -> None:
    """Run a range of seeds; the first that fails is named and can be run alone."""
    parser = argparse.ArgumentParser(description="seeded lives of a gateway")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=50)
    options = parser.parse_args()
    seen: Counter[str] = Counter()
    for seed in range(options.seed, options.seed + options.runs):
        try:
            seen += simulate(seed)
        except BaseException:
            print(f"seed {seed} failed; again: make simulate SEED={seed} RUNS=1")
            raise
    for name, count in sorted(seen.items()):
        print(f"{count:>8} {name}")
    print(f"{options.runs} runs passed, 0 failed")


if __name__ == "__main__":
    main()
