"""The rows of the core as SQL, and back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass, fields
from operator import attrgetter
from typing import Any

import msgspec

from alerting.incident import Above, Crowd, Severity, Terms, Told
from alerting.store.rows import (
    AttemptRow,
    Charted,
    DeliveryRow,
    DropCharted,
    DropDelivery,
    DropHistory,
    DropMemo,
    DropMinutes,
    DropQuarters,
    DropSubject,
    HistoryFill,
    HistoryRow,
    IncidentRow,
    Memo,
    MinutesRow,
    Note,
    Prune,
    PruneTrail,
    QuartersRow,
    SubjectRow,
    TrailRow,
    What,
    Write,
)
from checks.observation import Cause, Fact, Kind, Loss, Place, State

Key = tuple[Any, ...]  # a later write under the same key replaces an earlier one


@dataclass(frozen=True, slots=True)
class Statement:
    """How one type of write is kept apart, and done."""

    sql: str
    key: Callable[[Any], Key]
    values: Callable[[Any], tuple[Any, ...]]

    def of_many(self, rows: int) -> str:
        """The same for so many rows at once; "" where it is none of values."""
        head, values, tail = self.sql.partition(" VALUES (")
        if not values:
            return ""
        row, _, rest = tail.partition(")")
        return f"{head} VALUES {', '.join([f'({row})'] * rows)}{rest}"


def _columns(row: type[SubjectRow] | type[IncidentRow] | type[DeliveryRow]) -> str:
    return ", ".join(f'"{field.name}"' for field in fields(row))


def _upsert(
    table: str,
    row: type[SubjectRow] | type[IncidentRow] | type[DeliveryRow],
    primary: tuple[str, ...],
) -> str:
    # Not REPLACE, which would delete the old row and with it its deliveries.
    names = [field.name for field in fields(row)]
    updates = ", ".join(f'"{n}" = excluded."{n}"' for n in names if n not in primary)
    return (
        f"INSERT INTO {table} ({_columns(row)}) "  # noqa: S608  # our own names
        f"VALUES ({', '.join('?' * len(names))}) "
        f"ON CONFLICT ({', '.join(primary)}) DO UPDATE SET {updates}"
    )


def _json(value: object) -> str:
    try:
        return str(msgspec.json.encode(value), "utf-8")
    except UnicodeEncodeError:  # half a character, which JSON can only escape
        return json.dumps(value)


def _subject_values(row: SubjectRow) -> tuple[Any, ...]:
    """Of each extension in a first list, so it is quick."""
    values = dict(zip(_SUBJECT_NAMES, _SUBJECT(row), strict=True))
    values["evidence"] = _json(row.evidence) if row.evidence else "[]"
    return tuple(values.values())


def _incident_values(row: IncidentRow) -> tuple[Any, ...]:
    values = {field.name: getattr(row, field.name) for field in fields(row)}
    values["evidence"] = json.dumps(row.evidence)
    values["labels"] = json.dumps(row.labels)
    values["instead"] = json.dumps(row.instead)
    values["crowd"] = json.dumps(asdict(row.crowd)) if row.crowd else None
    values["terms"] = json.dumps(row.terms) if row.terms else None
    return tuple(values.values())


def _history_values(row: HistoryRow) -> tuple[Any, ...]:
    contacts = _json(row.contacts) if row.contacts else "[]"
    return row.key, row.at, row.state, row.cause, row.loss, row.why, contacts


def _points_of(table: str) -> str:
    return (
        f"INSERT INTO {table} (hour, subject, points) "  # noqa: S608  # our own names
        "SELECT ?, n, ? FROM charted WHERE key = ? "
        "ON CONFLICT (hour, subject) DO UPDATE SET points = excluded.points"
    )


_SUBJECT_NAMES = [field.name for field in fields(SubjectRow)]
_SUBJECT = attrgetter(*_SUBJECT_NAMES)

STATEMENTS: dict[type, Statement] = {
    SubjectRow: Statement(
        _upsert("subjects", SubjectRow, ("key",)),
        lambda w: ("subject", w.key),
        _subject_values,
    ),
    DropSubject: Statement(
        "DELETE FROM subjects WHERE key = ?",
        lambda w: ("subject", w.key),
        astuple,
    ),
    IncidentRow: Statement(
        _upsert("incidents", IncidentRow, ("id",)),
        lambda w: ("incident", w.id),
        _incident_values,
    ),
    DeliveryRow: Statement(
        _upsert("deliveries", DeliveryRow, ("incident", "notifier", "step")),
        lambda w: ("delivery", w.incident, w.notifier, w.step),
        astuple,
    ),
    DropDelivery: Statement(
        "DELETE FROM deliveries WHERE incident = ? AND notifier = ? AND step = ?",
        lambda w: ("delivery", w.incident, w.notifier, w.step),
        astuple,
    ),
    Memo: Statement(
        "INSERT INTO memos VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET json = excluded.json",
        lambda w: ("memo", w.name),
        astuple,
    ),
    DropMemo: Statement(
        "DELETE FROM memos WHERE name = ?",
        lambda w: ("memo", w.name),
        astuple,
    ),
    Prune: Statement(
        "DELETE FROM incidents WHERE resolved_at < ? AND id <> "
        "(SELECT max(id) FROM incidents)",  # the next id is counted from it
        lambda w: ("prune",),
        astuple,
    ),
    AttemptRow: Statement(
        "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (incident, notifier, step, batch) DO UPDATE SET "
        "attempts = excluded.attempts, at = excluded.at, "
        "outcome = excluded.outcome, error = excluded.error",
        lambda w: ("attempt", w.incident, w.notifier, w.step, w.batch),
        astuple,
    ),
    TrailRow: Statement(
        "INSERT INTO trail (key, at, what, rule, text, incident) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        lambda w: ("trail", w.key, w.at, w.what, w.rule, w.text, w.incident),
        astuple,
    ),
    PruneTrail: Statement(
        "DELETE FROM trail WHERE at < ?",
        lambda w: ("prune trail",),
        astuple,
    ),
    HistoryRow: Statement(
        "INSERT INTO history (key, at, state, cause, loss, why, contacts) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        lambda w: ("history", w.key, w.at),
        _history_values,
    ),
    HistoryFill: Statement(
        "UPDATE history SET contacts = ?2 "
        "WHERE n = (SELECT max(n) FROM history WHERE key = ?1)",
        lambda w: ("history", w.key),
        lambda w: (w.key, _json(w.contacts)),
    ),
    DropHistory: Statement(
        "DELETE FROM history WHERE n = ?",
        lambda w: ("history", w.number),
        astuple,
    ),
    Charted: Statement(
        "INSERT INTO charted (key, hour) VALUES (?, ?) "
        "ON CONFLICT (key) DO UPDATE SET hour = max(hour, excluded.hour)",
        lambda w: ("charted", w.key),
        astuple,
    ),
    MinutesRow: Statement(
        _points_of("minutes"),
        lambda w: ("minutes", w.hour, w.key),
        lambda w: (w.hour, w.points, w.key),
    ),
    QuartersRow: Statement(
        _points_of("quarters"),
        lambda w: ("quarters", w.hour, w.key),
        lambda w: (w.hour, w.points, w.key),
    ),
    DropMinutes: Statement(
        "DELETE FROM minutes WHERE hour = ? "
        "AND subject = (SELECT n FROM charted WHERE key = ?)",
        lambda w: ("minutes", w.hour, w.key),
        lambda w: w,
    ),
    DropQuarters: Statement(
        "DELETE FROM quarters WHERE hour = ?",
        lambda w: ("quarters", w.hour),
        astuple,
    ),
    DropCharted: Statement(
        "DELETE FROM charted WHERE hour < ?",
        lambda w: ("charted",),
        astuple,
    ),
}


def key_of(write: Write | Note) -> Key:
    """Under which key a write is coalesced with others."""
    return STATEMENTS[type(write)].key(write)


SUBJECTS = f"SELECT {_columns(SubjectRow)} FROM subjects"  # noqa: S608
# Open, or so lately closed that it may recur or is not fully told.
_WANTED = """
    resolved_at IS NULL
    OR resolved_at > (SELECT max(resolved_at) FROM incidents) - 7200
    OR id IN (SELECT incident FROM deliveries WHERE wanted <> told AND NOT dead)
"""
INCIDENTS = (
    f"SELECT {_columns(IncidentRow)} FROM incidents "  # noqa: S608
    f"WHERE {_WANTED} ORDER BY id"
)
DELIVERIES = (
    f"SELECT {_columns(DeliveryRow)} FROM deliveries "  # noqa: S608
    f"WHERE incident IN (SELECT id FROM incidents WHERE {_WANTED}) "
    "ORDER BY incident, step, notifier"
)


HISTORY = (
    "SELECT key, at, state, cause, loss, why, contacts FROM history "
    "WHERE key = ? ORDER BY n"
)
# The last row of a subject stays, however old: it says how the subject stands.
OLD_HISTORY = (
    "SELECT n FROM history WHERE at < ? "
    "AND n < (SELECT max(n) FROM history AS of_it WHERE of_it.key = history.key)"
)
INCIDENT = f"SELECT {_columns(IncidentRow)} FROM incidents WHERE id = ?"  # noqa: S608
# What is not asked for is empty, or null.
_PAST = """
    resolved_at IS NOT NULL
    AND (:severity = 0 OR severity = :severity)
    AND (:rule = '' OR rule = :rule)
    AND (
        :registrar = ''
        OR coalesce(json_extract(labels, '$.registrar'), '') = :registrar
    )
    AND (:site = '' OR coalesce(json_extract(labels, '$.site'), '') = :site)
    AND (:since IS NULL OR opened_at >= :since)
    AND (:search = '' OR instr(
        lower(name || char(10) || title || char(10) || detail || char(10) || last_seen),
        :search))
"""
PAST = (
    f"SELECT {_columns(IncidentRow)} FROM incidents "  # noqa: S608
    f"WHERE id < :before AND {_PAST} ORDER BY id DESC LIMIT :most"
)
PAST_COUNT = f"SELECT count(*) FROM incidents WHERE {_PAST}"  # noqa: S608
OUTBOX_OF = (
    f"SELECT {_columns(DeliveryRow)} FROM deliveries "  # noqa: S608
    "WHERE incident = ? ORDER BY step, notifier"
)
ATTEMPTS_OF = "SELECT * FROM attempts WHERE incident = ? ORDER BY begun, notifier"
TRAIL = "SELECT key, at, what, rule, text, incident FROM trail WHERE key = ? ORDER BY n"
HISTORY_KEYS = "SELECT key, max(at) FROM history GROUP BY key"
HISTORY_OF_KEY = "SELECT n FROM history WHERE key = ?"
# An hour in one look: neighbouring pages.
MINUTES_OF_HOUR = (
    "SELECT key, points FROM minutes JOIN charted ON n = subject WHERE minutes.hour = ?"
)
QUARTERS_OF_HOUR = (
    "SELECT key, points FROM quarters JOIN charted ON n = subject "
    "WHERE quarters.hour = ?"
)
FIRST_MINUTES = "SELECT min(hour) FROM minutes"
FIRST_QUARTERS = "SELECT min(hour) FROM quarters"
CHARTED = "SELECT n FROM charted WHERE key = ?"
MINUTES_AT = "SELECT points FROM minutes WHERE hour = ? AND subject = ?"
QUARTERS_AT = "SELECT points FROM quarters WHERE hour = ? AND subject = ?"


def _why(row: sqlite3.Row) -> dict[str, Any]:
    """The columns that subjects and incidents have in common, as they were."""
    return dict(row) | {
        "state": State(row["state"]),
        "cause": Cause(row["cause"]) if row["cause"] else None,
        "loss": Loss(row["loss"]) if row["loss"] else None,
        "evidence": tuple(Fact(*fact) for fact in json.loads(row["evidence"])),
    }


def subject_row(row: sqlite3.Row) -> SubjectRow:
    """A subject's state as stored."""
    return SubjectRow(**_why(row) | {"answered": bool(row["answered"])})


def incident_row(row: sqlite3.Row) -> IncidentRow:
    """An incident as stored."""
    values = _why(row)
    values["kind"] = Kind(row["kind"])
    values["labels"] = json.loads(row["labels"])
    values["instead"] = tuple(json.loads(row["instead"]))
    values["severity"] = Severity(row["severity"])
    values["crowd"] = _crowd(json.loads(row["crowd"])) if row["crowd"] else None
    values["terms"] = _terms(json.loads(row["terms"])) if row["terms"] else None
    return IncidentRow(**values)


def _crowd(kept: dict[str, Any]) -> Crowd:
    listed = tuple(Fact(*fact) for fact in kept.pop("listed"))
    return Crowd(**kept | {"through": tuple(kept["through"])}, listed=listed)


def _terms(kept: list[Any]) -> Terms:
    *moments, above = kept
    return Terms._make([*moments, tuple(Above(*one) for one in above)])


def attempt_row(row: sqlite3.Row) -> AttemptRow:
    """What came of a batch, as stored."""
    return AttemptRow(**dict(row) | {"telling": Told(row["telling"])})


def trail_row(row: sqlite3.Row) -> TrailRow:
    """A row of the trail as stored."""
    return TrailRow(**dict(row) | {"what": What(row["what"])})


def delivery_row(row: sqlite3.Row) -> DeliveryRow:
    """An outbox row as stored."""
    values = dict(row)
    for name in ("wanted", "told", "telling"):
        values[name] = Told(row[name])
    values["dead"] = bool(row["dead"])
    return DeliveryRow(**values)


def history_row(row: sqlite3.Row) -> HistoryRow:
    """How a subject stood since a moment."""
    return HistoryRow(
        key=row["key"],
        at=row["at"],
        state=State(row["state"]),
        cause=Cause(row["cause"]) if row["cause"] else None,
        loss=Loss(row["loss"]) if row["loss"] else None,
        why=row["why"],
        contacts=tuple(Place(*place) for place in json.loads(row["contacts"])),
    )
