import pytest
from fastapi import FastAPI
from starlette.routing import Route

from flows.server.start import close_descriptions


def paths(application: FastAPI) -> list[str]:
    return [route.path for route in application.routes if isinstance(route, Route)]


def test_the_api_is_described_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"/openapi.json", "/docs", "/redoc"} <= set(paths(FastAPI()))
    monkeypatch.setattr(FastAPI, "setup", FastAPI.setup)  # restored afterwards
    close_descriptions()
    assert paths(FastAPI()) == []
