"""The steps of every database: lock the run, look which revision the table has, replace its rows, in one transaction.

Which runs the table has, and by which revision, is in the control table: a row for each run, whose version is twice
the revision, and one more for its removal. It stays when the rows are removed, so a late job brings nothing back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from scorer.sinks.base import SinkError, make_ahead_error
from scorer.sinks.parts import Parts
from shared.contract.publishing.documents import PublicationItem, PublicationResult
from shared.contract.publishing.sinks import SinkReason

TRIES = 3  # where others hold locks or a transaction has to be repeated
_NUMBERS = ("value", "score", "prediction", "probability")


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a database may take, in seconds."""

    connect: int = 15
    lock: int = 60
    statement: int = 1800  # the longest is to delete the rows of a large run
    grace: int = 30  # that a client waits longer than the server, whose message says more


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class StoredRun:
    """What the control table says of a run."""

    app: str
    version: int
    digest: str


class Session(Protocol):
    """A connection to a database. Every method raises SinkError, and nothing of a driver.

    Between `begin` and `commit` nothing that it does is seen by others, and all of it is undone by `rollback`.
    """

    def prepare_tables(self) -> None:
        """Create the tables where there are none, and check those that there are."""

    def begin(self) -> None:
        """Begin a transaction."""

    def lock_run(self, run: str) -> StoredRun | None:
        """Wait until no other transaction has the lock of a run, take it, and return what the control table says."""

    def delete_rows(self, run: str) -> None:
        """Delete the rows of a run."""

    def add_rows(self, run: str, table: pa.Table) -> int:
        """Insert rows of a run by way of a staging table; returns how many the database has inserted."""

    def write_control(self, item: PublicationItem, stored: StoredRun, rows: int) -> None:
        """Replace the row of a run in the control table."""

    def read_rows(self, run: str, device: str, time: datetime) -> list[Mapping[str, Any]]:
        """The rows of a device at an instant, by column."""

    def commit(self) -> None:
        """Commit. Where it raises, it may be committed or not."""

    def rollback(self) -> None:
        """Undo all since `begin`."""

    def close(self) -> None:
        """Release the connection; never waits for the server. Safe to repeat."""


@dataclass(slots=True)
class SqlSink:
    """See Sink. Connects with the first run, and again after an error."""

    app: str
    label: str
    connect: Callable[[], Session]
    _session: Session | None = field(default=None, init=False)
    _is_proven: bool = field(default=False, init=False)  # a row was committed, and read back as it was sent

    def publish(self, item: PublicationItem, parts: Parts) -> PublicationResult:
        """See Sink."""
        conflict: SinkError | None = None
        for _ in range(TRIES):
            try:
                return self._replace_run(item, parts)
            except SinkError as error:
                if error.reason is not SinkReason.CONFLICT:
                    raise
                conflict = error
        raise SinkError(SinkReason.CONFLICT, f"others held locks at each of {TRIES} tries: {conflict}")

    def close(self) -> None:
        """See Sink."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _replace_run(self, item: PublicationItem, parts: Parts) -> PublicationResult:
        session = self._open_session()
        try:
            stored = session.lock_run(item.run)
            if stored is not None and self._holds(item, stored):
                session.rollback()
            else:
                stored = self._write_run(session, item, parts)
        except BaseException:
            self._give_up()
            raise
        return PublicationResult.for_item(item, rows=item.rows, stored=f"version {stored.version}")

    def _open_session(self) -> Session:
        """A session in a transaction. One that was cut since the last run is opened again, once."""
        if self._session is not None:
            try:
                self._session.begin()
            except SinkError:
                self.close()
            else:
                return self._session
        session = self.connect()
        try:
            session.prepare_tables()
            session.begin()
        except BaseException:
            session.close()
            raise
        self._session = session
        return session

    def _give_up(self) -> None:
        if self._session is not None:
            with suppress(SinkError):
                self._session.rollback()
        self.close()

    def _holds(self, item: PublicationItem, stored: StoredRun) -> bool:
        """Whether the table has just what *item* says. Raises AHEAD, MISMATCH."""
        if stored.app != self.app:
            message = f"{self.label}: expected {item.run} to be of app {self.app}, got one of app {stored.app}"
            raise SinkError(SinkReason.MISMATCH, message)
        if stored.version < item.version:
            return False
        if stored.digest == item.digest:
            return True
        raise make_ahead_error(self.label, item, stored.version)

    def _write_run(self, session: Session, item: PublicationItem, parts: Parts) -> StoredRun:
        session.delete_rows(item.run)
        rows, sample = 0, None
        for table in parts.iterate_tables(item.parts):
            _check_numbers(table, item.run)
            inserted = session.add_rows(item.run, table)
            if inserted != table.num_rows:
                message = f"{self.label}: expected {table.num_rows} rows to be inserted, got {inserted}"
                raise SinkError(SinkReason.MISMATCH, f"{message}: a trigger or a rule of the table")
            rows += inserted
            sample = sample or next(iter(table.slice(0, 1).to_pylist()), None)
        stored = StoredRun(self.app, item.version, item.digest)
        session.write_control(item, stored, rows)
        is_proof = sample is not None and not self._is_proven
        if is_proof:
            self._check_row(session, item.run, sample)  # what is wrong is not committed
        session.commit()
        if is_proof:
            session.begin()
            if session.lock_run(item.run) == stored:  # else another job has replaced it already
                self._check_row(session, item.run, sample)
            session.rollback()
            self._is_proven = True
        return stored

    def _check_row(self, session: Session, run: str, sample: Any) -> None:
        """Compare the first row with what the table has: drivers copy bytes, and look at no types."""
        stored = session.read_rows(run, sample["device"], sample["time"])
        if sample not in stored:
            got = stored[0] if stored else "no row of this device and time"
            raise SinkError(SinkReason.MISMATCH, f"{self.label}: expected to read back {dict(sample)}, got {got}")


def _check_numbers(table: pa.Table, run: str) -> None:
    """Raise for NaN and infinity, which a part of another writer may have: consumers expect none."""
    for name in _NUMBERS:
        column = table[name]
        if column.null_count < len(column) and not pc.all(pc.is_finite(column)).as_py():
            raise SinkError(SinkReason.FAILED, f"{run}: expected finite numbers in {name}, got NaN or infinity")
