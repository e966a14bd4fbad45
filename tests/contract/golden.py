"""The golden catalogue of events: read from the code, and written beside it for ever.

`python -m tests.contract.golden` (or `make specs`) adds what is new to `specs/events.json` and
`specs/vectors/events.jsonl`. It never takes anything away: what was stored once is read for ever.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints
from uuid import UUID

from eventsourcing.utils import get_topic

from domain.aggregate import LedgerEvent, derive_id, instant
from domain.ledger import AGGREGATES, DERIVED_FIELDS
from domain.merkle import leaf_hash
from domain.money import NOTHING, Microcredits
from domain.postings import Postings, following
from domain.record import Record
from tests.fakes.stored import encode

SPECS = Path(__file__).parents[2] / "specs"
CATALOGUE = SPECS / "events.json"
VECTORS = SPECS / "vectors" / "events.jsonl"
TYPES: dict[object, str] = {
    int: "integer",
    str: "string",
    bool: "boolean",
    UUID: "uuid",
    Microcredits: "microcredits",
    UUID | None: "uuid or null",
    tuple[UUID, ...]: "list of uuid",
    Postings: "postings",
}
ADVICE = """
The events in the code and specs/events.json disagree. Stored events are a file format: what a
customer was billed with must be readable for ever. So:
  - a new event, or a new class version with its upcast: run `python -m tests.contract.golden`,
    read the diff of specs/, and commit it with the code;
  - a topic, a field or a type that changed or is gone: put it back. Add a new event instead, or a
    new field together with `class_version` and `upcast_vN_vM` (specs/ledger.md, section 2).
"""


def event_classes() -> Iterator[tuple[str, type[LedgerEvent]]]:
    """Every event of every aggregate, with the topic of its aggregate."""
    for aggregate in AGGREGATES:
        for member in vars(aggregate).values():
            if isinstance(member, type) and issubclass(member, LedgerEvent):
                if member is aggregate.Event:
                    continue
                yield aggregate.TOPIC, member


def catalogue() -> dict[str, dict[str, Any]]:
    """Topic -> class version, fields, and the versions that added some, as the code has them."""
    found = {}
    for _, event_class in event_classes():
        hints = get_type_hints(event_class)
        names = [f.name for f in fields(event_class) if f.name not in DERIVED_FIELDS]
        found[get_topic(event_class)] = {
            "class_version": getattr(event_class, "class_version", 1),
            "fields": {name: TYPES[hints[name]] for name in sorted(names)},
        }
        since = added_since(event_class)
        if since:
            found[get_topic(event_class)]["since"] = since
    return dict(sorted(found.items()))


def added_since(event_class: type) -> dict[str, int]:
    """Fields that an event did not have from the start, and the class version that added each."""
    newest = getattr(event_class, "class_version", 1)
    return {
        name: version
        for version in range(2, newest + 1)
        for name in getattr(event_class, f"ADDED_IN_V{version}")
    }


def read_catalogue() -> dict[str, dict[str, Any]]:
    stored: dict[str, dict[str, Any]] = json.loads(CATALOGUE.read_text("utf-8"))["events"]
    return stored


def read_vectors() -> list[dict[str, Any]]:
    return [json.loads(line) for line in VECTORS.read_text("utf-8").splitlines()]


def examples(event_class: type[LedgerEvent]) -> Iterator[Record]:
    """The event with every field filled, with what may be absent absent, with an amount of none."""
    hints = get_type_hints(event_class)
    names = [f.name for f in fields(event_class) if f.name not in DERIVED_FIELDS]
    yield _example(event_class, {n: _value(get_topic(event_class), n, hints[n]) for n in names})
    if any(hints[n] == UUID | None for n in names):
        values = {
            n: None if hints[n] == UUID | None else _value(get_topic(event_class), n, hints[n])
            for n in names
        }
        yield _example(event_class, values)
    amounts = [n for n in names if hints[n] == Microcredits]
    if "postings" in names:
        values = {n: _value(get_topic(event_class), n, hints[n]) for n in names}
        yield _example(event_class, values | {max(amounts): NOTHING})


def _example(event_class: type[LedgerEvent], values: dict[str, object]) -> Record:
    topic = get_topic(event_class)
    account_id = derive_id("golden", topic)
    if "postings" in values:
        plain = {n: v.value if isinstance(v, Microcredits) else v for n, v in values.items()}
        values = values | {"postings": following(topic, account_id, plain)}
    event = object.__new__(event_class)
    vars(event).update(
        values,
        originator_id=account_id,
        originator_version=1,
        timestamp=instant(0),
    )
    return encode(event, position=1)


def _value(topic: str, name: str, hint: object) -> object:
    if hint is int:
        return 1_700_000_000_123 if name.endswith("_ms") else 60_000
    if hint is str:
        return f'{name}: "ä\u20ac\n\U0001f4de"'
    if hint is bool:
        return True
    if hint is Microcredits:
        return Microcredits(123_456)
    one, two = derive_id("golden", f"{topic}.{name}"), derive_id("golden", f"{topic}.{name}.2")
    return (one, two) if hint == tuple[UUID, ...] else one


def vector(record: Record, class_version: int) -> dict[str, object]:
    return {
        "topic": record.topic,
        "class_version": class_version,
        "originator_id": str(record.originator_id),
        "originator_version": record.originator_version,
        "state": record.state.decode(),
        "leaf_sha256": leaf_hash(record.leaf).hex(),
    }


def losses(old: dict[str, dict[str, Any]], new: dict[str, dict[str, Any]]) -> list[str]:
    """What `new` takes away from `old`; nothing may be."""
    found = []
    for topic, before in old.items():
        after = new.get(topic)
        if after is None:
            found.append(f"{topic} is gone")
            continue
        for name, kind in before["fields"].items():
            if after["fields"].get(name) != kind:
                found.append(f"{topic}.{name} was {kind}, is {after['fields'].get(name)}")
        if after["class_version"] < before["class_version"]:
            found.append(f"{topic} went back to class version {after['class_version']}")
        elif before != after and after["class_version"] == before["class_version"]:
            found.append(f"{topic} changed without a new class_version")
    return found


def main() -> int:
    now = catalogue()
    lost = losses(read_catalogue() if CATALOGUE.exists() else {}, now)
    if lost:
        sys.stderr.write("\n".join([*lost, ADVICE]))
        return 1
    about = "Every event that may be stored. Append-only; written by tests/contract/golden.py."
    CATALOGUE.write_text(json.dumps({"about": about, "events": now}, indent=2) + "\n", "utf-8")
    VECTORS.parent.mkdir(exist_ok=True)
    known = read_vectors() if VECTORS.exists() else []
    seen = {(v["topic"], v["class_version"]) for v in known}
    for _, event_class in event_classes():
        version = getattr(event_class, "class_version", 1)
        if (get_topic(event_class), version) not in seen:
            known += [vector(record, version) for record in examples(event_class)]
    lines = [json.dumps(v, ensure_ascii=False) + "\n" for v in known]
    VECTORS.write_text("".join(lines), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
