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

pytestmark = pytest.mark.timeout(1800)  # it waits for the disk, which others use too
LIMIT = 1280 * 2**20
SIDE = 128
IMAGES_WITHIN_LIMIT = LIMIT // (4 * SIDE**2)
STAGES = ["normalization", "training", "encoding", "baselines", "evaluation"]
GROWTH = 1.2
"""Of the peak, while the source grows eightfold: runs of one source differ by up to a tenth."""
CGROUPS = Path("/sys/fs/cgroup")


class Group(NamedTuple):
    """A control group with a limit on the memory of its processes, of either version."""

    folder: Path
    legacy: bool

    def limit(self, size: int) -> None:
        name = "memory.limit_in_bytes" if self.legacy else "memory.max"
        (self.folder / name).write_text(str(size))

    def enter(self) -> None:
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def anonymous(self) -> int:
        """Bytes that no file can give back."""
        facts = dict(map(str.split, (self.folder / "memory.stat").read_text().splitlines()))
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


def write_source(folder: Path, count: int) -> None:
    """Labelled float images with some structure; no two are the same."""
    generator = np.random.default_rng(0)
    motifs = np.cumsum(generator.random((250, SIDE, SIDE), np.float32), axis=2)
    np.save(folder / "labels.npy", (np.arange(count) % 10).astype(np.uint8))
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.float32, (count, SIDE, SIDE))
    for start in range(0, count, len(motifs)):
        images[start : start + len(motifs)] = motifs[: count - start]
        images[start : start + len(motifs), 0] = start / count


def run_stages(folder: Path) -> tuple[str, int]:
    """Run every stage within the limit; its output, and the largest anonymous memory seen."""
    peak, log = 0, folder / "log"
    command = [sys.executable, "-m", "tests.end_to_end.stages", str(folder)]
    with control_group() as group, log.open("w") as output:
        group.limit(LIMIT)
        process = subprocess.Popen(command, stdout=output, stderr=output, preexec_fn=group.enter)
        try:
            while process.poll() is None:
                peak = max(peak, group.anonymous())
                time.sleep(0.05)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 0, log.read_text()
    return log.read_text(), peak


def test_everything_works_on_a_source_four_times_the_memory(tmp_path: Path) -> None:
    peaks = []
    for share in (0.5, 4):
        write_source(tmp_path, int(share * IMAGES_WITHIN_LIMIT))
        output, peak = run_stages(tmp_path)
        print(f"{share} x {LIMIT / 2**20:.0f} MiB: peak {peak / 2**20:.0f} MiB\n{output}")
        assert [line.split(":")[0] for line in output.splitlines() if line[-2:] == " s"] == STAGES
        peaks.append(peak)
    assert peaks[1] < GROWTH * peaks[0]
