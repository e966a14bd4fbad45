"""How a customer gets a bill that proves itself."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from domain.audit import bill_document
from domain.bill import concerns
from domain.errors import SessionOpenError
from domain.gateway import Gateway
from domain.price_list import PublishedPriceBook
from domain.use_cases.extend_session import owned_session


async def read_bill(gateway: Gateway, account_id: UUID, session_id: UUID) -> dict[str, Any]:
    """The bill of a settled session with its proofs; an open session has none yet."""
    session = await gateway.books.run(
        partial(owned_session, account_id=account_id, session_id=session_id)
    )
    if session.is_open:
        raise SessionOpenError(session_id=str(session.id))
    book_id = PublishedPriceBook.create_id(session.price_book)
    history = await gateway.books.history([session.id, session.account_id, book_id])
    own = (session.id, book_id)
    records = tuple(r for r in history if r.originator_id in own or concerns(r, str(session.id)))
    evidence = await gateway.log.prove([r.position for r in records])
    return bill_document(
        records,
        checkpoint=evidence.checkpoint,
        signer=evidence.signer,
        proofs=evidence.proofs,
    )
