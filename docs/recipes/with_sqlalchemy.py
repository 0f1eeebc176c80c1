"""SQLAlchemy: sessions that read from replicas, chosen by a pool, and write to the primary."""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from threading import Lock
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    SelectBase,
    String,
    Table,
    create_engine,
    event,
    insert,
    select,
)
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction

from balancers import HealthChecks, Lease, LeastConnections, NoBackendAvailable, Pool

T = TypeVar("T")
PAGES = Table("pages", MetaData(), Column("title", String))
SERVER_STATES = ("08", "53", "57P")  # connections, resources, shutdown: not the statement


class Replicas:
    """A primary, and replicas for what is read.  For any number of threads."""

    def __init__(
        self, primary: Engine, engines: Mapping[str, Engine], pool: Pool[str], attempts: int = 3
    ) -> None:
        self.primary, self.engines, self.pool, self.attempts = primary, engines, pool, attempts
        self.lock = Lock()  # held to acquire and to release, not in between

    def read(self, work: Callable[[Session], T]) -> T:
        """Return the result of work that only reads.  If a replica fails, try another."""
        tried: set[str] = set()
        while True:
            with ReplicatedSession(self, tried) as session:
                try:
                    return work(session)
                except DBAPIError:
                    if session.ok is not False or len(tried) + 1 >= self.attempts:
                        raise
                    tried.add(session.backend)

    def acquire(self, avoid: Collection[str]) -> Lease[str]:
        with self.lock:
            return self.pool.acquire(time.monotonic(), avoid=avoid)

    def release(self, lease: Lease[str], ok: bool | None) -> None:
        with self.lock:
            self.pool.release(lease, time.monotonic(), ok)


class ReplicatedSession(Session):
    """A session whose first select of a transaction chooses a replica for this transaction.

    After a write, the rest of the transaction reads from the primary too, so it sees what it has
    written.  Selects go to the primary if no replica is available.
    """

    def __init__(self, replicas: Replicas, avoid: Collection[str] = (), **options: Any) -> None:
        self.replicas, self.avoid = replicas, avoid
        self.lease: Lease[str] | None = None
        self.backend = ""  # the latest replica
        self.ok: bool | None = None  # how the latest select ended
        self.primary = False  # whether this transaction uses the primary
        super().__init__(**options)

    def close(self) -> None:
        super().close()
        self.release()  # of a select that has begun no transaction

    def release(self) -> None:
        lease, self.lease, self.primary = self.lease, None, False
        if lease is not None:
            self.replicas.release(lease, self.ok)

    def get_bind(self, mapper: Any = None, *, clause: Any = None, **_: Any) -> Engine | Connection:
        reads = isinstance(clause, SelectBase) and getattr(clause, "_for_update_arg", None) is None
        if self.primary or self._flushing or not reads:
            self.primary = True
        elif self.lease is None:
            try:
                self.lease, self.ok = self.replicas.acquire(self.avoid), None
            except NoBackendAvailable:
                self.primary = True
        if self.primary or self.lease is None:
            return self.replicas.primary
        self.backend = self.lease.backend
        return self.replicas.engines[self.backend]


@event.listens_for(ReplicatedSession, "do_orm_execute")
def watch(state: ORMExecuteState) -> Any:
    """Execute a statement, and note whether the replica failed."""
    session = state.session
    assert isinstance(session, ReplicatedSession)
    try:
        result = state.invoke_statement()
    except DBAPIError as error:
        if not session.primary:
            session.ok = False if is_failure(error) else session.ok
        raise
    session.ok = True
    return result


@event.listens_for(ReplicatedSession, "after_transaction_end")
def end(session: ReplicatedSession, transaction: SessionTransaction) -> None:
    """Release the lease when a transaction is committed, rolled back or closed."""
    if transaction.parent is None:
        session.release()


def is_failure(error: DBAPIError) -> bool:
    """Return whether an error is one of the server, not of the statement."""
    state: str | None = getattr(error.orig, "sqlstate", None)
    if state is None:
        return error.connection_invalidated or isinstance(error, OperationalError)
    return state.startswith(SERVER_STATES)


def main() -> None:
    """Read from three replicas, one of which is lost, and write to a primary."""
    with tempfile.TemporaryDirectory() as folder:
        names = ["primary", "r1", "r2", "r3"]
        engines = {name: create_engine(f"sqlite:///{folder}/{name}") for name in names}
        for name, engine in engines.items():
            with engine.begin() as connection:
                PAGES.create(connection)
                connection.execute(insert(PAGES).values(title=name))
        engines["r3"].dispose()
        engines["r3"] = create_engine(f"sqlite:///{folder}/missing/r3")
        primary = engines.pop("primary")
        pool = Pool(LeastConnections([*engines]), [HealthChecks[str]()])
        replicas = Replicas(primary, engines, pool)

        def titles(session: Session) -> str:
            return "+".join(session.scalars(select(PAGES.c.title)))

        print(dict(sorted(Counter(replicas.read(titles) for _ in range(20)).items())))
        with ReplicatedSession(replicas) as session, session.begin():
            session.execute(insert(PAGES).values(title="new"))
            print(titles(session))
        counts = pool.snapshot()
        print(f"{counts.failures} attempts failed, in flight: {counts.in_flight}")
        for engine in [primary, *engines.values()]:
            engine.dispose()


if __name__ == "__main__":
    main()
