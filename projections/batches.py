"""A write as SQL: row by row for a store in the process, over arrays for one a round trip away."""

from __future__ import annotations

from functools import cache
from typing import Any, LiteralString

from projections.rows import COLUMNS, Statement, Write

# What a batch reads before it writes: rows by their ids, and the last hour marked.
BALANCES: LiteralString = "SELECT account_id, available, reserved FROM balances WHERE account_id "
SESSIONS: LiteralString = (
    "SELECT id, position, account_id, bundle_id, service, status, running, reserved, charged, "
    "opened_at_ms, started_at_ms, ended_at_ms, expires_at_ms, reason FROM sessions WHERE id "
)
HOUR: LiteralString = "SELECT max(hour) FROM hours"


@cache
def by_row(statement: Statement) -> str:
    """For one row at a time, with numbered marks in the order of the columns."""
    table, columns = statement.table, statement.columns
    if statement.verb == "insert":
        marks = ", ".join("?" * len(columns))
        return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) {statement.more}"  # noqa: S608 (constants of rows.py)
    if statement.verb == "delete":
        return f"DELETE FROM {table} WHERE {columns[0]} = ?"  # noqa: S608 (constants of rows.py)
    changes = ", ".join(f"{name} = ?{n}" for n, name in enumerate(columns[1:], start=2))
    return f"UPDATE {table} SET {changes} WHERE {columns[0]} = ?1"  # noqa: S608 (constants of rows.py)


def over_arrays(write: Write) -> tuple[bytes, list[list[Any]]]:
    """For all rows at once: a statement with an array for each column, and the arrays."""
    return _over_arrays(write.statement), [list(column) for column in zip(*write.rows, strict=True)]


@cache
def _over_arrays(statement: Statement) -> bytes:
    table, columns = statement.table, statement.columns
    kinds = [COLUMNS[table][name].partition(" ")[0] for name in columns]
    values = f"unnest({', '.join(f'%b::{kind}[]' for kind in kinds)})"
    names = ", ".join(columns)
    if statement.verb == "insert":
        sql = f"INSERT INTO {table} ({names}) SELECT * FROM {values} {statement.more}"  # noqa: S608 (constants of rows.py)
    elif statement.verb == "delete":
        sql = f"DELETE FROM {table} USING {values} AS v (key) WHERE {columns[0]} = v.key"  # noqa: S608 (constants of rows.py)
    else:
        changes = ", ".join(f"{name} = v.{name}" for name in columns[1:])
        sql = (
            f"UPDATE {table} SET {changes} FROM {values} AS v ({names}) "  # noqa: S608 (constants of rows.py)
            f"WHERE {table}.{columns[0]} = v.{columns[0]}"
        )
    return sql.encode()
