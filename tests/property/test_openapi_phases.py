"""Schemathesis by itself, all its phases, against the live gateway: seeded, and over in seconds.

It takes each boundary of the schema (coverage), what chance makes of it, right and wrong (fuzzing),
and walks along the document's links from answer to request (stateful).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import requests
import schemathesis
from requests.auth import AuthBase
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from adapters.http.contract import load
from adapters.http.contract_text import operations
from tests.fakes.live_street import LiveStreet, is_sent_as_drawn

SEED = 20_260_101
EXAMPLES = 10
WALKS = 60
# Where a schema cannot say all (dates that are none, two names that differ), the check that what is
# allowed is taken would cry wolf; test_openapi.py has it for all other routes.
WITHOUT = "positive_data_acceptance"
REJECTED = "negative_data_rejection"


@dataclass
class Found:
    """What a run did: cases by phase, answers by route, and what was wrong."""

    cases: Counter[str] = field(default_factory=Counter)
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def learn(self, event: events.ScenarioFinished) -> None:
        self.cases[event.phase.value] += len(event.recorder.interactions)
        for name, interaction in event.recorder.interactions.items():
            route = event.recorder.cases[name].value.operation.label
            status = interaction.response.status_code if interaction.response else 0
            self.answers[route, status] += 1
        for name, checks in event.recorder.checks.items():
            told = is_sent_as_drawn(event.recorder.cases[name].value.query)
            for check in checks:
                if check.failure_info is not None and (told or check.name != REJECTED):
                    failure = check.failure_info
                    self.wrong.append(f"{failure.failure.message}\n{failure.code_sample}")


class AsTimePasses(AuthBase):
    """Signs like any wallet, some seconds after the last request."""

    def __init__(self, live: LiveStreet) -> None:
        self._live = live

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        self._live.pass_time()
        return self._live.signature(request)


@pytest.fixture(scope="module")
def found() -> Iterator[Found]:
    live = LiveStreet(opened=False)
    schema = schemathesis.openapi.from_dict(load("openapi"), config=SchemathesisConfig(seed=SEED))
    schema.config.update(base_url=live.url)
    schema.config.generation.update(
        max_examples=EXAMPLES, with_security_parameters=False, database="none"
    )
    schema.config.phases.stateful.generation.update(max_examples=WALKS)
    # The links that are written down are those to walk.
    schema.config.phases.stateful.inference.algorithms = []
    schema.config.checks.get_by_name(name=WITHOUT).enabled = False
    schema.auth.set_from_requests(AsTimePasses(live))
    run = Found()
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            run.learn(event)
        elif isinstance(event, events.NonFatalError | events.FatalError):
            run.wrong.append(str(event))
    yield run
    live.close()


def test_every_answer_is_one_of_the_contracts(found: Found) -> None:
    assert found.wrong == []


def test_no_answer_is_a_failure_of_ours(found: Found) -> None:
    assert [answer for answer in found.answers if answer[1] == 0 or answer[1] >= 500] == []


def test_every_phase_had_its_say(found: Found) -> None:
    assert found.cases["coverage"] > 500
    assert found.cases["fuzzing"] > 150
    assert found.cases["stateful"] > 50


def test_links_lead_to_what_was_opened(found: Found) -> None:
    names = {link["operationId"] for link in load("openapi")["components"]["links"].values()}
    linked = {f"{m} {p}" for m, p, op in operations(load("openapi")) if op["operationId"] in names}

    reached = linked & {route for route, status in found.answers if status == 200}

    assert len(reached) >= 3, reached
