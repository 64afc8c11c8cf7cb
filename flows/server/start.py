"""`python -m flows.server.start`: `prefect server start` with three changes without a setting.

It gives no description of its API: Prefect gives that to everyone, without the password, and spends
many seconds on it in which it answers nobody else.

Transactions in SQLite begin as those of writers, which wait for each other. Prefect's begin as
readers, and one that then writes fails at once ("database is locked") where another has written
since, however long the wait that is set.

A failed start is a line with its reason, not a traceback of 150 lines.
"""

import logging
import sys
from contextlib import AbstractAsyncContextManager
from functools import wraps
from runpy import run_module

from fastapi import FastAPI
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction


def close_descriptions() -> None:
    """Give no application made from now on the pages /openapi.json, /docs and /redoc."""
    FastAPI.setup = _add_no_pages  # type: ignore[method-assign, assignment]


def _add_no_pages(_application: FastAPI) -> None:
    return


def begin_as_writers() -> None:
    """Let all transactions from now on begin with SQLite's lock for writers."""
    begin = AioSqliteConfiguration.begin_transaction

    @wraps(begin)
    def begin_as_writer(
        self: AioSqliteConfiguration, session: AsyncSession, **_for_update: bool
    ) -> AbstractAsyncContextManager[AsyncSessionTransaction]:
        return begin(self, session, with_for_update=True)

    AioSqliteConfiguration.begin_transaction = begin_as_writer  # type: ignore[assignment, method-assign]


def tell_failures_in_a_line() -> None:
    """Let uvicorn log why the application did not start, without the traceback."""
    logging.getLogger("uvicorn.error").addFilter(_shorten)


def _shorten(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    if text.startswith("Traceback "):
        reason = text.strip().splitlines()[-1]
        record.msg, record.args = f"The server could not start: {reason}", ()
    return True


if __name__ == "__main__":
    close_descriptions()
    begin_as_writers()
    tell_failures_in_a_line()
    sys.argv[1:] = ["server", "start", *sys.argv[1:]]
    run_module("prefect", run_name="__main__", alter_sys=True)
