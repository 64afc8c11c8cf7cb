import asyncio
import logging
from pathlib import Path

import pytest
import sqlalchemy
from fastapi import FastAPI
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.exc import OperationalError
from starlette.routing import Route

from flows.server.start import begin_as_writers, close_descriptions, tell_failures_in_a_line


def paths(application: FastAPI) -> list[str]:
    return [route.path for route in application.routes if isinstance(route, Route)]


def test_the_api_is_described_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"/openapi.json", "/docs", "/redoc"} <= set(paths(FastAPI()))
    monkeypatch.setattr(FastAPI, "setup", FastAPI.setup)  # restored afterwards
    close_descriptions()
    assert paths(FastAPI()) == []


async def read_then_write(path: Path, writers: int, readers: int) -> None:
    """Transactions at the same time, of which each writes what it has read before.

    Args:
        readers: how many have read before one writes.
    """
    all_have_read = asyncio.Barrier(readers)
    configuration = AioSqliteConfiguration(f"sqlite+aiosqlite:///{path}")
    engine = await configuration.engine()

    async def count() -> None:
        async with (
            await configuration.session(engine) as session,
            configuration.begin_transaction(session),
        ):
            found = await session.execute(sqlalchemy.text("SELECT n FROM counted"))
            (before,) = found.one()
            await all_have_read.wait()
            increased = sqlalchemy.text("UPDATE counted SET n = :n")
            await session.execute(increased, {"n": before + 1})

    try:
        async with engine.begin() as connection:
            await connection.execute(sqlalchemy.text("CREATE TABLE counted AS SELECT 0 AS n"))
        # All have closed their connections before one's error ends this.
        ended = await asyncio.gather(*(count() for _ in range(writers)), return_exceptions=True)
        if errors := [error for error in ended if isinstance(error, BaseException)]:
            raise errors[0]
        async with engine.connect() as connection:
            found = await connection.execute(sqlalchemy.text("SELECT n FROM counted"))
            assert found.scalar_one() == writers
    finally:
        await engine.dispose()


def test_transactions_that_read_and_then_write_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OperationalError, match="database is locked"):
        asyncio.run(read_then_write(tmp_path / "before", writers=2, readers=2))
    method = AioSqliteConfiguration.begin_transaction
    monkeypatch.setattr(AioSqliteConfiguration, "begin_transaction", method)  # restored afterwards
    begin_as_writers()
    asyncio.run(read_then_write(tmp_path / "after", writers=4, readers=1))


def test_a_failed_start_is_told_in_a_line(caplog: pytest.LogCaptureFixture) -> None:
    uvicorn = logging.getLogger("uvicorn.error")
    before = list(uvicorn.filters)
    tell_failures_in_a_line()
    uvicorn.error("Traceback (most recent call last):\n  File x\nOSError: no database\n")
    uvicorn.error("%s of %s", "one", "two")
    uvicorn.filters[:] = before
    assert caplog.messages == ["The server could not start: OSError: no database", "one of two"]
