"""`make bench`: every table, one after the other, so that none disturbs another."""

from __future__ import annotations

from tests.bench import lag, ledger, speech
from tests.bench.report import publish

publish("ledger", ledger.rows())
speech.main()
publish("lag", lag.rows())
