"""API keys: a wallet issues them for programs that cannot sign, sees them and revokes them."""

from __future__ import annotations

from aiohttp import web

from adapters.http.accounts import path_id
from adapters.http.bearer import new_secret, token_of
from adapters.http.bodies import idempotency_key, read_body
from adapters.http.identity import Doorman
from adapters.http.shapes import amount, iso, iso_or_none
from domain.api_key import NEVER_MS, UNCAPPED, ApiKey, KeyScope
from domain.gateway import Gateway
from domain.money import Microcredits
from domain.pricing import UNITS
from domain.use_cases.api_keys import (
    LabelledKey,
    holds_secret,
    issue_key,
    list_keys,
    revoke_key,
)


class Keys:
    """A key cannot make keys, nor see or revoke any: all of this is signed by the wallet."""

    def __init__(self, gateway: Gateway, doorman: Doorman) -> None:
        self._gateway = gateway
        self._doorman = doorman

    def add_to(self, app: web.Application) -> None:
        app.router.add_post("/v1/keys", self.issue)
        app.router.add_get("/v1/keys", self.list)
        app.router.add_post("/v1/keys/{id}/revoke", self.revoke)

    async def issue(self, request: web.Request) -> web.Response:
        """A new key with its secret, which is shown this once."""
        caller = self._doorman.admit_wallet(request)
        body = await read_body(request)
        secret = new_secret()
        issued = await issue_key(
            self._gateway,
            caller.account_id,
            KeyScope(
                services=body.choices("services", tuple(UNITS)),
                day_max=body.microcredits("daily_limit_microcredits", default=UNCAPPED),
                total_max=body.microcredits("total_limit_microcredits", default=UNCAPPED),
                expires_at_ms=body.time_ms("expires_at", default=NEVER_MS),
            ),
            label=body.name("label", default=""),
            secret=secret,
            request_key=idempotency_key(request, "api_key"),
        )
        # A repeat finds the key of the first time, whose secret nobody here knows.
        is_new = holds_secret(issued.key, secret)
        token = token_of(issued.key.id, secret) if is_new else None
        return web.json_response({"key": token, **self._shown(issued)})

    async def list(self, request: web.Request) -> web.Response:
        caller = self._doorman.admit_wallet(request)
        keys = await list_keys(self._gateway, caller.account_id)
        return web.json_response({"keys": [self._shown(key) for key in keys]})

    async def revoke(self, request: web.Request) -> web.Response:
        caller = self._doorman.admit_wallet(request)
        key_id = path_id(request, "API key")
        return web.json_response(
            self._shown(await revoke_key(self._gateway, caller.account_id, key_id))
        )

    def _shown(self, labelled: LabelledKey) -> dict[str, object]:
        key, now_ms = labelled.key, self._gateway.clock.now_ms()
        return {
            "id": str(key.id),
            "label": labelled.label or None,
            "status": _status(key, now_ms),
            "services": list(key.services),
            "daily_limit_microcredits": _cap(key.day_max),
            "total_limit_microcredits": _cap(key.total_max),
            "spent_today_microcredits": amount(key.spent_on_day_of(now_ms)),
            "spent_microcredits": amount(key.spent),
            "reserved_microcredits": str(sum(r.value for r in key.reserved.values())),
            "expires_at": None if key.expires_at_ms == NEVER_MS else iso(key.expires_at_ms),
            "created_at": iso(key.issued_at_ms),
            "revoked_at": iso_or_none(key.revoked_at_ms),
        }


def _status(key: ApiKey, now_ms: int) -> str:
    if key.is_revoked:
        return "revoked"
    return "active" if key.works_at(now_ms) else "expired"


def _cap(cap: Microcredits) -> str | None:
    return None if cap == UNCAPPED else amount(cap)
