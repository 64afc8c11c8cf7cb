import os

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.steps import environment
from tasks.steps.environment import set_environment

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
DIRECT = "localhost,127.0.0.1,::1"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES, *map(str.upper, NAMES)):
        monkeypatch.setenv(name, "")  # restored afterwards, whatever is done to it
        monkeypatch.delenv(name)


def set_here() -> dict[str, str]:
    """Set the environment; return the proxies in it."""
    set_environment()
    return {
        name: os.environ[name] for name in (*NAMES, *map(str.upper, NAMES)) if name in os.environ
    }


def test_without_a_proxy_nothing_is_set() -> None:
    assert set_here() == {}


@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
def test_loopback_is_reached_without_a_proxy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "http://proxy.example:3128")
    found = set_here()
    assert found["NO_PROXY"] == found["no_proxy"] == DIRECT
    assert found[name.lower()] == found[name.upper()] == "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("exceptions", "expected"),
    [
        ("intern.example, 127.0.0.1", "intern.example,127.0.0.1,localhost,::1"),
        ("*", "*"),
        (DIRECT, DIRECT),
    ],
)
def test_the_user_s_own_exceptions_stay(
    exceptions: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", exceptions)
    found = set_here()
    assert found["NO_PROXY"] == found["no_proxy"] == expected
    assert set_here() == found


@pytest.mark.parametrize("address", ["socks5://127.0.0.1:9", "socks4://h:1", "socks5h://h:1"])
def test_a_proxy_that_prefect_s_client_cannot_use_is_not_there(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one is, the client cannot even be made."""
    monkeypatch.setattr(environment, "find_spec", lambda name: None)
    monkeypatch.setenv("ALL_PROXY", address)
    monkeypatch.setenv("HTTP_PROXY", "proxy.example:3128")
    found = set_here()
    assert "ALL_PROXY" not in found
    assert "all_proxy" not in found
    assert found["HTTP_PROXY"] == "proxy.example:3128"
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        get_client(sync_client=True),
    ):
        pass


def test_a_socks_proxy_stays_where_its_library_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(environment, "find_spec", lambda name: object())
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    assert set_here()["ALL_PROXY"] == "socks5://127.0.0.1:9"


@pytest.fixture
def numpy_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_CORETYPE"):
        monkeypatch.setenv(name, "1")


@pytest.mark.parametrize(("quota", "expected"), [(64, None), (2, "2")])
def test_numpy_counts_the_cores_of_the_container_whatever_the_user_set(
    quota: int, expected: str | None, numpy_variables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "usable_cores", lambda: quota)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    set_environment()
    assert "OMP_NUM_THREADS" not in os.environ
    assert "OPENBLAS_CORETYPE" not in os.environ
    assert os.environ.get("OPENBLAS_NUM_THREADS") == expected


def test_dask_decides_on_the_threads_of_its_workers(
    numpy_variables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "parent_process", lambda: object())
    set_environment()
    assert os.environ["OMP_NUM_THREADS"] == os.environ["OPENBLAS_NUM_THREADS"] == "1"
