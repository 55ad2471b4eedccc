"""The profile store: every measurement ever made, in one SQLite file that several processes may use at once.

Rows are appended; only the run that wrote one may replace it. The file lives in the user's cache folder;
PATHWEAVE_HOME moves it. Write-ahead logging, a busy timeout and one transaction per `add` keep it whole when processes
compete or are killed.
Source: https://www.sqlite.org/wal.html
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import sys
import threading
import time
from array import array
from dataclasses import replace
from pathlib import Path
from typing import Collection, Iterable, Iterator, Mapping, TypeAlias

from ..errors import Error, ModelError, ProfileError, StoreError
from ..files.home import home
from ..locks import lock
from .about import About
from .devices import base, fits, for_one_thread
from .measurement import Key, Measurement, merge, read_lines, write_lines

#: Schema written and read; kept in `PRAGMA user_version`. APPLICATION marks the file as ours.
SCHEMA = 1
APPLICATION = 0x50574156
BUSY_SECONDS = 30.0
#: Result codes of SQLite, which the module has names for from Python 3.11 on. Source: https://www.sqlite.org/rescode.html
_BUSY, _LOCKED, _CORRUPT, _FULL, _NOT_A_DATABASE = 5, 6, 11, 13, 26

_TABLES = """
CREATE TABLE host (id TEXT PRIMARY KEY, facts TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE subject (id INTEGER PRIMARY KEY, host TEXT NOT NULL, problem TEXT NOT NULL, routine TEXT NOT NULL,
                      version INTEGER NOT NULL, variant TEXT NOT NULL, about TEXT NOT NULL DEFAULT '',
                      UNIQUE (host, problem, routine, version, variant));
CREATE TABLE measurement (id TEXT PRIMARY KEY, subject INTEGER NOT NULL REFERENCES subject, protocol INTEGER NOT NULL,
                          at REAL NOT NULL, samples BLOB NOT NULL, median REAL NOT NULL, p10 REAL NOT NULL,
                          spread REAL NOT NULL, count INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX measurement_subject ON measurement (subject);
"""
_SELECT = ("SELECT s.host, s.problem, s.routine, s.version, s.variant, m.samples, m.at, m.protocol, m.id, "
           "s.about "
           "FROM measurement m JOIN subject s ON s.id = m.subject")
#: Measurements of a host, on whatever devices; its parameters are those of `_of_host`.
_OF_HOST = "(s.host = ? OR substr(s.host, 1, ?) = ?)"
_abandoned: list[sqlite3.Connection] = []  # of a parent process: SQLite forbids to touch, even to close, them


def default_path() -> Path:
    """The store's file."""
    return home() / "profile.sqlite"


class Store:
    """An open store. Safe to share between threads, and to carry over a fork.

    `path`: the file, or None in memory. `warning`: why it is in memory although a file was wanted, else "".
    """

    def __init__(self, path: Path | None, warning: str = ""):
        self.path, self.warning = path, warning
        self._lock = lock(threading.RLock)
        self._connection: sqlite3.Connection | None = None
        self._pid = 0

    @classmethod
    def open(cls, path: str | os.PathLike | None = None, memory_if_unwritable: bool = False) -> "Store":
        """Open or make the store at `path` (default: `default_path()`).

        Raises StoreError when it cannot be opened for writing, is damaged, or is of another version; with
        `memory_if_unwritable` the answer is then an empty store in memory whose `warning` holds the reason.
        """
        store = cls(Path(os.path.abspath(path)) if path is not None else default_path())
        try:
            with store._use("opened"):
                pass
        except StoreError as e:
            if not memory_if_unwritable:
                raise
            store = cls.memory(f"measurements of this process are not kept: {e}")
        return store

    @classmethod
    def memory(cls, warning: str = "") -> "Store":
        """An empty store that ends with the process."""
        store = cls(None, warning)
        with store._use("opened"):
            pass
        return store

    def close(self) -> None:
        """Close the file; the next use opens it again (a store in memory is lost)."""
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                with contextlib.suppress(sqlite3.Error):
                    self._connection.close()
            self._connection = None

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- verbs ------------------------------------------------------------------------------------------------------

    def add(self, measurements: Iterable[Measurement], hosts: Mapping[str, dict] | None = None,
            replace: bool = False) -> int:
        """Append measurements in one transaction, all or none; returns how many were written.

        `hosts`: host id -> its facts, kept for people to read. One whose id is there already is left as it is, or takes
        its place with `replace`: for the run that wrote it and knows more now. On return they survive a kill.
        Raises StoreError, ProfileError for a malformed measurement.
        """
        checked = [m.check() for m in measurements]
        try:
            described = {h: json.dumps(facts, sort_keys=True, allow_nan=False) for h, facts in (hosts or {}).items()}
        except (TypeError, ValueError) as e:
            raise ProfileError(f"host facts: expected plain JSON data, got {e}; convert them before adding") from None
        with self._transaction("written") as db:
            _insert_hosts(db, described)
            return sum(_insert(db, m, replace) for m in checked)

    def lookup(self, host: str, problems: Iterable[object] | None = None,
               devices: Collection[str] | None = None) -> dict[Key, Measurement]:
        """Everything known on `host` about `problems` (texts or Problems; None = all), samples of all runs merged.

        `devices`: tags of devices (`NAME=ID`) and of sessions (`devices.Devices.current`); what touches another device is left
        out (None: the newest of each counts), and what was measured beside another number of sessions.
        Only samples of the newest protocol that a key has. Raises StoreError.
        """
        found: list[Measurement] = []
        with self._use("read") as db:
            if problems is None:
                found += _measurements(db.execute(f"{_SELECT} WHERE {_OF_HOST}", _of_host(host)))
            else:
                texts = list(dict.fromkeys(map(str, problems)))
                asked = list(dict.fromkeys([*texts, *map(for_one_thread, texts)]))
                for i in range(0, len(asked), 500):
                    part = asked[i:i + 500]
                    marks = ",".join("?" * len(part))
                    found += _measurements(db.execute(f"{_SELECT} WHERE {_OF_HOST} AND s.problem IN ({marks})",
                                                      (*_of_host(host), *part)))
                found = list(_for_threads(found, texts))
        return merge(m for m in found if fits(m.host, devices))

    def hosts(self) -> dict[str, dict]:
        """Host id -> {"facts": what is known about it, "measurements": count}."""
        with self._use("read") as db:
            counts = dict(db.execute("SELECT s.host, count(*) FROM measurement m JOIN subject s ON s.id = m.subject "
                                     "GROUP BY s.host"))
            facts = {h: json.loads(text) for h, text in db.execute("SELECT id, facts FROM host")}
        return {h: {"facts": facts.get(h, {}), "measurements": counts.get(h, 0)} for h in sorted({*counts, *facts})}

    def export(self, path: str | os.PathLike, host: str | None = None) -> int:
        """Write every measurement (of `host`) as JSON Lines, atomically; returns how many. Raises StoreError."""
        from ..files.model import atomic_writer
        with self._use("read") as db:
            where, values = (f" WHERE {_OF_HOST}", _of_host(host)) if host else ("", ())
            facts = {h: json.loads(text) for h, text in db.execute("SELECT id, facts FROM host ORDER BY id")
                     if host in (None, h, base(h))}
            rows = db.execute(f"{_SELECT}{where} ORDER BY s.host, m.at, m.id", values)
            try:
                with atomic_writer(path) as f:
                    return write_lines(f, _measurements(rows), facts)
            except OSError as e:
                raise StoreError(f"{path}: the export cannot be written ({e.strerror or e}); "
                                 f"choose a writable folder with free space") from e

    def import_(self, path: str | os.PathLike) -> int:
        """Read what `export` or `Profile.save` wrote, all or nothing; returns how many measurements were new.

        Measurements keep their host. Raises ProfileError naming the first bad line, StoreError.
        """
        try:
            with open(path, "rb") as f, self._transaction("written") as db:
                count = 0
                for item in read_lines(f, str(path)):
                    if isinstance(item, tuple):
                        _insert_hosts(db, {item[0]: json.dumps(item[1], sort_keys=True)})
                    else:
                        count += _insert(db, item)
                return count
        except Error:
            raise
        except (OSError, ValueError) as e:  # ValueError: what is no name of a file
            raise StoreError(f"{path}: cannot be read ({getattr(e, 'strerror', None) or e}); check the path") from e

    def clear(self, host: str | None = None, problems: Iterable[object] | None = None) -> int:
        """Forget measurements (of `host`, of `problems`; default: all); returns how many. Raises StoreError."""
        with self._transaction("written") as db:
            db.execute("CREATE TEMP TABLE IF NOT EXISTS chosen (problem TEXT PRIMARY KEY)")
            db.execute("DELETE FROM chosen")
            condition, values = (_OF_HOST.replace("s.", ""), [*_of_host(host)]) if host is not None else ("1", [])
            if problems is not None:
                db.executemany("INSERT OR IGNORE INTO chosen VALUES (?)", ((str(p),) for p in problems))
                condition += " AND problem IN (SELECT problem FROM chosen)"
            chosen = f"(SELECT id FROM subject WHERE {condition})"
            count = db.execute(f"DELETE FROM measurement WHERE subject IN {chosen}", values).rowcount
            db.execute(f"DELETE FROM subject WHERE {condition}", values)
            if problems is None:
                db.execute("DELETE FROM host" + (f" WHERE {_OF_HOST.replace('s.host', 'id')}" if host is not None else ""),
                           values)
            return count

    # ---- the connection ---------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _transaction(self, verb: str) -> Iterator[sqlite3.Connection]:
        """The connection inside a write transaction, committed when the block ends well."""
        with self._use(verb) as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _use(self, verb: str) -> Iterator[sqlite3.Connection]:
        """The connection, opened when needed, with SQLite's errors turned into StoreError."""
        with self._lock:
            try:
                if self._connection is None or (self._pid != os.getpid() and self.path is not None):
                    if self._connection is not None:
                        _abandoned.append(self._connection)
                    self._connection, self._pid = None, os.getpid()
                    self._connection = _connect(self.path)
                yield self._connection
            except (sqlite3.Error, OSError, ValueError, TypeError) as e:
                if isinstance(e, (StoreError, ProfileError, ModelError)):
                    raise
                raise StoreError(_explain(self.path, verb, e)) from e


def _explain(path: Path | None, verb: str, e: Exception) -> str:
    """What went wrong with the store and what to do about it."""
    reason = getattr(e, "strerror", None) or str(e) or type(e).__name__
    code = getattr(e, "sqlite_errorcode", 0) & 0xff
    if code in (_BUSY, _LOCKED):
        advice = f"another process has held it for {BUSY_SECONDS:g} s: try again when it has ended"
    elif code == _FULL:
        advice = "free some disk space, or set PATHWEAVE_HOME to a folder that has some"
    elif code in (_CORRUPT, _NOT_A_DATABASE) or isinstance(e, (ValueError, TypeError)):
        advice = ("the file is damaged: delete it (its measurements are made again), "
                  "or set PATHWEAVE_HOME to another folder")
    else:
        advice = "set PATHWEAVE_HOME to a folder that you may write"
    return f"profile store {path or 'in memory'}: cannot be {verb} ({reason}); {advice}"


def _connect(path: Path | None) -> sqlite3.Connection:
    """An open connection to a store of this schema, made when there is none. Raises StoreError, sqlite3.Error."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # SQLite takes such a stump for an empty database. Not opened here: closing it would drop SQLite's locks.
        if path.exists() and 0 < path.stat().st_size < 512:
            raise ValueError("the file is too short for a database")
    db = sqlite3.connect(path or ":memory:", timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        db.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
        if path is not None:
            _journal(db)
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("BEGIN IMMEDIATE")  # also proves that the file may be written
        try:
            _check_schema(db, path)
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise
        return db
    except BaseException:
        db.close()
        raise


def _journal(db: sqlite3.Connection) -> None:
    """Write-ahead logging where the file system allows it; the switch itself ignores the busy timeout."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as e:
            busy = getattr(e, "sqlite_errorcode", 0) & 0xff in (_BUSY, _LOCKED)
            if not busy or time.monotonic() > end:
                raise
            time.sleep(0.01)


def _check_schema(db: sqlite3.Connection, path: Path | None) -> None:
    """Make the tables of an empty file; refuse a file of another program or version. Inside a transaction."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    application = db.execute("PRAGMA application_id").fetchone()[0]
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if not tables and not version and not application:
        for statement in _TABLES.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {SCHEMA}")
    elif application != APPLICATION:
        raise StoreError(f"profile store {path}: expected a store of pathweave, got a database of another program; "
                         f"set PATHWEAVE_HOME to another folder")
    elif version != SCHEMA:
        raise StoreError(f"profile store {path}: expected schema {SCHEMA}, got schema {version}; "
                         f"{'update pathweave' if version > SCHEMA else 'delete the file'}, "
                         f"or set PATHWEAVE_HOME to another folder")


# ---- rows -----------------------------------------------------------------------------------------------------------

def _insert_hosts(db: sqlite3.Connection, hosts: Mapping[str, str]) -> None:
    """Keep the facts (JSON text) of hosts that are not known yet."""
    db.executemany("INSERT OR IGNORE INTO host VALUES (?, ?)", hosts.items())


def _insert(db: sqlite3.Connection, m: Measurement, replace: bool = False) -> int:
    """Append one measurement; 0 when its id is there already and is not to be replaced."""
    problem = m.problem if About.goes_by_threads(m.about) else for_one_thread(m.problem)
    key = m.host, problem, m.routine, m.version, m.variant
    db.execute("INSERT INTO subject (host, problem, routine, version, variant, about) VALUES (?, ?, ?, ?, ?, ?) "
               "ON CONFLICT DO UPDATE SET about = excluded.about WHERE excluded.about NOT IN ('', about)",
               (*key, m.about))
    (subject,) = db.execute("SELECT id FROM subject WHERE host = ? AND problem = ? AND routine = ? AND version = ? "
                            "AND variant = ?", key).fetchone()
    verb = "REPLACE" if replace else "IGNORE"
    return db.execute(f"INSERT OR {verb} INTO measurement VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                      (m.id or os.urandom(16).hex(), subject, m.protocol, m.when, _pack(m.samples), m.median, m.p10,
                       m.spread, m.count)).rowcount


def _of_host(host: str) -> tuple[str, int, str]:
    """Parameters of `_OF_HOST`."""
    return host, len(host) + 1, f"{host}+"


def _for_threads(found: Iterable[Measurement], texts: Iterable[str]) -> Iterator[Measurement]:
    """Measurements of these problems: where the number of threads does not matter, for all of them."""
    asked: dict[str, list[str]] = {}
    for text in texts:
        asked.setdefault(for_one_thread(text), []).append(text)
    wanted = {text for group in asked.values() for text in group}
    for m in found:
        if not About.goes_by_threads(m.about):
            yield from (replace(m, problem=text) for text in asked.get(m.problem, ()))
        elif m.problem in wanted:
            yield m


def _pack(samples: Iterable[float]) -> bytes:
    """Little-endian doubles."""
    values = array("d", samples)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def _unpack(blob: bytes) -> tuple[float, ...]:
    values = array("d")
    values.frombytes(blob)
    if sys.byteorder == "big":
        values.byteswap()
    return tuple(values)


def _measurements(rows: Iterable[tuple]) -> Iterator[Measurement]:
    """Rows of `_SELECT` as measurements. Raises ValueError or TypeError on a damaged row."""
    for host, problem, routine, version, variant, samples, when, protocol, id_, about in rows:
        try:
            yield Measurement(host, problem, routine, version, variant, _unpack(samples), when, protocol, id_,
                              about).check()
        except ProfileError as e:
            raise ValueError(f"damaged row: {e}") from None


#: A store, the path of one, or None for the user's.
AnyStore: TypeAlias = Store | str | os.PathLike[str] | None
