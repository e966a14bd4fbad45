from __future__ import annotations

import pytest

from tests.fakes.street import Street


@pytest.mark.parametrize(
    ("path", "method"), [("/v1/credits/purchase", "POST"), ("/v1/account", "GET")]
)
async def test_a_browser_may_send_what_a_paying_client_sends(
    street: Street, path: str, method: str
) -> None:
    answer = await street.call(
        "OPTIONS",
        path,
        headers={"Origin": "https://shop.test", "Access-Control-Request-Method": method},
    )

    assert answer.status == 204
    assert method in answer.headers["Access-Control-Allow-Methods"].split(", ")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    allowed = {h.strip().lower() for h in answer.headers["Access-Control-Allow-Headers"].split(",")}
    assert allowed >= {
        "authorization",
        "content-type",
        "x-wallet-address",
        "x-wallet-chain",
        "x-timestamp",
        "idempotency-key",
        "payment-signature",
        "x-payment",
        "access-control-expose-headers",
    }


async def test_a_route_that_is_not_there_has_no_preflight(street: Street) -> None:
    assert (await street.call("OPTIONS", "/v1/nothing")).status == 404


@pytest.mark.parametrize("path", ["/v1/pricing", "/v1/nothing", "/v1/account"])
async def test_every_answer_can_be_read_by_a_page(street: Street, path: str) -> None:
    answer = await street.call("GET", path)

    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    exposed = {h.strip() for h in answer.headers["Access-Control-Expose-Headers"].split(",")}
    assert exposed >= {
        *("PAYMENT-REQUIRED", "PAYMENT-RESPONSE", "X-PAYMENT-RESPONSE"),
        *("Retry-After", "X-Request-Id", "X-Log-Size", "Content-Disposition"),
    }
    assert answer.headers["Cache-Control"] == "no-store"


async def test_answers_do_not_say_what_they_are_made_with(street: Street) -> None:
    assert (await street.call("GET", "/v1/pricing")).headers["Server"] == "Payphone"


async def test_a_plain_request_id_is_given_back(street: Street) -> None:
    answer = await street.call("GET", "/v1/pricing", headers={"X-Request-Id": "call-1.a_B"})

    assert answer.headers["X-Request-Id"] == "call-1.a_B"


@pytest.mark.parametrize("sent", [None, "", "two words", "x" * 65, "a;b", "é"])
async def test_any_other_request_id_is_replaced(street: Street, sent: str | None) -> None:
    headers = {} if sent is None else {"X-Request-Id": sent}

    first = await street.call("GET", "/v1/pricing", headers=headers)
    second = await street.call("GET", "/v1/pricing", headers=headers)

    assert len(first.headers["X-Request-Id"]) == 16
    assert first.headers["X-Request-Id"] != second.headers["X-Request-Id"]
