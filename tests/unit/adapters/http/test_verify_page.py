from __future__ import annotations

import base64
import hashlib
import re

from adapters.http.verify_page import compose
from tests.fakes.street import Street


async def test_the_page_may_run_what_it_brings_and_load_nothing(street: Street) -> None:
    answer = await street.call("GET", "/verify")

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    for kind, tag in (("script", '<script type="module">'), ("style", "<style>")):
        _, _, rest = answer.text.partition(tag)
        inside = rest.partition(f"</{kind}>")[0]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_the_page_is_one_file() -> None:
    page = compose()

    assert "import " not in page.partition("<script")[2]
    assert "export " not in page
    assert page.count("<script") == 1
    assert "async function verifyBill(" in page
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert "http://" not in page
    assert "https://" not in page
