"""A TRON node's HTTP interface over the sandbox chain: what wallets and readers ask of it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from types import MappingProxyType

from aiohttp import web

from adapters.sandbox.faults import Faults
from adapters.sandbox.tron_chain import (
    SandboxTron,
    TronMined,
    TronRevertedError,
    revert_reason,
    selector,
)
from adapters.sandbox.tron_rpc import rpc_answer
from adapters.sandbox.tron_transactions import (
    CALL,
    TRANSFER,
    Wanted,
    account_of,
    address_of,
    read_transaction,
    signer_of,
)
from domain.ports.clock import Clock

_BODY_BYTES_MAX = 256 * 1024
# How long a transaction that the node wrote for a wallet may wait to be signed.
_LIFE_MS = 60_000
_FEE_LIMIT = 100_000_000
_FREE_NET = 600
_ENERGY = 100_000
_Body = dict[str, object]


class SandboxTronNode:
    """Answers by path, as a full node does. What it does not know it answers with an `Error`.

    Every transaction's bytes are made again from its fields and its signer is recovered. There are
    no fees, votes or stakes here, and one permission an account: its own key's.
    """

    def __init__(self, chain: SandboxTron, clock: Clock, faults: Faults) -> None:
        self._chain = chain
        self._clock = clock
        self._faults = faults
        self._answers: MappingProxyType[str, Callable[[_Body], Awaitable[_Body]]] = (
            MappingProxyType(
                {
                    "broadcasttransaction": self._broadcast,
                    "getaccount": self._account,
                    "getaccountnet": self._resources,
                    "getaccountresource": self._resources,
                    "getblock": self._block,
                    "getblockbynum": self._block,
                    "getcontract": self._contract,
                    "getnodeinfo": self._information,
                    "getnowblock": self._block,
                    "getsignweight": self._weight,
                    "gettransactionbyid": self._transaction,
                    "gettransactioninfobyid": self._mined,
                    "triggerconstantcontract": self._constant,
                    "triggersmartcontract": self._written,
                }
            )
        )

    async def ask(self, path: str, body: dict[str, object]) -> dict[str, object]:
        """As our own reader asks it; ConnectionError while the chain cannot be read."""
        if self._faults.chain_unreadable:
            msg = "the sandbox node is switched off"
            raise ConnectionError(msg)
        return await self.answer(path, body)

    async def answer(self, path: str, body: dict[str, object]) -> dict[str, object]:
        """One question of whoever asks."""
        if path == "jsonrpc":
            return rpc_answer(self._chain, body)
        part, _, name = path.partition("/")
        answer = self._answers.get(name) if part in ("wallet", "walletsolidity") else None
        if answer is None:
            return {"Error": f"the sandbox node does not answer {path[:80]}"}
        try:
            return await answer(body)
        except (ValueError, KeyError, TypeError) as error:
            return {"Error": f"{type(error).__name__}: {error}"}

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """The same over HTTP, by GET and by POST; the path stands in `tail`."""
        raw = await request.content.read(_BODY_BYTES_MAX)
        try:
            body = json.loads(raw) if raw else dict(request.query)
        except (ValueError, RecursionError):
            return web.json_response({"Error": "expected JSON"}, status=400)
        if not isinstance(body, dict):
            return web.json_response({"Error": "expected a JSON object"}, status=400)
        return web.json_response(await self.answer(request.match_info["tail"].strip("/"), body))

    async def _block(self, body: _Body) -> _Body:
        named = body.get("num", body.get("id_or_num"))
        number = self._chain.head if named is None else int(str(named))
        if not 0 <= number <= self._chain.head:
            return {}
        header = {
            "number": number,
            "timestamp": self._chain.time_s(number) * 1000,
            "parentHash": _block_id(number - 1) if number else "00" * 32,
            "version": 30,
        }
        return {"blockID": _block_id(number), "block_header": {"raw_data": header}}

    async def _information(self, _body: _Body) -> _Body:
        at = f"Num:{self._chain.head},ID:{_block_id(self._chain.head)}"
        return {"beginSyncNum": self._chain.head, "block": at, "solidityBlock": at}

    async def _account(self, body: _Body) -> _Body:
        account = account_of(body["address"])
        key = address_of(account, visible=bool(body.get("visible")))
        return {
            "address": key,
            "balance": await self._chain.suns(account),
            "owner_permission": _permission(key, "owner"),
            "active_permission": [_permission(key, "active") | {"type": "Active", "id": 2}],
        }

    async def _resources(self, body: _Body) -> _Body:
        account_of(body["address"])
        return {"freeNetLimit": _FREE_NET, "EnergyLimit": _ENERGY, "TotalEnergyLimit": _ENERGY}

    async def _contract(self, body: _Body) -> _Body:
        contract = account_of(body["value"])
        if not await self._chain.has_code(contract):
            return {}
        named = address_of(contract, visible=bool(body.get("visible")))
        return {"contract_address": named, "origin_address": named, "bytecode": "00", "abi": {}}

    async def _constant(self, body: _Body) -> _Body:
        to, owner = account_of(body["contract_address"]), account_of(body["owner_address"])
        try:
            output = await self._chain.read(to=to, data=_call_data(body), owner=owner)
        except TronRevertedError as refused:
            said = f"REVERT opcode executed: {revert_reason(refused.output)}"
            result = {"result": True, "code": "CONTRACT_EXE_ERROR", "message": said.encode().hex()}
            return {"result": result, "constant_result": [refused.output.hex()]}
        return {
            "result": {"result": True},
            "energy_used": _ENERGY,
            "constant_result": [output.hex()],
        }

    async def _written(self, body: _Body) -> _Body:
        """A call written out for a wallet to sign."""
        now_ms = self._clock.now_ms()
        block = _block_id(self._chain.head)
        raw_data: _Body = {
            "contract": [_call(body)],
            "ref_block_bytes": block[12:16],
            "ref_block_hash": block[16:32],
            "expiration": now_ms + _LIFE_MS,
            "timestamp": now_ms,
            "fee_limit": body.get("fee_limit", _FEE_LIMIT),
        }
        wanted = read_transaction(raw_data)
        return {
            "result": {"result": True},
            "transaction": {
                "visible": bool(body.get("visible")),
                "txID": wanted.id,
                "raw_data": raw_data,
                "raw_data_hex": wanted.raw.hex(),
            },
        }

    async def _weight(self, body: _Body) -> _Body:
        wanted = read_transaction(body["raw_data"])
        return {
            "result": {"code": "NOT_ENOUGH_PERMISSION"},
            "permission": _permission(address_of(wanted.owner, visible=False), "owner"),
            "transaction": {
                "result": {"result": True},
                "transaction": {"txID": wanted.id, "raw_data_hex": wanted.raw.hex()},
            },
        }

    async def _broadcast(self, body: _Body) -> _Body:
        wanted = read_transaction(body["raw_data"])
        signatures = body.get("signature")
        refusal = self._refusal(wanted, signatures if isinstance(signatures, list) else [])
        if refusal is None and wanted.value > await self._chain.suns(wanted.owner):
            refusal = ("CONTRACT_VALIDATE_ERROR", "the owner does not hold that many TRX")
        if refusal is not None:
            code, text = refusal
            return {
                "result": False,
                "code": code,
                "txid": wanted.id,
                "message": text.encode().hex(),
            }
        await self._chain.run(
            transaction=wanted.id,
            owner=wanted.owner,
            to=wanted.to,
            data=wanted.data,
            value=wanted.value,
        )
        return {"result": True, "txid": wanted.id}

    def _refusal(self, wanted: Wanted, signatures: list[object]) -> tuple[str, str] | None:
        if [signer_of(wanted.id, signature) for signature in signatures] != [wanted.owner]:
            return "SIGERROR", "it must be signed by its owner, and by nobody else"
        if wanted.expires_at_ms <= self._clock.now_ms():
            return "TRANSACTION_EXPIRATION_ERROR", "it has expired"
        if self._chain.mined(wanted.id) is not None:
            return "DUP_TRANSACTION_ERROR", "it is in a block already"
        return None

    async def _transaction(self, body: _Body) -> _Body:
        mined = self._chain.mined(str(body["value"]))
        if mined is None:
            return {}
        visible = bool(body.get("visible"))
        owner, to = (address_of(a, visible=visible) for a in (mined.owner, mined.to))
        value: _Body = {"owner_address": owner}
        if mined.data:
            value |= {"contract_address": to, "data": mined.data.hex()}
        else:
            value |= {"to_address": to, "amount": mined.value}
        kind = CALL if mined.data else TRANSFER
        url = f"type.googleapis.com/protocol.{kind}"
        return {
            "txID": mined.id,
            "ret": [{"contractRet": _result(mined)}],
            "raw_data": {
                "contract": [{"parameter": {"value": value, "type_url": url}, "type": kind}]
            },
        }

    async def _mined(self, body: _Body) -> _Body:
        mined = self._chain.mined(str(body["value"]))
        if mined is None:
            return {}
        return {
            "id": mined.id,
            "blockNumber": mined.block,
            "blockTimeStamp": mined.time_s * 1000,
            "contractResult": [""],
            "contract_address": address_of(mined.to, visible=bool(body.get("visible"))),
            "receipt": {"result": _result(mined), "energy_usage_total": _ENERGY},
            **({} if mined.succeeded else {"result": "FAILED"}),
            "log": [
                {
                    "address": log.address.hex(),
                    "topics": [topic.hex() for topic in log.topics],
                    "data": log.data.hex(),
                }
                for log in mined.logs
            ],
        }


def _call(body: _Body) -> _Body:
    """A call as a transaction has it; what is nought is left out, as nodes do."""
    value: _Body = {
        "data": _call_data(body).hex(),
        "owner_address": body["owner_address"],
        "contract_address": body["contract_address"],
    }
    if body.get("call_value"):
        value["call_value"] = body["call_value"]
    parameter = {"value": value, "type_url": f"type.googleapis.com/protocol.{CALL}"}
    call: _Body = {"parameter": parameter, "type": CALL}
    if body.get("Permission_id"):
        call["Permission_id"] = body["Permission_id"]
    return call


def _call_data(body: _Body) -> bytes:
    function = str(body.get("function_selector") or "").replace(" ", "")
    if not function:
        return bytes.fromhex(str(body.get("data") or ""))
    return selector(function) + bytes.fromhex(str(body.get("parameter") or ""))


def _result(mined: TronMined) -> str:
    return "SUCCESS" if mined.succeeded else "REVERT"


def _permission(key: str, name: str) -> _Body:
    return {"permission_name": name, "threshold": 1, "keys": [{"address": key, "weight": 1}]}


def _block_id(number: int) -> str:
    # A block's number stands before the rest of its hash.
    return f"{number:016x}{number + 1:048x}"
