"""What a wallet has and what became of it: balance, transactions, sessions, bills."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from aiohttp import web

from adapters.http.bodies import malformed, query_count, read_uuid
from adapters.http.identity import Doorman, shown_wallet
from adapters.http.shapes import amount, iso, iso_or_none, settlement_method
from domain.errors import NotFoundError
from domain.gateway import Gateway
from domain.ledger import Work
from domain.ports.private import SessionDetails
from domain.ports.views import SessionRow, TransactionRow
from domain.use_cases.list_sessions import list_sessions
from domain.use_cases.read_bill import read_bill

ROWS_MAX = 1_000
ROWS_DEFAULT = 50
_OFFSET_MAX = 10**9
_STATUSES = ("active", "settled")
_NO_DETAILS = SessionDetails(server_url="")


class Accounts:
    """Reads only; a wallet that never paid has no account and is not found."""

    def __init__(self, gateway: Gateway, doorman: Doorman) -> None:
        self._gateway = gateway
        self._doorman = doorman

    async def show(self, request: web.Request) -> web.Response:
        caller = self._doorman.admit(request)
        account = await self._gateway.books.run(partial(Work.account, account_id=caller.account_id))
        return web.json_response(
            {
                "id": str(account.id),
                "wallet_address": shown_wallet(account.chain, account.wallet),
                "wallet_chain": account.chain,
                "credit_balance": amount(account.balance),
                "available_balance": amount(account.available),
                "max_concurrent_sessions": self._gateway.terms.units_max,
                "max_api_rate": self._gateway.terms.api_rate_max,
                "created_at": iso(account.opened_at_ms),
            }
        )

    async def transactions(self, request: web.Request) -> web.Response:
        account_id = await self._known_account(request)
        limit, offset = _page(request)
        rows = await self._gateway.views.transactions(account_id, limit=limit, offset=offset)
        return web.json_response(
            {"transactions": [_transaction(row) for row in rows], "limit": limit, "offset": offset}
        )

    async def sessions(self, request: web.Request) -> web.Response:
        account_id = await self._known_account(request)
        limit, offset = _page(request)
        status = request.query.get("status")
        if status is not None and status not in _STATUSES:
            raise malformed("status", " or ".join(_STATUSES), status)
        rows = await list_sessions(
            self._gateway, account_id, limit=limit, offset=offset, status=status
        )
        details = await self._gateway.details.find([row.id for row in rows])
        return web.json_response(
            {
                "sessions": [_session(row, details.get(row.id, _NO_DETAILS)) for row in rows],
                "limit": limit,
                "offset": offset,
            }
        )

    async def bill(self, request: web.Request) -> web.Response:
        """The bill of a settled session, with the proofs to check it offline."""
        caller = self._doorman.admit(request)
        session_id = path_id(request, "Session")
        return web.json_response(await read_bill(self._gateway, caller.account_id, session_id))

    async def _known_account(self, request: web.Request) -> UUID:
        """The caller's account, with the lists caught up to everything it has done."""
        caller = self._doorman.admit(request)
        await self._gateway.books.run(partial(Work.account, account_id=caller.account_id))
        await self._gateway.views.caught_up(self._gateway.books.position)
        return caller.account_id


def path_id(request: web.Request, what: str) -> UUID:
    """The id in the path; text that is no id names nothing."""
    found = read_uuid(request.match_info["id"])
    if found is None:
        raise NotFoundError(what=what)
    return found


def _page(request: web.Request) -> tuple[int, int]:
    limit = query_count(request, "limit", least=1, most=ROWS_MAX, default=ROWS_DEFAULT)
    offset = query_count(request, "offset", least=0, most=_OFFSET_MAX, default=0)
    return limit, offset


def _transaction(row: TransactionRow) -> dict[str, object]:
    return {
        "id": str(row.id),
        "amount": str(row.amount),
        "balance_after": str(row.balance_after),
        "type": row.kind,
        "reference_id": None if row.reference_id is None else str(row.reference_id),
        "service": row.service,
        "description": row.description or None,
        "created_at": iso(row.at_ms),
    }


def _session(row: SessionRow, details: SessionDetails) -> dict[str, object]:
    return {
        "id": str(row.id),
        "service": row.service,
        "bundle_id": None if row.bundle_id is None else str(row.bundle_id),
        "status": row.status,
        "room_name": details.room_name or None,
        "server_url": details.server_url or None,
        "reserved_microcredits": str(row.reserved),
        "charged_microcredits": str(row.charged),
        "token_expires_at": iso(row.expires_at_ms),
        "started_at": iso_or_none(row.started_at_ms),
        "ended_at": iso_or_none(row.ended_at_ms),
        "settlement_method": settlement_method(row.reason),
        "created_at": iso(row.opened_at_ms),
    }
