import io
import logging
import subprocess
import sys
import time

import pytest
from pydantic import BaseModel
from rich.console import Console

from flows.retrain import retrain
from flows.sweep import sweep
from flows.terminal.command_line import parse
from flows.terminal.failures import WithoutRetracing, WithoutTraceback
from tasks.core.errors import StepError
from tasks.core.records import EpochRecord
from tasks.images.sources import (
    AnySource,
    Hdf5File,
    IdxFolder,
    NpyFiles,
    NpzFile,
    PictureFolder,
)
from tasks.models.state import Progress
from tasks.parameters.retrain import Parameters
from tasks.parameters.sweep import SweepParameters
from tasks.steps import progress
from tasks.steps.progress import show_progress
from tests.conftest import SPEC

HISTORY = (EpochRecord(loss=0.3, validation_loss=0.31),)
MIDDLE = Progress(steps_done=5, steps=10, epochs_done=1, epochs=2, history=HISTORY)


def test_no_flags_are_the_defaults() -> None:
    assert parse(retrain, Parameters, []) == Parameters()


def test_flags_are_flat_whatever_their_group() -> None:
    flags = ["--recipe", "lab", "--quick", "--dataset", "mine"]
    flags += ["--source.idx-folder", "/data"]
    parameters = parse(retrain, Parameters, flags)
    assert parameters.training.recipe == "lab"
    assert parameters.run.quick
    assert parameters.data.dataset == "mine"
    assert parameters.data.source == IdxFolder(idx_folder="/data")


@pytest.mark.parametrize(
    ("flags", "source"),
    [
        (["npz-file", "x.npz", "images-array", "a"], NpzFile(npz_file="x.npz", images_array="a")),
        (["images-file", "x.npy"], NpyFiles(images_file="x.npy")),
        (["hdf5-file", "x.h5"], Hdf5File(hdf5_file="x.h5")),
        (["picture-folder", "x"], PictureFolder(picture_folder="x")),
    ],
)
def test_the_flags_of_a_source_tell_its_kind(flags: list[str], source: AnySource) -> None:
    named = [f"--source.{word}" if i % 2 == 0 else word for i, word in enumerate(flags)]
    assert parse(retrain, Parameters, ["--dataset", "mine", *named]).data.source == source


def test_no_environment_variable_changes_a_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEED", "7")
    monkeypatch.setenv("DATASET", "mine")
    assert parse(retrain, Parameters, []) == Parameters()


@pytest.mark.parametrize(
    ("module", "parameters"), [("flows.retrain", Parameters), ("flows.sweep", SweepParameters)]
)
def test_every_parameter_is_a_flag(module: str, parameters: type[BaseModel]) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for group in parameters.model_fields.values():
        assert group.annotation is not None
        for name in group.annotation.model_fields:
            assert f"--{name.replace('_', '-')}" in shown
    assert "at least 1, at most 10000] (default: 20)" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (
            ["--batch-size", "0"],
            "batch_size: Input should be greater than or equal to 1",
        ),
        (["--recipe", "none"], "recipe: Input should be 'default' or 'lab', found 'none'"),
        (["--dataset", "../x"], "dataset: String should match pattern"),
        (["--epochs", "3"], "unrecognized arguments: --epochs"),
        (["--source.labels-array", "y"], "source.NpzFile.npz_file: Field required"),
        (
            ["--source.npz-file", "x", "--source.labels-file", "y"],
            "source.NpzFile.labels_file: Extra inputs are not permitted, found 'y'",
        ),
        (
            ["--source.npz-file", "x", "--source.test-labels-array", "y"],
            "source.NpzFile: Value error, Test labels are named without test images: name both",
        ),
    ],
)
def test_wrong_values_are_refused_with_exit_code_2(
    flags: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refusal:
        parse(retrain, Parameters, flags)
    assert refusal.value.code == 2
    assert reason in capsys.readouterr().err


def test_a_grid_is_a_list_or_a_flag_said_twice() -> None:
    expected = (8, 16)
    for flags in (["--code-sizes", "8,16"], ["--code-sizes", "8", "--code-sizes", "16"]):
        assert parse(sweep, SweepParameters, flags).grid.code_sizes == expected


def test_tensorflow_s_retracing_is_no_news_but_its_other_warnings_are() -> None:
    told = {
        "6 out of the last 6 calls to %s triggered tf.function retracing. Tracing is": False,
        "The optimizer is gone": True,
    }
    for text, shown in told.items():
        record = logging.LogRecord("tensorflow", logging.WARNING, "", 0, text, (), None)
        assert WithoutRetracing().filter(record) is shown


@pytest.mark.parametrize(
    ("error", "shown"), [(StepError("x"), False), (OSError(28, "x"), False), (KeyError("x"), True)]
)
def test_only_bugs_show_their_traceback(error: Exception, shown: bool) -> None:
    record = logging.LogRecord("prefect.task_runs", logging.ERROR, "", 0, "%r", (error,), None)
    record.exc_info = (type(error), error, None)
    assert WithoutTraceback().filter(record) is shown


def test_progress_is_a_live_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    monkeypatch.setattr(progress, "log_console", lambda: console)
    with show_progress(SPEC) as report:
        report(MIDDLE)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "shallow model" in shown
    assert "epoch 1/2" in shown
    assert "loss 0.3000  validation loss 0.3100" in shown


def test_progress_is_a_few_lines_elsewhere(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(progress, "log_console", lambda: Console(file=io.StringIO()))
    clock = iter([0.0, 5.0, 11.0, 12.0, 20.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with show_progress(SPEC) as report:
        for _ in range(3):
            report(MIDDLE)
        report(MIDDLE._replace(steps_done=10, epochs_done=2))
    assert [record.getMessage() for record in caplog.records] == [
        "shallow model: epoch 1/2, loss 0.3000  validation loss 0.3100, about 11 s left",
        "shallow model: epoch 2/2, loss 0.3000  validation loss 0.3100, about 0 s left",
    ]
