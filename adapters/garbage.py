"""When Python looks for garbage: the one place that says so."""

from __future__ import annotations

import gc

# New objects before the young are looked at, and rounds of that before older ones are.
_THRESHOLDS = (10_000, 20, 20)


def tend_garbage() -> None:
    """Call once, when the program has made what it keeps for good.

    By default the collector walks through every object there is whenever their number has grown by
    a quarter, and all threads wait: 0.1 s for the imported modules alone, which is the slowest
    percent of all commands. Here it leaves alone what is there now, and looks less often at the
    rest, most of which is freed without it: only cycles need a collector.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
