"""Many changes of rows as few statements over arrays, for a store that is a round trip away."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from projections.rows import Change

_NAME = re.compile(r":(\w+)")
# Statements that touch one row of one table, by its id; others are run as they stand.
_INSERT = re.compile(r"INSERT INTO (\w+) VALUES \(([^()]*)\)")
_UPDATE = re.compile(r"UPDATE (\w+) SET (.*) WHERE id = :id")
_DELETE = re.compile(r"DELETE FROM (\w+) WHERE id = :id")
_MOVED = "INSERT INTO balances "
_LISTED = "INSERT INTO transactions SELECT "
_MOVE_NAMES = (
    "position",
    "id",
    "kind",
    "amount",
    "reference_id",
    "service",
    "description",
    "at_ms",
)
_MOVES = (
    "SELECT * FROM unnest(%b::bigint[], %b::text[], %b::text[], %b::bigint[], %b::text[], "
    "%b::text[], %b::text[], %b::bigint[]) AS m "
    "(position, account_id, kind, amount, reference_id, service, description, at_ms)"
)
# What the single statements do one after the other: each transaction sees the ones before it.
_LIST_MOVES = (
    f"WITH m AS ({_MOVES}) "  # noqa: S608 (constant columns)
    "INSERT INTO transactions SELECT m.position, m.account_id, m.kind, m.amount, "
    "COALESCE(b.available, 0) "
    "+ SUM(m.amount) OVER (PARTITION BY m.account_id ORDER BY m.position), "
    "m.reference_id, m.service, m.description, m.at_ms "
    "FROM m LEFT JOIN balances b ON b.account_id = m.account_id"
)
_ADD_MOVES = (
    "INSERT INTO balances "
    "SELECT m.account_id, SUM(m.amount) FROM unnest(%b::text[], %b::bigint[]) "
    "AS m (account_id, amount) GROUP BY m.account_id "
    "ON CONFLICT (account_id) DO UPDATE SET available = balances.available + EXCLUDED.available"
)

Call = tuple[str, list[Any]]


@dataclass(slots=True)
class _Pending:
    """Changes that are not yet statements.

    Changes of different rows may trade places, changes of one row may not: `seen` counts those of
    each row, and a change joins the group of its statement at that depth.
    """

    moves: list[tuple[Any, ...]] = field(default_factory=list)
    seen: defaultdict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    groups: defaultdict[int, defaultdict[str, list[dict[str, Any]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )


def calls(changes: Iterable[Change]) -> Iterator[Call]:
    """Statements with `%s` and their values, which together do what the changes do in order."""
    pending = _Pending()
    for change in changes:
        if change.statement.startswith(_LISTED):
            values = change.values
            pending.moves.append(tuple(values[name] for name in _MOVE_NAMES))
        elif change.statement.startswith(_MOVED):
            # Part of the transaction listed next.
            continue
        elif (table := _table(change.statement)) is not None:
            row = (table, change.values["id"])
            depth = pending.seen[row] = pending.seen[row] + 1
            pending.groups[depth][change.statement].append(change.values)
        else:
            yield from _flush(pending)
            pending = _Pending()
            names = _NAME.findall(change.statement)
            yield _NAME.sub("%s", change.statement), [change.values[name] for name in names]
    yield from _flush(pending)


def _flush(pending: _Pending) -> Iterator[Call]:
    if pending.moves:
        columns = [list(column) for column in zip(*pending.moves, strict=True)]
        yield _LIST_MOVES, columns
        yield _ADD_MOVES, [columns[1], columns[3]]
    for depth in sorted(pending.groups):
        for statement, rows in pending.groups[depth].items():
            names = tuple(dict.fromkeys(_NAME.findall(statement)))
            columns = [[row[name] for row in rows] for name in names]
            types = tuple(_type(column) for column in columns)
            yield _over_arrays(statement, names, types), columns


@cache
def _table(statement: str) -> str | None:
    for form in (_INSERT, _UPDATE, _DELETE):
        found = form.fullmatch(statement)
        if found is not None:
            return found[1]
    return None


@cache
def _over_arrays(statement: str, names: tuple[str, ...], types: tuple[str, ...]) -> str:
    """The statement for every row of the arrays that take the place of its values."""
    arrays = ", ".join(f"%b::{kind}[]" for kind in types)
    source = f"unnest({arrays}) AS v ({', '.join(f'p_{name}' for name in names)})"
    if (insert := _INSERT.fullmatch(statement)) is not None:
        return f"INSERT INTO {insert[1]} SELECT {_columns(insert[2])} FROM {source}"  # noqa: S608 (constants of rows.py)
    if (update := _UPDATE.fullmatch(statement)) is not None:
        return f"UPDATE {update[1]} SET {_columns(update[2])} FROM {source} WHERE id = v.p_id"  # noqa: S608 (constants of rows.py)
    delete = _DELETE.fullmatch(statement)
    assert delete is not None, "only statements of a known form come here"  # noqa: S101 (states what cannot be otherwise)
    return f"DELETE FROM {delete[1]} USING {source} WHERE id = v.p_id"  # noqa: S608 (constants of rows.py)


def _columns(expressions: str) -> str:
    return _NAME.sub(r"v.p_\1", expressions)


def _type(column: list[Any]) -> str:
    return "bigint" if any(isinstance(value, int) for value in column) else "text"
