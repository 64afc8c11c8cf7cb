"""TensorFlow is asked in a process of its own: what it uses is settled once for a process."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tasks.core import device
from tasks.core.device import check_xla_flags
from tasks.core.errors import StepError

ASK = """
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
from tasks.core.errors import StepError
from tasks.core import device
device.DRIVER = sys.argv[1] or device.DRIVER
for requested in sys.argv[2:]:
    try:
        print("chosen:", device.choose_device(requested))
    except StepError as error:
        print("refused:", error)
if "tensorflow" in sys.modules:
    import tensorflow as tf
    gpus = tf.config.get_visible_devices("GPU")
    print("computed on", tf.constant(1.0).device[-5:], "beside", len(gpus), "GPUs")
    print({tf.config.experimental.get_memory_growth(gpu) for gpu in gpus})
"""
NO_DRIVER = "libnone.so"
ANY_LIBRARY = "libc.so.6"
"""Stands for NVIDIA's driver, so that TensorFlow itself is asked for GPUs."""
REFUSED = (
    "refused: device=gpu, but TensorFlow sees no GPU: install the gpu requirements and the driver, "
    "or choose device=auto"
)


def ask(*requested: str, driver: str = "", gpus: str | None = None) -> list[str]:
    """The lines of a process that chooses these devices, one after the other.

    Args:
        driver: the library to take for NVIDIA's driver; empty: NVIDIA's.
        gpus: the GPUs that CUDA may show, by number.
    """
    environment = dict(os.environ)
    if gpus is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpus
    process = subprocess.run(
        [sys.executable, "-c", ASK, driver, *requested],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return process.stdout.splitlines()


def test_without_a_driver_nobody_waits_for_tensorflow() -> None:
    found = ask("auto", "gpu", driver=NO_DRIVER)
    assert found == ["Computing on the CPU: no GPU is visible", "chosen: cpu", REFUSED]


def test_with_a_driver_tensorflow_is_asked() -> None:
    found = ask("auto", "gpu", "cpu", driver=ANY_LIBRARY, gpus="-1")
    assert found == [
        *("Computing on the CPU: no GPU is visible", "chosen: cpu", REFUSED),
        *("Computing on the CPU", "chosen: cpu"),
        *("computed on CPU:0 beside 0 GPUs", "set()"),
    ]


def test_a_process_that_computes_elsewhere_refuses_the_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stand-in for a GPU: TensorFlow takes a change of the devices as long as it has none."""
    shown: list[list[object]] = []

    def show(gpus: list[object], kind: str) -> None:
        if shown and shown[0] != gpus:
            raise RuntimeError("Visible devices cannot be modified after being initialized")
        shown.append(gpus)

    config = SimpleNamespace(
        set_visible_devices=show,
        experimental=SimpleNamespace(set_memory_growth=lambda gpu, grows: None),
    )
    stand_in = SimpleNamespace(tf=SimpleNamespace(config=config))
    monkeypatch.setitem(sys.modules, "tasks.core.backend", stand_in)
    gpu = SimpleNamespace(name="GPU:0")
    monkeypatch.setattr(device, "_find_gpus", lambda: [gpu])
    assert [device.choose_device("cpu") for _ in range(2)] == ["cpu", "cpu"]
    with pytest.raises(StepError, match="computed on the CPU before, and cannot change to the GPU"):
        device.choose_device("gpu")
    shown.clear()
    assert device.choose_device("auto") == "gpu"
    with pytest.raises(StepError, match="computed on the GPU before, and cannot change to the CPU"):
        device.choose_device("cpu")


@pytest.fixture
def gpu() -> None:
    """Leave out a test where there is no GPU."""
    if ask("auto")[-1] != "{True}":
        pytest.skip("TensorFlow sees no GPU here")


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("requested", ["auto", "gpu"])
def test_a_gpu_is_used_and_its_memory_taken_as_needed(requested: str) -> None:
    chosen = ["Computing on /physical_device:GPU:0", "chosen: gpu"]
    found = ask(requested, requested, gpus="0")
    assert found == [*chosen, *chosen, "computed on GPU:0 beside 1 GPUs", "{True}"]


@pytest.mark.usefixtures("gpu")
def test_the_cpu_can_be_chosen_beside_a_gpu() -> None:
    found = ask("cpu")
    assert found == [
        "Computing on the CPU",
        "chosen: cpu",
        "computed on CPU:0 beside 0 GPUs",
        "set()",
    ]


def test_flags_that_xla_does_not_know_are_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """XLA itself would end the process, within the training."""
    monkeypatch.setenv("AUTOENCODER_XLA_FLAGS", "--xla_no_such_flag=1")
    refusal = "^AUTOENCODER_XLA_FLAGS=--xla_no_such_flag=1 cannot be used: Unknown flag .*$"
    with pytest.raises(StepError, match=refusal):
        check_xla_flags()
