"""Before anybody is known: requests nobody signed for are counted by where they come from."""

from __future__ import annotations

from aiohttp import web

from adapters.http.errors import Handler
from adapters.http.limits import RateLimit
from adapters.http.origin import Origins, household
from domain.errors import UnauthenticatedError
from domain.ports.clock import Clock

RATE_MAX = 100
# A signature that does not hold costs us a computation, and an honest client has none.
FAILURE_COST = 5
# Whoever comes here shows a signature or a key; all other routes are open to anybody.
GUARDED = (
    "/internal/",
    "/v1/account",
    "/v1/agent-session",
    "/v1/keys",
    "/v1/sessions/",
    "/v1/stt/",
    "/v1/tts/",
    "/v1/webhooks/",
    "/v1/webrtc/",
)
# Asked by anybody, and each answer costs a look into the ledger.
_HEALTH = "/internal/health"
_ORIGIN = web.RequestKey("origin", str)
_REGION = web.RequestKey("region", str)


class Gate:
    """One bucket an address (/64 for IPv6): open routes take from it, and failed signatures.

    An address that used its bucket up is answered 429 everywhere, before any signature is checked
    and before any command reaches the ledger.
    """

    def __init__(
        self, clock: Clock, *, origins: Origins | None = None, rate_max: int = RATE_MAX
    ) -> None:
        self._origins = origins or Origins()
        self._limit = RateLimit(clock, rate_max=rate_max)

    @web.middleware
    async def pass_in(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request[_ORIGIN] = self._origins.of(request)
        request[_REGION] = self._origins.region_of(request)
        caller = household(origin)
        if request.path.startswith(GUARDED) and request.path != _HEALTH:
            self._limit.check(caller)
        else:
            self._limit.take(caller)
        try:
            return await handler(request)
        except UnauthenticatedError:
            self._limit.charge(caller, FAILURE_COST)
            raise


def caller_ip(request: web.Request) -> str:
    """Where the request came from, as the gate found it."""
    origin: str = request.get(_ORIGIN, "")
    return origin


def caller_region(request: web.Request) -> str:
    """The region the request came from, "" where nobody knows."""
    region: str = request.get(_REGION, "")
    return region
