"""What browsers need to call us from any page: there are no cookies here to protect."""

from __future__ import annotations

import random
import re

from aiohttp import hdrs, web

from adapters.http.errors import Handler

REQUEST_ID = web.RequestKey("request_id", str)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PREFLIGHT_SECONDS = "86400"
# Payment clients send `Access-Control-Expose-Headers` as a request header of their own.
_ALLOWED = (
    "Authorization, Content-Type, Idempotency-Key, X-Wallet-Address, X-Wallet-Chain, X-Timestamp, "
    "X-Request-Id, PAYMENT-SIGNATURE, X-PAYMENT, Access-Control-Expose-Headers"
)
_EXPOSED = (
    "PAYMENT-REQUIRED, PAYMENT-RESPONSE, X-PAYMENT-RESPONSE, Retry-After, X-Request-Id, "
    "X-Log-Size, Content-Disposition, WWW-Authenticate, Payment-Receipt, Cache-Control"
)


@web.middleware
async def preflights(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a browser's OPTIONS for any route there is with what may be sent to it."""
    refusal = request.match_info.http_exception
    if request.method != hdrs.METH_OPTIONS or not isinstance(refusal, web.HTTPMethodNotAllowed):
        return await handler(request)
    return web.Response(
        status=204,
        headers={
            "Access-Control-Allow-Methods": ", ".join(sorted(refusal.allowed_methods)),
            "Access-Control-Allow-Headers": _ALLOWED,
            "Access-Control-Max-Age": _PREFLIGHT_SECONDS,
        },
    )


async def add_common_headers(request: web.Request, response: web.StreamResponse) -> None:
    """On every answer: whom it is for, what scripts may read of it, and what to quote in a report.

    Nothing is cached: balances move, and a challenge is for one buyer.
    """
    mark(request, response)


def mark(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """The same for an answer that no application prepares."""
    response.headers.setdefault("Access-Control-Allow-Origin", "*")
    response.headers.setdefault("Access-Control-Expose-Headers", _EXPOSED)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("X-Request-Id", request_id(request))
    response.headers["Server"] = "Payphone"
    response.headers.setdefault("X-Content-Type-Options", "nosniff")


def request_id(request: web.BaseRequest) -> str:
    """The client's own `X-Request-Id` where it is a plain word, else one of ours."""
    known = request.get(REQUEST_ID)
    if known is None:
        sent = request.headers.get("X-Request-Id", "")
        known = sent if _REQUEST_ID.fullmatch(sent) else _new_id()
        request[REQUEST_ID] = known
    return known


def _new_id() -> str:
    """For finding a request again, not for keeping a secret: no system call for each."""
    return f"{random.getrandbits(64):016x}"
