"""The sessions for SQLAlchemy, with real PostgreSQL: a primary and two replicas in two clusters."""

import asyncio
import time
from collections import Counter
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Self

import pytest

pytest.importorskip("sqlalchemy")
from sqlalchemy import Engine, create_engine, func, insert, literal, select, text
from sqlalchemy.exc import DBAPIError, InvalidRequestError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from balancers import HealthChecks, LeastConnections, Pool
from tests.system.recipes import LIMIT, all_in_flight, assert_idle, cancelled, recipe
from tests.system.servers import Server, postgres

RECIPE = recipe("with_sqlalchemy")
PAGES, ReplicatedSession = RECIPE.PAGES, RECIPE.ReplicatedSession
HERE = select(func.current_database())


def here(session: Session) -> str:
    return str(session.scalar(HERE))


def divided(session: Session) -> object:
    return session.scalar(select(literal(1) / literal(0)))


@pytest.fixture(scope="module")
def clusters() -> Generator[tuple[Server, Server]]:
    """Two clusters: one with the databases "primary" and "r1", one with "r2"."""
    with postgres() as first, postgres() as second:
        for server, names in ((first, ["primary", "r1"]), (second, ["r2"])):
            server.start()
            wait_until_ready(server)
            engine = create_engine(url(server, "postgres"), isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                for name in names:
                    connection.execute(text(f'create database "{name}"'))
            engine.dispose()
            for name in names:
                engine = create_engine(url(server, name))
                with engine.begin() as connection:
                    PAGES.create(connection)
                engine.dispose()
        yield first, second


def url(server: Server, name: str) -> str:
    return f"postgresql+psycopg://postgres@127.0.0.1:{server.port}/{name}"


def wait_until_ready(server: Server) -> None:
    """Wait until the server accepts sessions: it listens some time before that."""
    end = time.monotonic() + LIMIT
    while True:
        engine = create_engine(url(server, "postgres"))
        try:
            with engine.connect():
                return
        except DBAPIError:
            assert time.monotonic() < end
            time.sleep(0.05)
        finally:
            engine.dispose()


class Case:
    """A pool with two replicas."""

    def __init__(self, clusters: tuple[Server, Server]) -> None:
        first, second = clusters
        urls = {"primary": url(first, "primary"), "r1": url(first, "r1"), "r2": url(second, "r2")}
        self.engines = {name: self.engine(url) for name, url in urls.items()}
        self.pool = Pool(LeastConnections(["r1", "r2"]), [HealthChecks[str](3)])
        replicas = {name: self.engines[name] for name in ("r1", "r2")}
        self.replicas = RECIPE.Replicas(self.engines["primary"], replicas, self.pool)

    def engine(self, url: str) -> Engine:
        return create_engine(url, connect_args={"connect_timeout": 10})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert_idle(self.pool)
        for engine in self.engines.values():
            engine.dispose()

    def where(self) -> str:
        return str(self.replicas.read(here))


def test_reads_are_spread_and_a_transaction_stays_on_its_replica(clusters: Any) -> None:
    with Case(clusters) as case:
        assert Counter(case.where() for _ in range(10)) == {"r1": 5, "r2": 5}
        with ReplicatedSession(case.replicas) as session:
            assert len({session.scalar(HERE) for _ in range(5)}) == 1
            assert case.pool.snapshot().in_flight == 1
            session.commit()
            assert_idle(case.pool)
        with ReplicatedSession(case.replicas) as one, ReplicatedSession(case.replicas) as other:
            assert {one.scalar(HERE), other.scalar(HERE)} == {"r1", "r2"}


def test_writes_go_to_the_primary_and_are_seen_at_once(clusters: Any) -> None:
    with Case(clusters) as case:
        with ReplicatedSession(case.replicas) as session:
            session.execute(insert(PAGES).values(title="new"))
            assert session.scalars(select(PAGES.c.title)).all() == ["new"]
            assert session.scalar(HERE) == "primary"
            session.rollback()
            assert session.scalar(HERE) in {"r1", "r2"}
        with ReplicatedSession(case.replicas) as session:
            assert session.scalars(select(PAGES.c.title).with_for_update()).all() == []
            assert session.scalar(HERE) == "primary"
        with ReplicatedSession(case.replicas) as session:
            assert session.scalar(text("select current_database()")) == "primary"
            assert session.connection().engine is case.engines["primary"]


def test_a_replica_is_stopped_in_the_middle_and_comes_back(clusters: Any) -> None:
    with Case(clusters) as case:
        used: list[str] = []

        def work(session: Session) -> str:
            used.append(here(session))
            if used == ["r2"]:
                clusters[1].stop()
                here(session)  # on a connection that the server has closed
            return used[-1]

        while used[:1] != ["r2"]:
            used.clear()
            case.replicas.read(work)
        assert used == ["r2", "r1"]
        assert {case.where() for _ in range(10)} == {"r1"}
        failures = {member.backend: member.failures for member in case.pool.snapshot().members}
        assert failures == {"r1": 0, "r2": 3}
        clusters[1].start()
        wait_until_ready(clusters[1])
        assert case.pool.state("r2") == ("unhealthy",)


def test_reads_go_to_the_primary_while_no_replica_is_available(clusters: Any) -> None:
    with Case(clusters) as case:
        case.pool.update([])
        assert case.where() == "primary"
        with ReplicatedSession(case.replicas) as session:
            assert session.scalar(HERE) == "primary"


def test_an_error_of_a_statement_is_no_failure_and_is_not_repeated(clusters: Any) -> None:
    with Case(clusters) as case:
        with pytest.raises(DBAPIError, match="division by zero"):
            case.replicas.read(divided)
        with suppress(KeyError), ReplicatedSession(case.replicas) as session:
            here(session)
            raise KeyError
        snapshot = case.pool.snapshot()
        assert (snapshot.requests, snapshot.failures) == (2, 0)


def test_a_select_without_a_transaction_and_a_transaction_without_a_select_have_no_outcome() -> (
    None
):
    engine = create_engine("sqlite://")
    pool = Pool(LeastConnections(["r1"]), [HealthChecks[str](1)])
    replicas = RECIPE.Replicas(engine, {"r1": engine}, pool)
    with ReplicatedSession(replicas) as session, session.begin():
        session.commit()
        with pytest.raises(InvalidRequestError):
            session.execute(HERE)
    assert_idle(pool)
    with ReplicatedSession(replicas) as session:
        with pytest.raises(OperationalError):
            session.execute(HERE)  # SQLite has no such function
        session.rollback()
        assert pool.snapshot().failures == 1
        session.get_bind(clause=HERE)
        session.connection()
    assert (pool.snapshot().requests, pool.snapshot().failures) == (3, 1)
    assert_idle(pool)
    engine.dispose()


def test_a_long_read_does_not_hold_up_the_others(clusters: Any) -> None:
    with Case(clusters) as case, ThreadPoolExecutor(9) as threads:
        with ReplicatedSession(case.replicas) as long:
            busy = long.scalar(HERE)
            places = Counter(case.where() for _ in range(10))
            assert places[busy] <= 1
        places = Counter(threads.map(case.replicas.read, [here] * 60))
        assert places.total() == 60
        assert set(places) == {"r1", "r2"}


class AsyncCase(Case):
    def engine(self, url: str) -> Engine:
        return create_async_engine(url).sync_engine

    def session(self) -> Any:
        return AsyncSession(sync_session_class=ReplicatedSession, replicas=self.replicas)


def test_cancelled_tasks_release_their_leases(clusters: Any) -> None:
    case = AsyncCase(clusters)

    async def read(seconds: float) -> Any:
        async with case.session() as session:
            return await session.scalar(select(func.pg_sleep(seconds)))

    async def test() -> None:
        await asyncio.gather(*(read(0.01) for _ in range(6)))
        assert_idle(case.pool)
        tasks = [asyncio.create_task(read(LIMIT)) for _ in range(8)]
        await all_in_flight(case.pool, 8)
        await asyncio.sleep(0.2)
        await cancelled(tasks)
        assert_idle(case.pool)
        began = time.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                for _ in range(3):
                    await read(LIMIT)
        assert time.monotonic() - began < LIMIT
        assert_idle(case.pool)
        assert case.pool.snapshot().failures == 0
        for engine in case.engines.values():
            engine.pool.dispose()

    asyncio.run(test())
