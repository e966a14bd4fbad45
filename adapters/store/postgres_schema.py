"""The ledger's tables and its one way to write, in PostgreSQL."""

from __future__ import annotations

from typing import LiteralString

# A newer Payphone that changes the tables counts this up; an older one then refuses to start.
SCHEMA_VERSION = 1
FENCED = "PH001"

# Advisory locks are numbered for a whole database: "PAYP", then what is locked.
LOCK_ORDER: LiteralString = "SELECT pg_advisory_xact_lock(1346459984, 0)"
LOCK_SCHEMA: LiteralString = "SELECT pg_advisory_xact_lock(1346459984, 1)"

TABLES: LiteralString = """
CREATE TABLE IF NOT EXISTS ledger_schema (version integer PRIMARY KEY);
CREATE TABLE IF NOT EXISTS ledger_events (
    originator_id uuid NOT NULL,
    originator_version bigint NOT NULL,
    notification_id bigint NOT NULL,
    topic text NOT NULL,
    state bytea NOT NULL,
    PRIMARY KEY (originator_id, originator_version)
);
CREATE UNIQUE INDEX IF NOT EXISTS ledger_events_by_position ON ledger_events (notification_id);
CREATE TABLE IF NOT EXISTS ledger_batches (
    last bigint PRIMARY KEY,
    first bigint NOT NULL,
    count bigint NOT NULL CHECK (count = last - first + 1 AND count > 0),
    partition smallint NOT NULL,
    epoch bigint NOT NULL,
    hash bytea NOT NULL,
    chain bytea NOT NULL,
    written_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS ledger_checkpoints (size bigint PRIMARY KEY, note text NOT NULL);
CREATE TABLE IF NOT EXISTS ledger_snapshots (
    originator_id uuid PRIMARY KEY,
    originator_version bigint NOT NULL,
    topic text NOT NULL,
    state bytea NOT NULL
);
-- Epoch 0 belongs to whoever writes without a lease: the first lease fences it for ever.
CREATE TABLE IF NOT EXISTS ledger_leases (
    partition smallint PRIMARY KEY,
    epoch bigint NOT NULL,
    owner text NOT NULL,
    address text NOT NULL,
    expires_at timestamptz NOT NULL
);
INSERT INTO ledger_leases VALUES (0, 0, '', '', '-infinity') ON CONFLICT DO NOTHING;
"""

# Each statement of the body sees what was committed before it began (READ COMMITTED), so all that
# the lock protects is read after the lock is held.
CREATE_APPEND: LiteralString = """
CREATE OR REPLACE FUNCTION ledger_append(
    of_partition smallint, of_epoch bigint,
    ids uuid[], versions bigint[], topics text[], states bytea[], batch_hash bytea
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    held bigint;
    head bigint;
    previous bytea;
    made bigint := cardinality(ids);
BEGIN
    PERFORM pg_advisory_xact_lock(1346459984, 0);
    SELECT l.epoch, b.last, b.chain INTO held, head, previous
        FROM ledger_leases l
        LEFT JOIN (SELECT last, chain FROM ledger_batches ORDER BY last DESC LIMIT 1) b ON true
        WHERE l.partition = of_partition;
    IF held IS DISTINCT FROM of_epoch THEN
        RAISE EXCEPTION 'partition % is in epoch %, not %', of_partition, held, of_epoch
            USING ERRCODE = 'PH001';
    END IF;
    head := coalesce(head, 0);
    INSERT INTO ledger_events
        (originator_id, originator_version, notification_id, topic, state)
        SELECT e.id, e.version, head + e.ordinal, e.topic, e.state
        FROM unnest(ids, versions, topics, states)
            WITH ORDINALITY AS e (id, version, topic, state, ordinal);
    INSERT INTO ledger_batches (last, first, count, partition, epoch, hash, chain)
        VALUES (head + made, head + 1, made, of_partition, of_epoch, batch_hash,
            sha256(coalesce(previous, ''::bytea) || batch_hash
                || int8send(head + 1) || int8send(head + made)));
    PERFORM pg_notify('ledger_events', (head + made)::text);
    RETURN head + 1;
END
$$
"""

# Taking a lease waits behind the lock for the write under way: what the old owner wrote is there
# before the new one reads, and what comes later finds the epoch changed.
CREATE_LEASE: LiteralString = """
CREATE OR REPLACE FUNCTION ledger_lease(
    of_partition smallint, new_owner text, new_address text, ttl_ms bigint
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    taken bigint;
    until timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(1346459984, 0);
    until := clock_timestamp() + ttl_ms * interval '1 millisecond';
    INSERT INTO ledger_leases AS l VALUES (of_partition, 1, new_owner, new_address, until)
        ON CONFLICT (partition) DO UPDATE
            SET epoch = l.epoch + 1, owner = new_owner, address = new_address, expires_at = until
            WHERE l.expires_at < clock_timestamp() OR l.owner = new_owner
        RETURNING l.epoch INTO taken;
    RETURN taken;
END
$$
"""
LEASE: LiteralString = "SELECT ledger_lease(%s::smallint, %s::text, %s::text, %s::bigint)"
RENEW: LiteralString = (
    "UPDATE ledger_leases SET expires_at = clock_timestamp() + %s * interval '1 millisecond' "
    "WHERE partition = %s AND owner = %s RETURNING epoch"
)
RELEASE: LiteralString = (
    "UPDATE ledger_leases SET expires_at = '-infinity' "
    "WHERE partition = %s AND owner = %s RETURNING epoch"
)
HOLDER: LiteralString = (
    "SELECT epoch, owner, address FROM ledger_leases "
    "WHERE partition = %s AND expires_at >= clock_timestamp()"
)

READ_VERSION: LiteralString = "SELECT max(version) FROM ledger_schema"
WRITE_VERSION: LiteralString = "INSERT INTO ledger_schema VALUES (%s) ON CONFLICT DO NOTHING"

APPEND: LiteralString = (
    "SELECT ledger_append(%b::smallint, %b::bigint, %b::uuid[], %b::bigint[], %b::text[], "
    "%b::bytea[], %b::bytea)"
)
_COLUMNS: LiteralString = "notification_id, originator_id, originator_version, topic, state"
EVENTS_UP: LiteralString = (
    "SELECT originator_id, originator_version, topic, state FROM ledger_events "
    "WHERE originator_id = %s AND originator_version > %s AND originator_version <= %s "
    "ORDER BY originator_version LIMIT %s"
)
EVENTS_DOWN: LiteralString = EVENTS_UP.replace(
    "ORDER BY originator_version", "ORDER BY originator_version DESC"
)
NOTIFICATIONS: LiteralString = (
    f"SELECT {_COLUMNS} FROM ledger_events "  # noqa: S608 (constant columns)
    "WHERE notification_id >= %s AND notification_id <= %s "
    "AND (%s::text[] IS NULL OR topic = ANY(%s::text[])) ORDER BY notification_id LIMIT %s"
)
SCAN: LiteralString = (
    f"SELECT {_COLUMNS} FROM ledger_events WHERE notification_id > %s "  # noqa: S608 (constant columns)
    "ORDER BY notification_id LIMIT %s"
)
EXTENT: LiteralString = (
    "SELECT count(*), coalesce(min(notification_id), 0), coalesce(max(notification_id), 0) "
    "FROM ledger_events"
)
# The server makes the lines: it does so in half the time that Python needs to read the columns.
LINES: LiteralString = (
    "SELECT string_agg(line, ''::bytea) FROM (SELECT "
    """convert_to('{"originator_id":"' || originator_id || '","originator_version":' """
    """|| originator_version || ',"state":', 'UTF8') || state """
    """|| convert_to(',"topic":"' || topic || E'"}\\n', 'UTF8') AS line """
    "FROM ledger_events WHERE notification_id >= %s AND notification_id < %s "
    "ORDER BY notification_id) l"
)
HISTORY: LiteralString = (
    f"SELECT {_COLUMNS} FROM ledger_events WHERE originator_id = ANY(%s) "  # noqa: S608 (constant columns)
    "ORDER BY notification_id"
)
SINCE_EVENT: LiteralString = (
    f"SELECT {_COLUMNS} FROM ledger_events WHERE notification_id >= ("  # noqa: S608 (constant columns)
    "SELECT notification_id FROM ledger_events "
    "WHERE originator_id = %s AND originator_version = %s) ORDER BY notification_id LIMIT %s"
)
READ_LEASE: LiteralString = "SELECT epoch, owner FROM ledger_leases WHERE partition = %s FOR UPDATE"
RAISE_EPOCH: LiteralString = "UPDATE ledger_leases SET epoch = epoch + 1 WHERE partition = %s"
ADD_SNAPSHOTS: LiteralString = (
    "INSERT INTO ledger_snapshots SELECT * FROM unnest(%b::uuid[], %b::bigint[], %b::text[], "
    "%b::bytea[]) ON CONFLICT (originator_id) DO UPDATE SET "
    "originator_version = EXCLUDED.originator_version, topic = EXCLUDED.topic, "
    "state = EXCLUDED.state RETURNING originator_id"
)
SNAPSHOT: LiteralString = (
    "SELECT originator_id, originator_version, topic, state FROM ledger_snapshots "
    "WHERE originator_id = %s"
)
ADD_CHECKPOINT: LiteralString = (
    "INSERT INTO ledger_checkpoints VALUES (%s, %s) ON CONFLICT DO NOTHING RETURNING size"
)
PUT_CHECKPOINT: LiteralString = (
    "INSERT INTO ledger_checkpoints VALUES (%s, %s) "
    "ON CONFLICT (size) DO UPDATE SET note = EXCLUDED.note RETURNING size"
)
CHECKPOINTS: LiteralString = "SELECT size, note FROM ledger_checkpoints ORDER BY size"
CHECKPOINT: LiteralString = "SELECT note FROM ledger_checkpoints WHERE size = %s"
HEAD: LiteralString = "SELECT max(notification_id) FROM ledger_events"
