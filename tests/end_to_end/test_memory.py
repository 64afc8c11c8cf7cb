"""A source four times as large as the memory there is."""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

pytestmark = pytest.mark.timeout(900)
LIMIT = 640 * 2**20
SIDE = 128
CGROUPS = Path("/sys/fs/cgroup")


class Group(NamedTuple):
    """A control group with a limit on the memory of its processes, of either version."""

    folder: Path
    legacy: bool

    def limit(self, size: int) -> None:
        name = "memory.limit_in_bytes" if self.legacy else "memory.max"
        (self.folder / name).write_text(str(size))

    def anonymous(self) -> int:
        """Bytes that no file can give back."""
        facts = dict(line.split() for line in (self.folder / "memory.stat").open())
        return int(facts["total_rss" if self.legacy else "anon"])


@contextmanager
def control_group() -> Iterator[Group]:
    legacy = (CGROUPS / "memory").is_dir()
    folder = CGROUPS / ("memory" if legacy else "") / f"autoencoder-flow-{uuid.uuid4()}"
    folder.mkdir()
    try:
        yield Group(folder, legacy)
    finally:
        folder.rmdir()


def write_images(path: Path, count: int) -> None:
    """Images with some structure; no two are the same."""
    generator = np.random.default_rng(0)
    motifs = np.cumsum(generator.integers(0, 3, (256, SIDE, SIDE)), axis=2).astype(np.uint8)
    images = np.lib.format.open_memmap(path, "w+", np.uint8, (count, SIDE, SIDE))
    for start in range(0, count, 256):
        rows = np.arange(start, min(start + 256, count))
        images[rows] = motifs[: len(rows)]
        images[rows, 0, :4] = rows.astype("<u4").view(np.uint8).reshape(-1, 4)
        images[rows, 1] += (rows % 251).astype(np.uint8)[:, np.newaxis]


def run_stages(file: Path, root: Path) -> tuple[str, int]:
    """Run every stage within the limit; its output, and the largest anonymous memory seen."""
    peak = 0
    command = [sys.executable, "-m", "tests.end_to_end.stages", str(file), str(root)]
    with control_group() as group:
        group.limit(LIMIT)

        def enter() -> None:
            (group.folder / "cgroup.procs").write_text(str(os.getpid()))

        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=enter
        ) as process:
            while process.poll() is None:
                peak = max(peak, group.anonymous())
                time.sleep(0.05)
            assert process.stdout is not None
            output = process.stdout.read()
        assert process.returncode == 0, output
    return output, peak


def test_everything_works_on_a_source_four_times_the_memory(tmp_path: Path) -> None:
    peaks = []
    for share in (1, 4):
        file, root = tmp_path / f"{share}.npy", tmp_path / f"artifacts-{share}"
        root.mkdir()
        write_images(file, share * LIMIT // SIDE**2)
        output, peak = run_stages(file, root)
        print(f"{share} x {LIMIT / 2**20:.0f} MiB: peak {peak / 2**20:.0f} MiB\n{output}")
        assert output.count(" s\n") == 5
        peaks.append(peak)
        file.unlink()
    assert peaks[1] < 1.1 * peaks[0]
