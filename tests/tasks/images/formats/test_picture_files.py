import errno
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.core.errors import StepError, TransientError
from tasks.images.formats.picture import Reading
from tasks.images.formats.picture_files import PictureFiles, Unused, find_pictures
from tests.tasks.images.formats.test_picture import age

PICTURE = Image.fromarray(np.arange(30, dtype=np.uint8).reshape(6, 5))


def save(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PICTURE.save(path, format="PNG")


def find(folder: Path, skip_damaged: bool = False, allowed: Path | None = None) -> PictureFiles:
    return find_pictures(folder, allowed, Reading(), skip_damaged)


def test_pictures_stand_in_the_order_of_their_paths(tmp_path: Path) -> None:
    save(tmp_path, "b/2.png", "b/10.PNG", "a/3.jpeg", "a-b/1.webp", "a/c/9")
    names = ["/".join(file) for file in find(tmp_path).files]
    assert names == ["a/3.jpeg", "a/c/9", "a-b/1.webp", "b/10.PNG", "b/2.png"]


def test_what_is_no_picture_is_counted_by_suffix_and_folder(tmp_path: Path) -> None:
    save(tmp_path, "a/1.png", "a/2.png", "a/._1.png", "b/.2.png")
    texts = ("a/x.TXT", "a/y.txt", "Thumbs.db", "b/metadata.jsonl", "README", "b/c/scan.heic")
    for name in (*texts, ".DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no picture")
    found = find(tmp_path)
    assert len(found.files) == 2
    assert found.unused == {
        Unused("hidden", ".png", ("a",)): 1,
        Unused("hidden", ".png", ("b",)): 1,
        Unused("hidden", ".DS_Store", ()): 1,
        Unused("no pictures", ".txt", ("a",)): 2,
        Unused("no pictures", ".db", ()): 1,
        Unused("no pictures", "files without a suffix", ()): 1,
        Unused("no pictures", ".jsonl", ("b",)): 1,
        Unused("no pictures", ".heic", ("b", "c")): 1,
    }


@pytest.mark.parametrize(
    "name",
    ["@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__MACOSX", ".git"],
)
def test_a_service_folder_is_not_looked_into(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, "a/1.png", f"{name}/2.png", f"a/{name}/1.png/thumb.jpg")
    monkeypatch.setattr(os, "scandir", forbid(name))
    found = find(tmp_path)
    assert found.files == [("a", "1.png")]
    assert sum(found.unused.values()) == 2
    assert {unused.what for unused in found.unused} == {name}


def forbid(name: str):  # type: ignore[no-untyped-def]
    """A scandir that may not list folders of a name, as for another user than root."""
    scandir = os.scandir

    def forbidding(folder: str) -> object:
        if Path(folder).name == name:
            raise PermissionError(errno.EACCES, "Permission denied", folder)
        return scandir(folder)

    return forbidding


def test_a_class_that_cannot_be_read_does_not_vanish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, "boot/1.png", "coat/1.png")
    monkeypatch.setattr(os, "scandir", forbid("boot"))
    with pytest.raises(StepError, match="boot cannot be read: Permission denied: allow"):
        find(tmp_path)


@pytest.mark.parametrize("name", ["1.png", "1.jpg"])
def test_damaged_pictures_are_refused_or_left_out_by_name(name: str, tmp_path: Path) -> None:
    """As notMNIST has some: a few are empty, others end early."""
    save(tmp_path, "a/0.png", f"b/{name}", "b/empty.png")
    (tmp_path / "b" / name).write_bytes((tmp_path / "b" / name).read_bytes()[:-30])
    (tmp_path / "b" / "empty.png").write_bytes(b"")
    for path in tmp_path.glob("*/*"):
        age(path)
    found = find(tmp_path, skip_damaged=True)
    assert found.files == [("a", "0.png")]
    assert found.unused == {
        Unused("damaged", name, ("b",)): 1,
        Unused("damaged", "empty.png", ("b",)): 1,
    }
    with pytest.raises(StepError, match=r"empty\.png cannot be read as a picture: it is empty"):
        find(tmp_path)


def test_a_file_that_is_still_being_copied_is_not_left_out(tmp_path: Path) -> None:
    save(tmp_path, "a/0.png", "a/1.png")
    (tmp_path / "a/1.png").write_bytes(b"")
    with pytest.raises(TransientError, match=r"1\.png .* it is empty. .*wait until it is copied"):
        find(tmp_path, skip_damaged=True)


def test_further_frames_are_counted(tmp_path: Path) -> None:
    frames = [Image.new("L", (5, 6), level) for level in (0, 99)]
    for name in ("a.gif", "b.gif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    assert find(tmp_path).unused == {Unused("frames after the first", ".gif", ()): 2}


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(StepError, match="holds no picture that can be read"):
        find(tmp_path)


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    save(tmp_path, "1.png")
    with pytest.raises(StepError, match=r"1\.png is not a folder"):
        find(tmp_path / "1.png")


def test_links_are_followed(tmp_path: Path) -> None:
    save(tmp_path, "pictures/coat/1.png", "elsewhere/2.png")
    (tmp_path / "pictures" / "boot").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "pictures" / "coat" / "3.png").symlink_to("1.png")
    files = find(tmp_path / "pictures", allowed=tmp_path).files
    assert files == [("boot", "2.png"), ("coat", "1.png"), ("coat", "3.png")]


@pytest.mark.parametrize("link", ["boot", "coat/3.png"])
def test_a_link_may_not_lead_out_of_the_data_root(link: str, tmp_path: Path) -> None:
    save(tmp_path, "pictures/coat/1.png", "elsewhere/2.png")
    target = tmp_path / "elsewhere" / ("" if link == "boot" else "2.png")
    (tmp_path / "pictures" / link).symlink_to(target)
    with pytest.raises(StepError, match=f"{link} leads out of"):
        find(tmp_path / "pictures", allowed=tmp_path / "pictures")


@pytest.mark.parametrize("target", ["..", ".", "../.."])
def test_a_link_in_a_circle_is_named(target: str, tmp_path: Path) -> None:
    save(tmp_path, "a/b/1.png")
    (tmp_path / "a" / "b" / "link").symlink_to(target)
    with pytest.raises(StepError, match="link is a link to a folder that it lies in"):
        find(tmp_path)


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    save(tmp_path, "a/1.png")
    (tmp_path / "a" / "notes.txt").symlink_to("nowhere")
    assert find(tmp_path).unused == {Unused("not files", ".txt", ("a",)): 1}
    (tmp_path / "a" / "2.png").symlink_to("nowhere")
    with pytest.raises(StepError, match=r"2\.png is a link to nothing"):
        find(tmp_path)


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    save(tmp_path, "a/1.png")
    os.mkfifo(tmp_path / "a" / "pipe")
    assert find(tmp_path).unused == {Unused("not files", "files without a suffix", ("a",)): 1}
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(StepError, match=r"pipe\.png is not a file"):
        find(tmp_path)


def test_names_that_are_no_text_can_be_read_and_shown(tmp_path: Path) -> None:
    strange = os.fsdecode(b"caf\xe9\n")
    save(tmp_path, f"{strange}/1.png")
    assert find(tmp_path).files == [(strange, "1.png")]
    (tmp_path / strange / "1.png").write_bytes(b"")
    age(tmp_path / strange / "1.png")
    with pytest.raises(StepError) as refusal:
        find(tmp_path)
    assert r"caf\xe9\n/1.png cannot be read" in str(refusal.value)
    str(refusal.value).encode()
