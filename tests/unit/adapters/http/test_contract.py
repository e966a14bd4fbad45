from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from adapters.http.contract import load
from adapters.http.contract_page import page
from adapters.http.contract_text import operations
from tests.fakes.street import Street


@pytest.mark.parametrize("name", ["openapi", "asyncapi"])
async def test_the_documents_are_served_as_json(street: Street, name: str) -> None:
    answer = await street.call("GET", f"/{name}.json")

    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json == load(name)


async def test_the_page_may_show_its_own_style_and_run_nothing(street: Street) -> None:
    answer = await street.call("GET", "/docs")

    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    style = answer.text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert answer.headers["Content-Security-Policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
    assert "<script" not in answer.text
    assert " style=" not in answer.text


async def test_the_page_loads_nothing(street: Street) -> None:
    text = (await street.call("GET", "/docs")).text

    assert re.findall(r'src=|url\(|@import|href="(?!data:|#|/)', text) == []


class Links(HTMLParser):
    """What a page links to within itself, what it names, and whether its tags are balanced."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.wanted: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name == "href" and (value or "").startswith("#"):
                self.wanted.add((value or "")[1:])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_every_link_of_the_page_leads_somewhere() -> None:
    links = Links()
    links.feed(page(load("openapi"), load("asyncapi")))

    assert links.open == []
    assert links.wanted - set(links.ids) == set()
    assert len(links.ids) == len(set(links.ids))


def test_the_page_shows_every_operation_with_all_its_answers() -> None:
    text = page(load("openapi"), load("asyncapi"))

    for method, path, operation in operations(load("openapi")):
        section = text.partition(f'<section id="{operation["operationId"]}">')[2]
        section = section.partition("</section>")[0]
        assert f"<code>{method} {path}</code>" in section
        for status in operation["responses"]:
            assert f"<code>{status}</code>" in section


def test_the_page_tells_every_message_of_the_websocket_with_its_fields() -> None:
    text = page(load("openapi"), load("asyncapi"))

    for name, message in load("asyncapi")["components"]["messages"].items():
        section = text.partition(f'<section id="message-{name}">')[2].partition("</section>")[0]
        for field in message["payload"].get("properties", {}):
            assert f"<code>{field}</code>" in section


def test_the_page_tells_every_shared_answer_once_with_the_headers_that_are_its_own() -> None:
    text = page(load("openapi"), load("asyncapi"))

    for name in load("openapi")["components"]["responses"]:
        assert text.count(f'<section id="answer-{name}">') == 1
    limited = text.partition('<section id="answer-RateLimited">')[2].partition("</section>")[0]
    assert "<code>Retry-After</code>" in limited
    assert "X-Request-Id" not in limited


def test_an_indented_paragraph_is_shown_as_it_is() -> None:
    document = {
        **load("openapi"),
        "info": {**load("openapi")["info"], "description": "Before\n\n    a  <b>\n    c\n"},
    }

    text = page(document, load("asyncapi"))

    assert "<p>Before</p>\n<pre><code>a  &lt;b&gt;\nc</code></pre>" in text


def test_an_object_within_a_table_shows_its_fields() -> None:
    text = page(load("openapi"), load("asyncapi"))

    opened = text.partition('<section id="AgentOpened">')[2].partition("</section>")[0]
    assert '<code>agent</code>: <a href="#RoomTicket">RoomTicket</a>' in opened


def test_no_text_of_the_document_becomes_markup() -> None:
    document = json.loads(json.dumps(load("openapi")).replace("Balance and limits", "<b>`&`</b>"))

    text = page(document, load("asyncapi"))

    assert "<b>" not in text
    assert "&lt;b&gt;<code>&amp;</code>&lt;/b&gt;" in text


async def test_the_short_text_names_every_route_and_what_it_asks(street: Street) -> None:
    answer = await street.call("GET", "/llms.txt")

    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.text.startswith("# Payphone\n\n> ")
    for method, path, _ in operations(load("openapi")):
        assert f"- `{method} {path}`" in answer.text
    assert (
        "- `POST /v1/tts/session` (signed): Open a text-to-speech session. "
        "Asks `max_characters`, `language`?\n"
    ) in answer.text
    assert len(answer.text) < 16_000
