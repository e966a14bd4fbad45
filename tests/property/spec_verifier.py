"""A bill verified by specs/ledger.md, section 7, and by nothing of ours: the steps are numbered.

Whoever writes a verifier in another language can start from here. It imports no code of Payphone.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any
from uuid import UUID

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

ROUNDING = "ceil(quantity * microcredits / per), once, at settlement"
MOVES = ("account.credits_reserved", "account.reservation_settled")
RESERVES = ("session.opened", "session.extended")


class BrokenBillError(Exception):
    """The step that does not hold."""


def need(step: int, *, holds: bool) -> None:
    if not holds:
        raise BrokenBillError(f"step {step}")


def verify(file: bytes, trusted: str) -> None:
    """Return when the bill holds under the trusted public key; BrokenBillError otherwise."""
    try:
        _verify(file, trusted)
    except BrokenBillError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as damage:
        raise BrokenBillError(repr(damage)) from damage


def _verify(file: bytes, trusted: str) -> None:
    bill = json.loads(file, object_pairs_hook=unique)
    exactly(bill, "format", "statement", "evidence")
    exactly(bill["evidence"], "signer", "checkpoint", "events")
    need(1, holds=bill["format"] == "payphone-bill-1")
    need(2, holds=bill["evidence"]["signer"] == trusted)
    name, hint, key = trusted.split("+", 2)
    public = b64(key)
    need(2, holds=len(public) == 33 and public[:1] == b"\x01")
    need(2, holds=sha(name.encode() + b"\n" + public)[:4].hex() == hint)
    size, root = head(bill["evidence"]["checkpoint"], name, public)
    events = bill["evidence"]["events"]
    before = 0
    for event in events:
        in_the_log(event, before, size, root)
        version = event["state"].get("class_version", 1)
        newest = 2 if event["topic"] in MOVES else 1
        need(4, holds=type(version) is int and 1 <= version <= newest)
        if event["topic"] in MOVES:
            postings(event)
        before = event["position"]
    need(9, holds=dump(statement(events)) == dump(bill["statement"]))


def head(note: str, name: str, public: bytes) -> tuple[int, bytes]:
    """Step 3: the size and root the key vouches for."""
    text, _, signatures = note.partition("\n\n")
    need(3, holds=signatures.endswith("\n"))
    signed, hint = (text + "\n").encode(), sha(name.encode() + b"\n" + public)[:4]
    good = False
    for line in signatures[:-1].split("\n"):
        if line.startswith(f"\u2014 {name} "):
            raw = b64(line.removeprefix(f"\u2014 {name} "))
            try:
                VerifyKey(public[1:]).verify(signed, raw[4:])
                good = good or raw[:4] == hint
            except BadSignatureError:
                continue
    need(3, holds=good)
    _, size, root = text.split("\n")
    need(3, holds=str(int(size)) == size)
    return int(size), b64(root)


def in_the_log(event: dict[str, Any], before: int, size: int, root: bytes) -> None:
    """Step 4, with the loop of RFC 9162, 2.1.3.2."""
    exactly(event, "position", "originator_id", "originator_version", "topic", "state", "proof")
    position = event["position"]
    need(4, holds=type(position) is int and type(event["originator_version"]) is int)
    need(4, holds=before < position <= size)
    need(4, holds=str(UUID(event["originator_id"])) == event["originator_id"])
    leaf = {k: event[k] for k in ("originator_id", "originator_version", "state", "topic")}
    fn, sn, r = position - 1, size - 1, sha(b"\x00" + dump(leaf))
    for p in map(b64, event["proof"]):
        need(4, holds=sn != 0)
        if fn % 2 == 1 or fn == sn:
            r = sha(b"\x01" + p + r)
            while fn % 2 == 0 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = sha(b"\x01" + r + p)
        fn, sn = fn >> 1, sn >> 1
    need(4, holds=sn == 0 and r == root)


def statement(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Steps 5 to 8, and the statement that follows."""
    own = [e for e in events if e["topic"].startswith("session.")]
    accounts = [e for e in events if e["topic"].startswith("account.")]
    books = [e for e in events if e["topic"] == "price_book.published"]
    need(4, holds=len(own) + len(accounts) + len(books) == len(events))
    need(5, holds=len({e["originator_id"] for e in own}) == 1)
    need(5, holds=[e["topic"] for e in own].count("session.opened") == 1)
    opened, session_id = own[0]["state"], own[0]["originator_id"]
    for e in accounts:
        need(5, holds=e["originator_id"] == opened["account_id"])
        need(5, holds=e["state"]["session_id"] == session_id)
    need(6, holds=[e["originator_version"] for e in own] == list(range(1, len(own) + 1)))
    need(7, holds=len(books) == 1 and books[0]["position"] < own[0]["position"])
    book = books[0]["state"]
    content = json.loads(book["content"])
    need(7, holds=dump(content).decode() == book["content"])
    need(7, holds=sha(book["content"].encode()).hex() == book["content_hash"])
    need(7, holds=content["version"] == opened["price_book"])
    rate = content["tariffs"][opened["service"]]
    need(7, holds=rate["unit"] == opened["unit"])
    need(7, holds=rate["microcredits"] == opened["rate_microcredits"])
    need(7, holds=rate["per"] == opened["rate_per"])
    walk = Walk(rate)
    for e in own:
        walk.step(e)
    closed = own[-1]["state"]
    need(7, holds=own[-1]["topic"] == "session.closed")
    reserves = [e["state"] for e in accounts if e["topic"] == "account.credits_reserved"]
    settled = [e["state"] for e in accounts if e["topic"] == "account.reservation_settled"]
    need(8, holds=len(reserves) + len(settled) == len(accounts) and len(settled) == 1)
    need(8, holds=sum(s["amount"] for s in reserves) == walk.reserved)
    need(8, holds=settled[0]["charged"] == closed["charged"])
    need(8, holds=settled[0]["refunded"] == closed["refunded"])
    return {
        "session": {
            "id": session_id,
            "account_id": opened["account_id"],
            "bundle_id": opened["bundle_id"],
            "service": opened["service"],
            "opened_at_ms": opened["at_ms"],
            "closed_at_ms": closed["at_ms"],
            "reason": closed["reason"],
        },
        "tariff": {
            "price_book": opened["price_book"],
            "price_book_sha256": book["content_hash"],
            "rounding": ROUNDING,
            **rate,
        },
        "lines": walk.lines,
        "totals": {
            "used": closed["used"],
            "reserved_microcredits": walk.reserved,
            "charged_microcredits": closed["charged"],
            "refunded_microcredits": closed["refunded"],
        },
    }


def postings(event: dict[str, Any]) -> None:
    """Step 8: what an event of the account moved follows from its amounts (section 8)."""
    state = event["state"]
    wallet = f"wallet:{event['originator_id']}"
    if event["topic"] == "account.credits_reserved":
        moves = [(f"{wallet}:available", -state["amount"]), (f"{wallet}:reserved", state["amount"])]
    else:
        moves = [
            (f"{wallet}:reserved", -state["charged"] - state["refunded"]),
            (f"revenue:{state['service']}", state["charged"]),
            (f"{wallet}:available", state["refunded"]),
        ]
    if state.get("class_version", 1) == 1:
        need(8, holds="postings" not in state)
    else:
        moved = [[account, amount] for account, amount in moves if amount != 0]
        need(8, holds=dump(state["postings"]) == dump(moved))


class Walk:
    """Step 7, over the events of the session."""

    def __init__(self, rate: dict[str, int]) -> None:
        self.rate = rate
        self.used = self.reserved = self.quantity = self.expires_at_ms = 0
        self.since_ms: int | None = None
        self.over = False
        self.lines: list[dict[str, Any]] = []

    def price(self, quantity: int) -> int:
        return -(-quantity * self.rate["microcredits"] // self.rate["per"])

    def line(self, event: dict[str, Any], kind: str, **fields: object) -> None:
        self.lines.append({"kind": kind, "position": event["position"], **fields})

    def step(self, event: dict[str, Any]) -> None:
        topic, state = event["topic"], event["state"]
        need(7, holds=not self.over)
        if topic in RESERVES:
            self.quantity += state["quantity"]
            self.reserved += state["reserved"]
            self.expires_at_ms = state["expires_at_ms"]
            need(7, holds=self.price(self.quantity) == self.reserved)
            spent = {"quantity": state["quantity"], "microcredits": state["reserved"]}
            self.line(event, "reserved", at_ms=state["at_ms"], **spent)
        elif topic == "session.clock_resumed":
            need(7, holds=self.since_ms is None)
            self.since_ms = state["at_ms"]
        elif topic == "session.clock_paused":
            need(7, holds=self.since_ms is not None)
            from_ms = self.since_ms or 0
            ran = max(0, min(state["at_ms"], self.expires_at_ms) - from_ms)
            used = min(self.quantity, self.used + ran)
            need(7, holds=used == state["used_ms"])
            times = {"from_ms": from_ms, "to_ms": state["at_ms"]}
            self.line(event, "used", quantity=used - self.used, **times)
            self.used, self.since_ms = used, None
        elif topic == "session.characters_spoken":
            used = state["used_characters"]
            need(7, holds=self.used <= used <= self.quantity)
            self.line(event, "used", quantity=used - self.used, at_ms=state["at_ms"])
            self.used = used
        elif topic == "session.closed":
            self.close(event, state)
        else:
            need(4, holds=topic == "session.clock_observed")

    def close(self, event: dict[str, Any], state: dict[str, Any]) -> None:
        need(7, holds=self.since_ms is None and state["used"] == self.used)
        need(7, holds=state["charged"] == self.price(self.used))
        need(7, holds=state["charged"] + state["refunded"] == self.reserved)
        at_ms = state["at_ms"]
        charged = {"quantity": state["used"], "microcredits": state["charged"]}
        self.line(event, "charged", at_ms=at_ms, **charged)
        self.line(event, "refunded", at_ms=at_ms, microcredits=state["refunded"])
        self.over = True


def exactly(found: dict[str, Any], *names: str) -> None:
    need(1, holds=set(found) == set(names))


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    need(1, holds=len(dict(pairs)) == len(pairs))
    return dict(pairs)


def dump(value: object) -> bytes:
    """RFC 8785, for what bills hold."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def b64(text: str) -> bytes:
    raw = base64.b64decode(text, validate=True)
    need(4, holds=base64.b64encode(raw).decode() == text)
    return raw


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
