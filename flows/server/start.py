"""`python -m flows.server.start`: `prefect server start` without a description of its API.

Prefect gives that to everyone, without the password, and spends many seconds on it in which it
answers nobody else. It has no setting for that.
"""

import sys
from runpy import run_module

from fastapi import FastAPI


def close_descriptions() -> None:
    """Give no application made from now on the pages /openapi.json, /docs and /redoc."""
    FastAPI.setup = _add_no_pages  # type: ignore[method-assign, assignment]


def _add_no_pages(_application: FastAPI) -> None:
    return


if __name__ == "__main__":
    close_descriptions()
    sys.argv[1:] = ["server", "start", *sys.argv[1:]]
    run_module("prefect", run_name="__main__", alter_sys=True)
