"""A buyer with the official MPP client, taken apart so that each step can be spoiled."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx
from eth_account import Account
from mpp import Challenge, Credential
from mpp.methods.tempo import TempoAccount
from mpp.methods.tempo import client as tempo
from mpp.runtime import CredentialParams

MPP = "/v1/credits/purchase/mpp"
TIMEOUT_S = 60


@dataclass
class MppPayer:
    """Buys for one wallet at one gateway, with dollars on the Tempo of `rpc_url`."""

    url: str
    secret_key: str
    rpc_url: str

    def __post_init__(self) -> None:
        self.address = str(Account.from_key(self.secret_key).address)
        self.method = tempo.charge(
            account=TempoAccount.from_key(self.secret_key), rpc_url=self.rpc_url
        )

    def body(self, amount_usd: float = 0.1, wallet: str | None = None) -> bytes:
        return json.dumps(
            {
                "wallet_address": wallet or self.address,
                "wallet_chain": "tempo",
                "amount_usd": amount_usd,
            }
        ).encode()

    async def post(
        self, body: bytes, authorization: str | None = None, *, url: str = ""
    ) -> httpx.Response:
        headers = {"Content-Type": "application/json"}
        if authorization is not None:
            headers["Authorization"] = authorization
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
            return await client.post((url or self.url) + MPP, content=body, headers=headers)

    async def challenge(self, body: bytes) -> Challenge:
        """What an unpaid request is asked for."""
        reply = await self.post(body)
        assert reply.status_code == 402
        return Challenge.from_www_authenticate(reply.headers["WWW-Authenticate"])

    async def signed(self, challenge: Challenge) -> str:
        """The credential that the official client makes for a challenge."""
        return await self.method.create_credential(CredentialParams(challenge=challenge))

    async def credential(self, body: bytes | None = None) -> str:
        """A good payment for a purchase, not yet presented."""
        return await self.signed(await self.challenge(body or self.body()))

    async def sent(self, authorization: str) -> str:
        """Send the transaction of a credential ourselves; the credential that names it instead."""
        signed = Credential.from_authorization(authorization)
        found = await self.node("eth_sendRawTransaction", signed.payload["signature"])
        payload = {"type": "hash", "hash": str(found)}
        return Credential(
            challenge=signed.challenge, payload=payload, source=signed.source
        ).to_authorization()

    async def node(self, method: str, *params: object) -> Any:  # noqa: ANN401 (whatever the method answers)
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
            reply = (await client.post(self.rpc_url, json=call)).json()
        assert "result" in reply, reply
        return reply["result"]
