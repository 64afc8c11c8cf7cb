import socket
from pathlib import Path

import keras
import numpy as np
import pytest

from tasks import sources
from tasks.errors import StepError
from tasks.sources import read_debian_package, read_folder, read_keras
from tests.conftest import SAMPLE_FOLDER


def test_names_the_missing_file_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"train-images-idx3-ubyte\.gz is missing"):
        read_folder(tmp_path)


def test_keras_is_asked_with_a_bounded_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = read_folder(SAMPLE_FOLDER)
    timeouts = []

    def load_data() -> tuple[object, object]:
        timeouts.append(socket.getdefaulttimeout())
        return (raw.train_images, raw.train_labels), (raw.test_images, raw.test_labels)

    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", load_data)
    before = socket.getdefaulttimeout()
    assert np.array_equal(read_keras().test_images, raw.test_images)
    assert timeouts == [sources.CONNECT_SECONDS]
    assert socket.getdefaulttimeout() == before


def test_without_package_tools_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StepError, match="apt-get was not found"):
        read_debian_package()


def test_the_package_tools_last_words_are_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for tool in ("apt-get", "dpkg-deb"):
        (tmp_path / tool).write_text(
            "#!/bin/sh\necho 'E: first' >&2\necho 'E: no disk' >&2\nexit 9\n"
        )
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(StepError, match="apt-get failed: E: no disk"):
        read_debian_package()


def test_package_tools_that_hang_are_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for tool in ("apt-get", "dpkg-deb"):
        (tmp_path / tool).write_text("#!/bin/sh\nexec sleep 60\n")
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(sources, "PACKAGE_SECONDS", 0.2)
    with pytest.raises(StepError, match="no result within"):
        read_debian_package()
