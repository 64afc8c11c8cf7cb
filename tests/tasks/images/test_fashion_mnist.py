import socket
from pathlib import Path

import numpy as np
import pytest

from tasks.core.backend import keras
from tasks.core.errors import StepError
from tasks.images import fashion_mnist
from tasks.images.fashion_mnist import load_with_keras, open_debian_package
from tests.conftest import read_all, sample_images


def test_keras_is_asked_with_a_bounded_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = sample_images()
    labels = np.zeros(1, np.uint8)
    timeouts = []

    def load_data() -> tuple[object, object]:
        timeouts.append(socket.getdefaulttimeout())
        return (train, labels), (test, labels)

    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", load_data)
    before = socket.getdefaulttimeout()
    raw = load_with_keras()
    assert raw.test is not None
    assert np.array_equal(read_all(raw.test.images), test)
    assert timeouts == [fashion_mnist.CONNECT_SECONDS]
    assert socket.getdefaulttimeout() == before


def open_package() -> None:
    with open_debian_package():
        pass


def test_without_package_tools_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StepError, match="apt-get was not found"):
        open_package()


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
        open_package()


def test_package_tools_that_hang_are_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for tool in ("apt-get", "dpkg-deb"):
        (tmp_path / tool).write_text("#!/bin/sh\nexec sleep 60\n")
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(fashion_mnist, "PACKAGE_SECONDS", 0.2)
    with pytest.raises(StepError, match="no result within"):
        open_package()
