import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from pydantic import BaseModel

from flows.encode import encode
from flows.retrain import main, retrain
from flows.sweep import sweep
from flows.terminal import command_line
from flows.terminal.command_line import Imports
from flows.terminal.flags import parse
from tasks.images.sources import (
    AnySource,
    ArrayFiles,
    CifarFolder,
    IdxFolder,
    PictureFolder,
)
from tasks.parameters.published import EncodeParameters
from tasks.parameters.retrain import Parameters
from tasks.parameters.sweep import SweepParameters
from tasks.parameters.training import TrainingParameters
from tests.waiting import SOON


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
        (
            ["npz-file", "x.npz", "images-array", "a"],
            ArrayFiles(images_file="x.npz", images_array="a"),
        ),
        (["images-file", "x.npy"], ArrayFiles(images_file="x.npy")),
        (
            ["hdf5-file", "x.h5", "images-dataset", "a", "axes", "HWN"],
            ArrayFiles(images_file="x.h5", images_array="a", axes="HWN"),
        ),
        (
            ["images-file", "x.h5", "labels-file", "y.npy", "image-shape", "28x28"],
            ArrayFiles(images_file="x.h5", labels_file="y.npy", image_shape="28x28"),
        ),
        (
            ["cifar-folder", "x", "cifar-labels", "coarse"],
            CifarFolder(cifar_folder="x", cifar_labels="coarse"),
        ),
        (
            ["idx-folder", "x", "idx-prefix", "emnist-letters", "label-column", "2"],
            IdxFolder(idx_folder="x", idx_prefix="emnist-letters", label_column=2),
        ),
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
    assert max(map(len, shown.splitlines())) <= 90  # 80 but for an example to copy
    for group in parameters.model_fields.values():
        assert group.annotation is not None
        for name in group.annotation.model_fields:
            assert f"--{name.replace('_', '-')}" in shown
    assert "Epochs of the shallow model (1 to 10000; default: 20)" in " ".join(shown.split())
    assert "tuple[" not in shown
    assert "ifdef" not in shown


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (
            ["--batch-size", "0"],
            "--batch-size 0: must be at least 1",
        ),
        (["--seed", "one"], "--seed one: must be a whole number"),
        (["--tolerance", "much"], "--tolerance much: must be a number"),
        (["--seed"], "--seed: expected one argument"),
        (["--recipe", "none"], "--recipe none: must be 'default' or 'lab'"),
        (["--dataset", "../x"], "--dataset ../x: must match "),
        (
            ["--epochs", "3"],
            "There is no flag --epochs: did you mean --shallow-epochs or --deep-epochs or --wide",
        ),
        (["--sead=3"], "There is no flag --sead: did you mean --seed?"),
        (["--source.labels-array", "y"], "--source.images-file: is missing"),
        (
            ["--source.npz-file", "x", "--source.idx-prefix", "y"],
            "--source.idx-prefix y: does not belong to this source",
        ),
        (
            ["--source.npz-file", "x", "--source.test-labels-array", "y"],
            "--source: Test labels are named without test images: name both",
        ),
        (
            ["--extra", '{"name": "mine", "code_size": 0}'],
            "--extra.0.code-size 0: must be at least 1",
        ),
    ],
)
def test_wrong_values_are_refused_with_exit_code_2(
    flags: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refusal:
        parse(retrain, Parameters, flags)
    assert refusal.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(reason)


def test_a_path_that_is_no_utf_8_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    folder = os.fsdecode(b"/data/caf\xe9")
    with pytest.raises(SystemExit) as refusal:
        parse(retrain, Parameters, ["--dataset", "mine", "--source.idx-folder", folder])
    assert refusal.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("/data/caf\\udce9 is not UTF-8: ")


def test_help_tells_of_the_command_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(encode, EncodeParameters, ["--help"], [("--run RUN", "with a certain run")])
    assert ended.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith("Usage: python -m flows.encode [FLAGS] Encode any images")
    assert "Examples python -m flows.encode --run RUN with a certain run Images --data" in shown
    assert "Division of the work --shard-rows N Fewer need less memory" in shown
    for word in ("quality gate", "hold", "train the"):
        assert word not in shown


def test_a_grid_is_a_list_or_a_flag_said_twice() -> None:
    expected = (8, 16)
    for flags in (["--code-sizes", "8,16"], ["--code-sizes", "8", "--code-sizes", "16"]):
        assert parse(sweep, SweepParameters, flags).grid.code_sizes == expected


def test_a_bad_variable_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTOENCODER_WORKERS", "many")
    assert main([]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Failed: Among the variables AUTOENCODER_*: workers: ")


@pytest.mark.parametrize("needed", [True, False])
def test_modules_are_imported_ahead_only_if_the_flow_will_need_them(
    needed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    imported = threading.Event()

    @contextmanager
    def no_server(seconds: float, meanwhile: Callable[[], object]) -> Iterator[None]:
        meanwhile()
        yield

    class Stub:
        name, description = "stub", "A flow that only returns one of its parameters."

        def __call__(self, training: TrainingParameters, **others: object) -> int:
            assert not needed or imported.wait(SOON)
            return training.seed

    monkeypatch.setattr(command_line, "temporary_server", no_server)
    monkeypatch.setattr(command_line, "import_ahead", lambda modules: imported.set())
    code = command_line.run(
        cast(Any, Stub()),
        Parameters,
        ["--seed", "3"],
        print,
        imports=Imports(("slow",), lambda parameters: needed and parameters.training.seed == 3),
    )
    assert (code, capsys.readouterr().out) == (0, "3\n")
    assert imported.is_set() == needed
