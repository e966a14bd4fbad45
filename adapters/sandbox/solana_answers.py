"""What a Solana node says of the sandbox cluster, method by method."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import base58
from solders.hash import Hash
from solders.message import from_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.token.associated import get_associated_token_address
from solders.token.state import TokenAccount
from solders.transaction import VersionedTransaction

from adapters.sandbox.solana import (
    BLOCKHASH_SLOTS,
    DECIMALS,
    FINAL_SLOTS,
    GENESIS,
    TOKEN_ACCOUNT_BYTES,
    TOKEN_PROGRAM,
    Held,
    Landed,
    Ran,
    SolanaChain,
    SolanaRefusedError,
)

ACCOUNTS_MAX = 100
_PAGE_MAX = 1_000
_STATUSES_MAX = 256
_LAMPORTS_A_SIGNATURE = 5_000
_SLOTS_IN_EPOCH = 432_000
_NOT_FINAL = ("processed", "confirmed")
_VERSION = {"solana-core": "2.2.0", "feature-set": 0}

Envelope = dict[str, object]


class SolanaRpcRefusedError(Exception):
    """A JSON-RPC error with its code, and what goes with it."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class Call:
    """One call's parameters, and the answers to them."""

    def __init__(self, chain: SolanaChain, params: list[object]) -> None:
        self._chain = chain
        self._params = params
        last = params[-1] if params else None
        self._how: Envelope = last if isinstance(last, dict) else {}

    @property
    def slot(self) -> int:
        """The newest slot that this commitment (`finalized` unless told) lets us see."""
        now = self._chain.slot()
        return now if self._how.get("commitment") in _NOT_FINAL else now - FINAL_SLOTS

    def text(self, index: int = 0) -> str:
        text = self._params[index]
        if not isinstance(text, str):
            raise TypeError(text)
        return text

    def key(self, index: int = 0) -> Pubkey:
        return Pubkey.from_string(self.text(index))

    def names(self, most: int) -> list[str]:
        names = self._params[0]
        if not isinstance(names, list) or len(names) > most:
            raise TypeError(names)
        return [str(name) for name in names]

    def valued(self, value: object) -> Envelope:
        return {"context": {"slot": self.slot, "apiVersion": "2.2.0"}, "value": value}

    def account(self) -> object:
        return self.valued(self._account(self.key()))

    def accounts(self) -> object:
        keys = [Pubkey.from_string(name) for name in self.names(ACCOUNTS_MAX)]
        return self.valued([self._account(key) for key in keys])

    def balance(self) -> object:
        return self.valued(self._chain.lamports(str(self.key())))

    def token_balance(self) -> object:
        held = self._chain.account(self.key())
        if held is None or len(held.data) != TOKEN_ACCOUNT_BYTES:
            raise SolanaRpcRefusedError(-32602, "Invalid param: could not find account")
        return self.valued(_amount(TokenAccount.from_bytes(held.data).amount))

    def token_accounts(self) -> object:
        """Only the associated one of the mint that is asked for: nobody has others here."""
        wanted = self._params[1]
        mint = wanted["mint"] if isinstance(wanted, dict) else ""
        address = get_associated_token_address(self.key(), Pubkey.from_string(str(mint)))
        account = self._account(address)
        return self.valued([{"pubkey": str(address), "account": account}] if account else [])

    def latest_blockhash(self) -> object:
        slot = self.slot
        return self.valued(
            {
                "blockhash": str(self._chain.blockhash(slot)),
                "lastValidBlockHeight": slot + BLOCKHASH_SLOTS,
            }
        )

    def is_blockhash_valid(self) -> object:
        raw = base58.b58decode(self.text())
        blockhash = Hash(raw) if len(raw) == Hash.LENGTH else Hash.default()
        return self.valued(self._chain.is_valid(blockhash, at_slot=self.slot))

    def epoch(self) -> object:
        slot = self.slot
        return {
            "absoluteSlot": slot,
            "blockHeight": slot,
            "epoch": slot // _SLOTS_IN_EPOCH,
            "slotIndex": slot % _SLOTS_IN_EPOCH,
            "slotsInEpoch": _SLOTS_IN_EPOCH,
            "transactionCount": None,
        }

    def rent(self) -> object:
        size = self._params[0]
        if not isinstance(size, int):
            raise TypeError(size)
        return self._chain.rent(size)

    def fee(self) -> object:
        message = from_bytes_versioned(base64.b64decode(self.text()))
        return self.valued(message.header.num_required_signatures * _LAMPORTS_A_SIGNATURE)

    def simulate(self) -> object:
        fresh = bool(self._how.get("replaceRecentBlockhash"))
        ran = self._chain.simulate(
            self._transaction(), signed=bool(self._how.get("sigVerify")), fresh=fresh
        )
        told = _told(ran)
        if fresh:
            told["replacementBlockhash"] = {
                "blockhash": str(self._chain.blockhash(self.slot)),
                "lastValidBlockHeight": self.slot + BLOCKHASH_SLOTS,
            }
        return self.valued(told)

    def send(self) -> object:
        transaction = self._transaction()
        if not self._how.get("skipPreflight"):
            trial = self._chain.simulate(transaction)
            if trial.error is not None:
                raise SolanaRpcRefusedError(
                    -32002, f"Transaction simulation failed: {trial.error}", _told(trial)
                )
        try:
            return self._chain.send(transaction)
        except SolanaRefusedError:
            # As a node does it: the name of a transaction that nobody will see again.
            return str(transaction.signatures[0])

    def statuses(self) -> object:
        found = [self._chain.find(_signature(name)) for name in self.names(_STATUSES_MAX)]
        return self.valued([None if landed is None else self._status(landed) for landed in found])

    def signatures(self) -> object:
        least = self._how.get("minContextSlot")
        if isinstance(least, int) and self.slot < least:
            raise SolanaRpcRefusedError(-32016, "Minimum context slot has not been reached")
        limit = self._how.get("limit", _PAGE_MAX)
        before, until = self._how.get("before"), self._how.get("until")
        if not isinstance(limit, int):
            raise TypeError(limit)
        entries = []
        started = before is None
        for landed in self._chain.history(str(self.key())):
            if landed.signature == until:
                break
            if started and landed.slot <= self.slot:
                entries.append(self._entry(landed))
            started = started or landed.signature == before
        return entries[: min(limit, _PAGE_MAX)]

    def transaction(self) -> object:
        landed = self._chain.find(_signature(self.text()))
        if landed is None or landed.slot > self.slot:
            return None
        raw = bytes(landed.transaction)
        encoding = self._how.get("encoding", "json")
        if encoding in ("json", "jsonParsed"):
            shown: object = json.loads(landed.transaction.to_json())
        else:
            shown = _encoded(raw, str(encoding))
        return {
            "slot": landed.slot,
            "blockTime": landed.time_s,
            "version": 0,
            "transaction": shown,
            "meta": _meta(landed),
        }

    def _account(self, key: Pubkey) -> Envelope | None:
        account = self._chain.account(key)
        if account is None or not account.lamports:
            return None
        return {
            "lamports": account.lamports,
            "owner": str(account.owner),
            "data": _encoded(account.data, str(self._how.get("encoding", "base58"))),
            "executable": account.executable,
            "rentEpoch": 2**64 - 1,
            "space": len(account.data),
        }

    def _transaction(self) -> VersionedTransaction:
        text = self.text()
        is_base64 = self._how.get("encoding") == "base64"
        raw = base64.b64decode(text, validate=True) if is_base64 else base58.b58decode(text)
        try:
            return VersionedTransaction.from_bytes(raw)
        except Exception as error:  # The library raises types of its own.
            raise ValueError(text) from error

    def _status(self, landed: Landed) -> Envelope:
        level = self._level(landed)
        return {
            "slot": landed.slot,
            "confirmations": None if level == "finalized" else self._chain.slot() - landed.slot,
            "err": landed.ran.error,
            "status": {"Ok": None} if landed.ran.error is None else {"Err": landed.ran.error},
            "confirmationStatus": level,
        }

    def _entry(self, landed: Landed) -> Envelope:
        return {
            "signature": landed.signature,
            "slot": landed.slot,
            "err": landed.ran.error,
            "memo": landed.memo,
            "blockTime": landed.time_s,
            "confirmationStatus": self._level(landed),
        }

    def _level(self, landed: Landed) -> str:
        final = landed.slot <= self._chain.slot() - FINAL_SLOTS
        return "finalized" if final else "confirmed"


METHODS: dict[str, Callable[[Call], object]] = {
    "getAccountInfo": Call.account,
    "getMultipleAccounts": Call.accounts,
    "getBalance": Call.balance,
    "getTokenAccountBalance": Call.token_balance,
    "getTokenAccountsByOwner": Call.token_accounts,
    "getLatestBlockhash": Call.latest_blockhash,
    "isBlockhashValid": Call.is_blockhash_valid,
    "getEpochInfo": Call.epoch,
    "getMinimumBalanceForRentExemption": Call.rent,
    "getFeeForMessage": Call.fee,
    "simulateTransaction": Call.simulate,
    "sendTransaction": Call.send,
    "getSignatureStatuses": Call.statuses,
    "getSignaturesForAddress": Call.signatures,
    "getTransaction": Call.transaction,
    "getSlot": lambda call: call.slot,
    "getBlockHeight": lambda call: call.slot,
    "getGenesisHash": lambda _: GENESIS,
    "getHealth": lambda _: "ok",
    "getVersion": lambda _: _VERSION,
    "getRecentPrioritizationFees": lambda _: [],
}


def _signature(text: str) -> str:
    """As a node takes it; ValueError for what can be none."""
    if len(base58.b58decode(text)) != Signature.LENGTH:
        raise ValueError(text)
    return text


def _told(ran: Ran) -> Envelope:
    return {
        "err": ran.error,
        "logs": ran.logs,
        "accounts": None,
        "unitsConsumed": ran.units,
        "returnData": None,
        "innerInstructions": None,
    }


def _meta(landed: Landed) -> Envelope:
    signatures = len(landed.transaction.signatures)
    return {
        "err": landed.ran.error,
        "status": {"Ok": None} if landed.ran.error is None else {"Err": landed.ran.error},
        "fee": signatures * _LAMPORTS_A_SIGNATURE,
        "preBalances": landed.lamports_before,
        "postBalances": landed.lamports_after,
        "preTokenBalances": [_held(held) for held in landed.tokens_before],
        "postTokenBalances": [_held(held) for held in landed.tokens_after],
        "logMessages": landed.ran.logs,
        "innerInstructions": [],
        "rewards": [],
        "loadedAddresses": {"readonly": [], "writable": []},
        "computeUnitsConsumed": landed.ran.units,
    }


def _held(held: Held) -> Envelope:
    return {
        "accountIndex": held.index,
        "mint": held.mint,
        "owner": held.owner,
        "programId": str(TOKEN_PROGRAM),
        "uiTokenAmount": _amount(held.amount),
    }


def _amount(amount: int) -> Envelope:
    whole, part = divmod(amount, 10**DECIMALS)
    text = f"{whole}.{part:0{DECIMALS}d}".rstrip("0").rstrip(".")
    return {
        "amount": str(amount),
        "decimals": DECIMALS,
        "uiAmount": float(text),
        "uiAmountString": text,
    }


def _encoded(raw: bytes, encoding: str) -> list[str]:
    """In base64 unless base58 is asked for; nodes too fall back where they cannot parse."""
    if encoding == "base58":
        return [base58.b58encode(raw).decode("ascii"), "base58"]
    return [base64.b64encode(raw).decode("ascii"), "base64"]
