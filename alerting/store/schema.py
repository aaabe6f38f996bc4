"""The tables of the one SQLite file, by steps; `user_version` counts the steps done."""

from __future__ import annotations

import sqlite3

STEPS = (
    """
    CREATE TABLE subjects (
        key TEXT PRIMARY KEY,
        state TEXT NOT NULL,
        since REAL NOT NULL,
        well_since REAL NOT NULL,
        not_before REAL NOT NULL,
        cause TEXT,
        loss TEXT,
        detail TEXT NOT NULL,
        last_seen TEXT NOT NULL,
        evidence TEXT NOT NULL       -- JSON array of [at, text]
    ) WITHOUT ROWID;
    CREATE TABLE incidents (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        scope TEXT NOT NULL,
        role TEXT NOT NULL,
        title TEXT NOT NULL,
        labels TEXT NOT NULL,        -- JSON object
        family TEXT NOT NULL,
        rule TEXT NOT NULL,
        severity INTEGER NOT NULL,
        state TEXT NOT NULL,
        since REAL NOT NULL,
        opened_at REAL NOT NULL,
        resolved_at REAL,
        ended_at REAL,
        closed TEXT NOT NULL,
        cause TEXT,
        loss TEXT,
        detail TEXT NOT NULL,
        last_seen TEXT NOT NULL,
        evidence TEXT NOT NULL,      -- JSON array of [at, text]
        acknowledged_by TEXT NOT NULL
    );
    CREATE INDEX incidents_by_key ON incidents (key, opened_at);
    CREATE INDEX incidents_by_end ON incidents (resolved_at);
    CREATE TABLE deliveries (
        incident INTEGER NOT NULL REFERENCES incidents ON DELETE CASCADE,
        notifier TEXT NOT NULL,
        step INTEGER NOT NULL,
        "group" TEXT NOT NULL,
        wanted INTEGER NOT NULL,
        told INTEGER NOT NULL,
        telling INTEGER NOT NULL,
        thread TEXT NOT NULL,
        batch TEXT NOT NULL,
        not_before REAL NOT NULL,
        attempts INTEGER NOT NULL,
        error TEXT NOT NULL,
        dead INTEGER NOT NULL,
        PRIMARY KEY (incident, notifier, step)
    ) WITHOUT ROWID;
    CREATE INDEX deliveries_owed ON deliveries (incident)
        WHERE wanted <> told AND NOT dead;
    CREATE TABLE memos (name TEXT PRIMARY KEY, json TEXT NOT NULL) WITHOUT ROWID;
    """,
    """
    ALTER TABLE subjects ADD COLUMN answered INTEGER NOT NULL DEFAULT 0;
    UPDATE subjects SET answered = 1 WHERE state IN ('up', 'degraded')
        OR last_seen <> '';
    """,
    """
    CREATE TABLE history (
        n INTEGER PRIMARY KEY,       -- their order; the wall clock may be set back
        key TEXT NOT NULL,
        at REAL NOT NULL,
        state TEXT NOT NULL,
        cause TEXT,
        loss TEXT,
        why TEXT NOT NULL,
        contacts TEXT NOT NULL       -- JSON array of [uri, address, user agent]
    );
    CREATE INDEX history_by_key ON history (key);
    -- Not what is there already: after a restart everybody is seen as if anew.
    CREATE TRIGGER history_news BEFORE INSERT ON history WHEN EXISTS (
        SELECT 1 FROM history
        WHERE n = (SELECT max(n) FROM history WHERE key = NEW.key)
        AND state = NEW.state AND contacts = NEW.contacts
    ) BEGIN
        SELECT RAISE(IGNORE);        -- this row; the others are written
    END;
    -- Of a subject the last 50 rows, whatever it does.
    CREATE TRIGGER history_bound AFTER INSERT ON history BEGIN
        DELETE FROM history WHERE key = NEW.key AND n <= (
            SELECT n FROM history WHERE key = NEW.key
            ORDER BY n DESC LIMIT 1 OFFSET 50
        );
    END;
    """,
    """
    ALTER TABLE incidents ADD COLUMN part_of INTEGER;
    ALTER TABLE incidents ADD COLUMN crowd TEXT;     -- JSON object
    """,
    """
    ALTER TABLE incidents ADD COLUMN acknowledged_at REAL;
    ALTER TABLE incidents ADD COLUMN note TEXT NOT NULL DEFAULT '';
    """,
    """
    ALTER TABLE incidents ADD COLUMN terms TEXT;     -- JSON array
    CREATE TABLE attempts (
        incident INTEGER NOT NULL REFERENCES incidents ON DELETE CASCADE,
        notifier TEXT NOT NULL,
        step INTEGER NOT NULL,
        batch TEXT NOT NULL,
        telling INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        begun REAL NOT NULL,
        at REAL NOT NULL,
        outcome TEXT NOT NULL,
        error TEXT NOT NULL,
        PRIMARY KEY (incident, notifier, step, batch)
    ) WITHOUT ROWID;
    -- Of an incident the last 100 batches, however long it is repeated.
    CREATE TRIGGER attempts_bound AFTER INSERT ON attempts BEGIN
        DELETE FROM attempts WHERE incident = NEW.incident AND begun < (
            SELECT begun FROM attempts WHERE incident = NEW.incident
            ORDER BY begun DESC LIMIT 1 OFFSET 99
        );
    END;
    CREATE TABLE trail (
        n INTEGER PRIMARY KEY,       -- their order; the wall clock may be set back
        key TEXT NOT NULL,
        at REAL NOT NULL,
        what TEXT NOT NULL,
        rule TEXT NOT NULL,
        text TEXT NOT NULL,
        incident INTEGER
    );
    CREATE INDEX trail_by_key ON trail (key);
    -- Of a subject the last 50 rows, whatever it does.
    CREATE TRIGGER trail_bound AFTER INSERT ON trail BEGIN
        DELETE FROM trail WHERE key = NEW.key AND n <= (
            SELECT n FROM trail WHERE key = NEW.key
            ORDER BY n DESC LIMIT 1 OFFSET 50
        );
    END;
    """,
    """
    ALTER TABLE subjects ADD COLUMN next_step TEXT NOT NULL DEFAULT '';
    ALTER TABLE incidents ADD COLUMN next_step TEXT NOT NULL DEFAULT '';
    """,
    """
    ALTER TABLE incidents ADD COLUMN instead TEXT NOT NULL DEFAULT '[]';
    """,
    """
    CREATE TABLE charted (           -- of whom there are points
        n INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        hour INTEGER NOT NULL        -- the last that has some, since 1970
    );
    -- The hour first: what is written in a minute lies in neighbouring pages.
    CREATE TABLE minutes (
        hour INTEGER NOT NULL,
        subject INTEGER NOT NULL,
        points BLOB NOT NULL,
        PRIMARY KEY (hour, subject)
    ) WITHOUT ROWID;
    CREATE TABLE quarters (
        hour INTEGER NOT NULL,
        subject INTEGER NOT NULL,
        points BLOB NOT NULL,
        PRIMARY KEY (hour, subject)
    ) WITHOUT ROWID;
    """,
    """
    DROP TRIGGER history_bound;
    -- Of a subject 50 rows: of more, the oldest goes in which nothing changed but its
    -- contacts, else the oldest. The newest stays: it says how the subject stands.
    CREATE TRIGGER history_bound AFTER INSERT ON history WHEN 50 < (
        SELECT count(*) FROM history WHERE key = NEW.key
    ) BEGIN
        DELETE FROM history WHERE n = coalesce((
            SELECT n FROM history AS it WHERE key = NEW.key AND n < NEW.n
            AND state = (
                SELECT state FROM history WHERE key = NEW.key AND n < it.n
                ORDER BY n DESC LIMIT 1
            )
            ORDER BY n LIMIT 1
        ), (SELECT min(n) FROM history WHERE key = NEW.key));
    END;
    """,
)


def migrate(connection: sqlite3.Connection) -> None:
    """Take the steps that a file has not seen; each is one transaction."""
    (done,) = connection.execute("PRAGMA user_version").fetchone()
    if done > len(STEPS):
        raise sqlite3.DatabaseError(
            f"was written by a later version (step {done}, known are {len(STEPS)})"
        )
    for number, step in enumerate(STEPS[done:], done + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {step} PRAGMA user_version = {number}; COMMIT;"
        )
