"""Environment variables that Prefect reads when it is imported, for this process and its children.

`tasks.steps` sets them, so that every command has them; it imports Prefect only afterwards.
"""

import atexit
import os
import shutil
import tempfile
from importlib.util import find_spec
from multiprocessing import parent_process
from pathlib import Path
from urllib.request import getproxies

from tasks.core.cores import usable_cores

TELEMETRY_OFF = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
LOOPBACK = ("localhost", "127.0.0.1", "::1")
ALGEBRA = ("OMP_", "OPENBLAS_", "MKL_", "NPY_")
"""How the variables begin that choose threads and kernels of NumPy: they change the last bits of a
PCA, and of what is drawn of it."""
READ_BY_PREFECT = ("http", "https", "all")
"""The proxies that Prefect's client reads; it cannot be made where it can use one of them not."""


HOME_VARIABLE = "PREFECT_HOME"


def set_environment() -> None:
    """Switch telemetry off, reach loopback without a proxy, and leave NumPy its own settings.

    Prefect gets a home folder that can be written to.
    """
    _ensure_home()
    for variable, value in TELEMETRY_OFF.items():
        os.environ.setdefault(variable, value)
    if parent_process() is None:  # Dask gives each of its workers a number of threads
        for variable in [name for name in os.environ if name.startswith(ALGEBRA)]:
            del os.environ[variable]
    if (cores := usable_cores()) < (os.cpu_count() or 1):
        # NumPy's library counts the machine's cores when it is loaded, not a container's quota.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", str(cores))
    proxies = getproxies()  # on macOS, without any variable, those of the system
    excepted = proxies.pop("no", "")
    if not proxies:
        return
    for kind, address in proxies.items():
        _set(f"{kind}_proxy", address if _is_usable(kind, address) else None)
    if excepted != "*":
        hosts = [host for host in excepted.replace(" ", "").split(",") if host]
        excepted = ",".join(dict.fromkeys([*hosts, *LOOPBACK]))
    _set("no_proxy", excepted)


def _is_usable(kind: str, address: str) -> bool:
    scheme, separator, _ = address.lower().partition("://")
    if kind not in READ_BY_PREFECT or not separator or scheme in ("http", "https"):
        return True
    return scheme in ("socks5", "socks5h") and find_spec("socksio") is not None


def _set(name: str, value: str | None) -> None:
    """Set a variable in small and in capital letters, as programs differ in which they read."""
    for variable in (name, name.upper()):
        if value is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = value


def _ensure_home() -> None:
    """Where the user's home folder cannot be written to, let Prefect use a temporary folder.

    Does nothing where `PREFECT_HOME` is set.
    """
    if HOME_VARIABLE in os.environ:
        return
    try:
        home = Path("~/.prefect").expanduser()
        home.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=home).close()
    except (OSError, RuntimeError):  # RuntimeError: the user has no home folder at all
        folder = tempfile.mkdtemp(prefix="prefect-")
        os.environ[HOME_VARIABLE] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
