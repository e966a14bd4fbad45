"""How a refusal becomes an HTTP answer: one table, one body, never a page."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from domain.errors import (
    BusyError,
    ConcurrencyLimitError,
    ConflictingRequestError,
    GatewayError,
    InsufficientCreditsError,
    KeyCapError,
    KeyScopeError,
    LedgerDownError,
    MalformedError,
    NoCapacityError,
    NotFoundError,
    PaymentRefusedError,
    PaymentRequiredError,
    PaymentUncertainError,
    RailDownError,
    RateLimitError,
    RefundRefusedError,
    RefundsExhaustedError,
    SessionOpenError,
    SessionOverError,
    TooManyKeysError,
    UnauthenticatedError,
)
from domain.money import Microcredits

log = logging.getLogger(__name__)

# A server that stops is replaced or back within a few seconds.
SHUT_MS = 5_000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

STATUS: dict[type[GatewayError], int] = {
    BusyError: 503,
    ConcurrencyLimitError: 429,
    ConflictingRequestError: 409,
    InsufficientCreditsError: 402,
    KeyCapError: 403,
    KeyScopeError: 403,
    LedgerDownError: 503,
    MalformedError: 400,
    NoCapacityError: 503,
    NotFoundError: 404,
    PaymentRefusedError: 402,
    PaymentRequiredError: 402,
    PaymentUncertainError: 503,
    RailDownError: 503,
    RateLimitError: 429,
    RefundRefusedError: 409,
    RefundsExhaustedError: 503,
    SessionOpenError: 409,
    SessionOverError: 410,
    TooManyKeysError: 409,
    UnauthenticatedError: 401,
}

_CODES = {
    400: "bad_request",
    404: "no_such_route",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "too_large",
    414: "too_large",
    415: "unsupported_type",
    431: "too_large",
}


def refusal_body(refusal: GatewayError) -> dict[str, object]:
    """`error` and `code`, then every field of the refusal as a fact; money as decimal text."""
    facts = {name: _fact(value) for name, value in vars(refusal).items() if name[0] != "_"}
    return {**facts, "error": str(refusal), "code": refusal.code}


def refused(refusal: GatewayError) -> web.Response:
    """The answer to a refusal by the table; `Retry-After` where waiting helps."""
    headers = {}
    retry_after_ms = getattr(refusal, "retry_after_ms", None)
    if retry_after_ms is not None:
        headers["Retry-After"] = whole_seconds(retry_after_ms)
    return web.json_response(refusal_body(refusal), status=STATUS[type(refusal)], headers=headers)


def plain_error(status: int, text: str, *, code: str = "") -> web.Response:
    """An answer for what never reached a use case: no such route, too large, a failure."""
    known = _CODES.get(status, "error" if status < 500 else "internal")  # noqa: PLR2004 (the server's own statuses start there)
    return web.json_response({"error": text, "code": code or known}, status=status)


def shutting_down() -> web.Response:
    """The answer of a server that stops; another one or the same will be there soon."""
    answer = plain_error(503, "The server is stopping; ask again", code="shutting_down")
    answer.headers["Retry-After"] = whole_seconds(SHUT_MS)
    return answer


def whole_seconds(duration_ms: int) -> str:
    """Rounded up, at least one: a client that waits this long never comes too early."""
    return str(max(1, -(-duration_ms // 1000)))


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer refusals by the table, routing errors as JSON, failures without detail."""
    try:
        return await handler(request)
    except GatewayError as refusal:
        return refused(refusal)
    except web.HTTPException as page:
        return _without_page(request, page)
    except ConnectionError:
        # The client went away; there is nobody to answer and nothing went wrong here.
        raise
    except Exception:
        log.exception("request failed", extra={"method": request.method, "route": _route(request)})
        if request.writer.output_size > 0:
            # Half an answer cannot become an error any more: cut the line so the client notices.
            raise ConnectionResetError from None
        return plain_error(500, "Internal error; it was logged, retry later")


def _without_page(request: web.Request, page: web.HTTPException) -> web.Response:
    status = page.status
    text = {
        404: f"No such route: {request.method} {request.path[:200]}",
        405: f"{request.method} is not allowed here",
        413: "The body is too large",
    }.get(status, HTTPStatus(status).phrase)
    answer = plain_error(status, text)
    if "Allow" in page.headers:
        answer.headers["Allow"] = page.headers["Allow"]
    return answer


def _route(request: web.Request) -> str:
    """The route's pattern, without the ids in it."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "none"


def _fact(value: object) -> object:
    return str(value.value) if isinstance(value, Microcredits) else value
