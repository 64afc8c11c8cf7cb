import ctypes
import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.core import memory
from tasks.core.memory import (
    forget_peak,
    garbage_ignored,
    limit_heaps,
    peak_memory,
    release_memory,
    total_memory,
)


def anonymous_kib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


GLIBC = pytest.mark.skipif(
    memory._find_function("mallopt") is None, reason="the C library is not glibc"
)
USE = """
import ctypes
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from tasks.core import memory
if "few" in sys.argv:
    memory.usable_cores = lambda: 1
    memory.limit_heaps()
threads = int(sys.argv[2])
meeting = Barrier(threads)
def use(number):
    meeting.wait()  # each in a thread of its own
    return len(b"x" * 50_000)
with ThreadPoolExecutor(threads) as executor:
    list(executor.map(use, range(threads)))
ctypes.CDLL(None).malloc_stats()  # on stderr, a paragraph for each heap
"""


THREADS = 4


@GLIBC
def test_threads_share_a_few_heaps() -> None:
    """Each of its own would keep tens of MB of what was freed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    heaps = {}
    for word in ("own", "few"):
        command = [sys.executable, "-c", USE, word, str(THREADS)]
        shown = subprocess.run(
            command, check=True, capture_output=True, text=True, env=environment
        ).stderr
        heaps[word] = shown.count("Arena ")
    assert heaps["own"] > THREADS, "as glibc does by default"
    assert heaps["few"] == 2


@GLIBC
def test_models_and_figures_that_nobody_uses_are_given_back() -> None:
    """They refer to themselves."""
    blocks: list[Any] = [b"x" * 2**20 for _ in range(100)]
    blocks.append(blocks)
    before = anonymous_kib()
    del blocks
    release_memory()
    assert before - anonymous_kib() > 90_000


@GLIBC
def test_freed_memory_goes_back_to_the_system() -> None:
    blocks = [b"x" * 50_000 for _ in range(4000)]
    last = blocks[-1]  # what is used at the end of the heap keeps all of it
    del blocks
    before = anonymous_kib()
    release_memory()
    assert before - anonymous_kib() > 100_000
    assert len(last) == 50_000


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    memory._find_function.cache_clear()
    release_memory()
    limit_heaps()
    memory._find_function.cache_clear()


def test_a_container_may_have_less_memory_than_its_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "CONTAINER_LIMITS", (limit, tmp_path / "absent"))
    machine = total_memory()
    assert machine > 2**28
    limit.write_text("max\n")
    assert total_memory() == machine
    limit.write_text("1000000\n")
    assert total_memory() == 1_000_000


def test_garbage_is_searched_for_again_even_after_a_failed_import() -> None:
    with garbage_ignored():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ModuleNotFoundError), garbage_ignored():
        raise ModuleNotFoundError
    assert gc.isenabled()


def test_what_was_imported_is_not_searched_for_garbage() -> None:
    with garbage_ignored():
        pass
    assert gc.get_freeze_count() > 10_000


def test_the_peak_is_that_since_it_was_forgotten() -> None:
    forget_peak()
    before = peak_memory()
    assert before is not None
    block = b"x" * 100 * 2**20
    del block
    after = peak_memory()
    assert after is not None
    assert after - before > 90 * 2**20
    forget_peak()
    again = peak_memory()
    assert again is not None
    assert again - before < 50 * 2**20


def test_where_the_system_does_not_tell_there_is_no_peak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "PROCESS", tmp_path / "absent")
    forget_peak()
    assert peak_memory() is None
