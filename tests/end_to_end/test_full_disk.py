import errno
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import pytest

from tasks.codes.errors import AutoencoderError
from tasks.codes.published import open_published, run_folder
from tasks.core.records import SPLITS
from tasks.core.storage import PARTIAL_PREFIX, describe_file
from tasks.encoding.encoder import encode_split
from tasks.encoding.neighbors import obtain_neighbors
from tasks.evaluation.baselines import obtain_baselines
from tasks.models.obtain import obtain_model
from tasks.models.store import stored_model
from tasks.reports.figures.drawing import draw_figures
from tasks.reports.report import render_files
from tasks.runs.building import building_folder
from tasks.runs.journal import record_publication
from tasks.runs.lookup import check_files, find_published, find_runs
from tasks.runs.manifest import Manifest, RunRecord
from tasks.runs.publication import complete_run, resume_publication
from tests.conftest import SAMPLE, SPEC

Resource = Literal["size", "nr_inodes"]
"""Room for contents; room for files, folders and links, however small."""
PAGE = 4096
"""A tmpfs hands out room in pages."""
PLENTY: dict[Resource, int] = {"size": 16384, "nr_inodes": 2000}
"""Pages, and files: more than any test here needs."""
MOST_ATTEMPTS = 2000
NEXT_RUN = "run-2"
COUNTED_LAST = ("models/", "datasets/")
"""Whole files may stand here before the record that makes them count."""
FINGERPRINT = re.compile("model-[0-9a-f]{16}")
MODEL_LOCK = "locks/model.lock"
"""With a fingerprint in its name that differs from version to version."""
JOURNAL = f"publications/{SAMPLE.dataset}.json"


class Disk(NamedTuple):
    """A file system of its own, in memory."""

    root: Path

    def used(self, resource: Resource) -> int:
        """Pages, or files, that are taken."""
        found = os.statvfs(self.root)
        if resource == "size":
            return found.f_blocks - found.f_bfree
        return found.f_files - found.f_ffree

    def limit(self, resource: Resource, count: int) -> None:
        """Shrink or grow it to so many pages, or files."""
        self.remount(f"{resource}={count * PAGE if resource == 'size' else count}")

    def forbid_writing(self) -> None:
        self.remount("ro")

    def make_room(self) -> None:
        self.remount("rw")
        for resource, count in PLENTY.items():
            self.limit(resource, count)

    def remount(self, option: str) -> None:
        run("mount", "-o", f"remount,{option}", self.root)


def run(*command: str | Path) -> None:
    words = [str(word) for word in command]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.fail(f"This test must be root, to mount a disk: {words}: {result.stderr.strip()}")


@pytest.fixture
def disk(artifacts: Path, tmp_path: Path) -> Iterator[Disk]:
    """A disk with a copy of the artifacts, and most of a run that is about to be completed."""
    root = tmp_path / "disk"
    root.mkdir()
    run("mount", "-t", "tmpfs", "tmpfs", root)
    try:
        disk = Disk(root)
        disk.make_room()
        shutil.copytree(artifacts, root, symlinks=True, dirs_exist_ok=True)
        for name in ("codes", "figures"):
            made = open_published(SAMPLE.dataset, root).folder / name
            shutil.copytree(made, building_folder(NEXT_RUN, root) / name)
        yield disk
    finally:
        run("umount", "--lazy", root)  # images may still be mapped


Call = Callable[[Path], object]


def published_manifest(root: Path) -> Manifest:
    manifest = find_published(SAMPLE.dataset, root)
    assert manifest
    return manifest


def encode(root: Path) -> None:
    manifest = published_manifest(root)
    path = building_folder("run-3", root) / "codes" / "test.h5"
    encode_split("test", manifest.dataset, list(manifest.models), path, root)


def complete(root: Path) -> Manifest:
    """As the flow does: what an earlier attempt completed is only made good."""
    first = find_runs(root)[0]
    facts = {name: getattr(first, name) for name in RunRecord.model_fields}
    record = RunRecord(**facts | {"run": NEXT_RUN, "models": first.models[:1]})
    return resume_publication(NEXT_RUN, root) or complete_run(record, root, render_files)


def train(root: Path) -> None:
    """A model that is not there yet, and small: every attempt begins anew or resumes."""
    dataset = published_manifest(root).dataset
    small = SPEC.architecture.model_copy(update={"code_size": 2})
    spec = SPEC.model_copy(update={"architecture": small})
    model = obtain_model(dataset, spec, "cpu", root, lambda progress: None)
    assert stored_model(root / model.folder) == model


def measure(root: Path) -> None:
    dataset = published_manifest(root).dataset
    assert obtain_baselines(dataset, {32}, root) == obtain_baselines(dataset, {32}, root)


def draw(root: Path) -> None:
    run = published_manifest(root)
    folder, models = building_folder(NEXT_RUN, root), list(run.models[:1])
    codes = {split: describe_file(folder, f"codes/{split}.h5") for split in SPLITS}
    for figure in draw_figures(run.dataset, models, run.metrics, codes, folder, root):
        assert (folder / figure.path).stat().st_size > 1000


def search(root: Path) -> None:
    """Of one model only, as that takes half the time."""
    run = open_published(SAMPLE.dataset, root)
    obtain_neighbors(replace(run, models=run.models[:1]), root)


def write_journal(root: Path) -> None:
    record_publication(NEXT_RUN, SAMPLE.dataset, root, codes_sha256={})


class Standing(NamedTuple):
    """What readers of an artifacts folder can find."""

    files: set[str]
    """Under their final names; locks are not for readers."""
    published: Manifest | None


def look(root: Path) -> Standing:
    paths = [path.relative_to(root) for path in root.rglob("*") if not path.is_dir()]
    final = {path for path in paths if not any(map(is_partial, path.parts))}
    files = {str(path) for path in final if path.parts[0] != "locks"}
    return Standing(files, find_published(SAMPLE.dataset, root))


def is_partial(name: str) -> bool:
    return name.startswith(PARTIAL_PREFIX)


def assert_nothing_is_half_done(root: Path, before: Standing) -> None:
    """All is as it was; only a run may be complete, and published without a record of it."""
    after = look(root)
    if after.published != before.published:
        assert after.published
        assert after.published.run == NEXT_RUN
    if after.published:
        check_files(run_folder(after.published.run, root), after.published.files)
    assert not before.files - after.files
    new = {path for path in after.files - before.files if not path.startswith(COUNTED_LAST)}
    if new:
        (manifest,) = (manifest for manifest in find_runs(root) if manifest.run == NEXT_RUN)
        check_files(run_folder(NEXT_RUN, root), manifest.files)
        listed = {file.path for file in manifest.files}
        assert listed > {f"codes/{split}.h5" for split in SPLITS}
        runs_own = {f"runs/{NEXT_RUN}/{path}" for path in (*listed, "manifest.json")}
        assert new - {JOURNAL} == runs_own


def failure(call: Call, root: Path, reason: int) -> str | None:
    """The path in the line that a call fails with, relative to the disk; none if it succeeds."""
    try:
        call(root)
    except AutoencoderError as error:
        message = str(error)
        assert "\n" not in message
        assert os.strerror(reason) in message
        path = next(word for word in message.split() if word.startswith(f"{root}/"))
        return FINGERPRINT.sub("model", path.removeprefix(f"{root}/"))
    return None


def sweep(call: Call, disk: Disk, resource: Resource, stride: int = 1) -> list[str]:
    """Call with no room, then with ever more until it succeeds; tell what failed, in turn."""
    before, used = look(disk.root), disk.used(resource)
    failed: list[str] = []
    for more in range(MOST_ATTEMPTS):
        disk.limit(resource, used + more * stride)
        path = failure(call, disk.root, errno.ENOSPC)
        if path is None:
            return list(dict.fromkeys(failed))
        failed.append(path)
        assert_nothing_is_half_done(disk.root, before)
    return pytest.fail(f"failed {MOST_ATTEMPTS} times, last at {failed[-1]}")


BUILDING = "runs/.partial-run-2"
LINK = f"published/{SAMPLE.dataset}"
COMPLETING = [
    BUILDING,
    *(
        f"{BUILDING}/{name}"
        for name in ("report.html", "report.md", "croissant.json", "manifest.json")
    ),
    LINK,
]
REPORTING = COMPLETING[:3]
"""A report that is written again needs more room than all that follows it."""
SEARCHING = ["neighbors/run-1", "neighbors/.partial-run-1/neighbors.json"]


@pytest.mark.parametrize(
    ("call", "failing"),
    [
        (encode, ["runs/.partial-run-3/codes/test.h5"]),
        (search, SEARCHING),
        (write_journal, [JOURNAL]),
    ],
)
def test_without_room_for_contents_nothing_is_half_done(
    call: Call, failing: list[str], disk: Disk
) -> None:
    assert sweep(call, disk, "size") == failing


@pytest.mark.parametrize(
    ("call", "failing"),
    [
        (encode, ["runs/.partial-run-3", "runs/.partial-run-3/codes/test.h5"]),
        (complete, COMPLETING),
        (search, ["locks/neighbors-run-1.lock", *SEARCHING]),
        (write_journal, [JOURNAL]),
    ],
)
def test_without_room_for_names_nothing_is_half_done(
    call: Call, failing: list[str], disk: Disk
) -> None:
    assert sweep(call, disk, "nr_inodes") == failing


@pytest.mark.timeout(400)
def test_without_room_for_a_model_nothing_is_half_done(disk: Disk) -> None:
    failing = sweep(train, disk, "size", stride=3)
    assert {Path(path).name for path in failing} & {"autoencoder.keras", "encoder.keras"}
    assert all(path.startswith("models/") for path in failing)


@pytest.mark.timeout(400)
def test_without_room_for_baselines_nothing_is_half_done(disk: Disk) -> None:
    folder = published_manifest(disk.root).dataset.folder
    for name in ("pca.npy", "baselines.json", "pca-32.json"):
        (disk.root / folder / name).unlink()
    failing = sweep(measure, disk, "size", stride=100)
    assert failing[0] == f"{folder}/pca.npy"
    assert all(path.startswith(f"{folder}/") for path in failing)


@pytest.mark.timeout(400)
def test_without_room_for_figures_nothing_is_half_done(disk: Disk) -> None:
    shutil.rmtree(building_folder(NEXT_RUN, disk.root) / "figures")
    failing = sweep(draw, disk, "size", stride=25)
    assert failing[0] == f"{BUILDING}/figures/comparison.png"
    assert all(path.startswith(f"{BUILDING}/figures/") for path in failing)


def test_a_run_is_published_once_there_is_room(disk: Disk) -> None:
    assert sweep(complete, disk, "size") == REPORTING
    run = open_published(SAMPLE.dataset, disk.root)
    assert run.name == NEXT_RUN
    check_files(run.folder, published_manifest(disk.root).files)
    assert len(run.codes("train", "shallow").codes) == 512
    assert not list(disk.root.rglob(f"{PARTIAL_PREFIX}*"))


def test_the_first_publication_leaves_no_link_before_it_is_complete(disk: Disk) -> None:
    for folder in ("published", "publications", "locks"):
        shutil.rmtree(disk.root / folder)
    failing = [MODEL_LOCK, "locks/publication.lock", JOURNAL]
    assert set(sweep(complete, disk, "nr_inodes")) == {*COMPLETING, *failing}
    run = open_published(SAMPLE.dataset, disk.root)
    check_files(run.folder, published_manifest(disk.root).files)


@pytest.mark.parametrize(
    ("call", "failing"),
    [
        (encode, "runs/.partial-run-3"),
        (complete, MODEL_LOCK),
        (search, "locks/neighbors-run-1.lock"),
        (write_journal, JOURNAL),
    ],
)
def test_a_disk_that_cannot_be_written_to_can_still_be_read(
    call: Call, failing: str, disk: Disk
) -> None:
    before = look(disk.root)
    disk.forbid_writing()
    assert failure(call, disk.root, errno.EROFS) == failing
    assert_nothing_is_half_done(disk.root, before)
    assert len(open_published(SAMPLE.dataset, disk.root).codes("test", "deep").codes) == 128
    disk.make_room()
    call(disk.root)
