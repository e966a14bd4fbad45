"""What a bill's verifier knows of event versions is what the events are."""

from __future__ import annotations

from domain.bill import BILL_TOPICS, VERSIONS
from tests.contract.golden import read_catalogue


def test_a_verifier_knows_the_newest_version_of_every_event_of_a_bill() -> None:
    newest = {topic: read_catalogue()[topic]["class_version"] for topic in BILL_TOPICS}

    assert {topic: VERSIONS.get(topic, 1) for topic in BILL_TOPICS} == newest
