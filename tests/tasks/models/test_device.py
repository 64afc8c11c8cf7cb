import ctypes
import logging
import subprocess
import sys

import pytest

from tasks.core.backend import tf
from tasks.core.errors import StepError
from tasks.models.device import choose_device

GPU = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
WITHOUT_A_DRIVER = """
import sys
from tasks.models import device
device.DRIVER = "libnone.so"
print(device.choose_device("auto"), "tensorflow" in sys.modules)
"""


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: None)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])


def test_without_a_driver_nobody_waits_for_tensorflow() -> None:
    told = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_DRIVER], capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == ["cpu", "False"]


def test_a_missing_gpu_is_refused_at_once() -> None:
    with pytest.raises(StepError, match="device=gpu, but TensorFlow sees no GPU: install"):
        choose_device("gpu")


def test_auto_says_what_it_took(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert choose_device("auto") == "cpu"
    assert "Computing on the CPU: no GPU is visible" in caplog.text


def test_a_gpu_gets_memory_growth(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    grown = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [GPU])
    monkeypatch.setattr(
        tf.config.experimental, "set_memory_growth", lambda *arguments: grown.append(arguments)
    )
    assert choose_device("auto") == choose_device("gpu") == "gpu"
    assert grown == [(GPU, True)] * 2
    assert "Computing on /physical_device:GPU:0" in caplog.text


def test_the_cpu_can_be_chosen_beside_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [GPU])
    monkeypatch.setattr(
        tf.config, "set_visible_devices", lambda *arguments: hidden.append(arguments)
    )
    assert choose_device("cpu") == "cpu"
    assert hidden == [([], "GPU")]
