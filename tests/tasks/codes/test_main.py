"""`python -m tasks.codes`."""

import subprocess
import sys
from pathlib import Path

import pytest

from tasks.codes.__main__ import main
from tasks.codes.published import run_folder
from tasks.core.records import DatasetRecord
from tasks.models.store import ModelRecord
from tests.conftest import complete

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def codes(model: ModelRecord, dataset: DatasetRecord, root: Path) -> Path:
    complete("run-1", model, dataset, root)
    return run_folder("run-1", root) / "codes" / "test.h5"


def test_codes_are_shown_with_provenance_and_statistics(
    codes: Path, model: ModelRecord, capsys: Captured
) -> None:
    assert main([str(codes)]) == 0
    shown = capsys.readouterr().out
    facts = {tuple(line.split(maxsplit=1)) for line in shown.splitlines() if line.strip()}
    assert facts > {
        ("schema_name", "autoencoder-flow/codes"),
        ("split", "test"),
        ("Model", "shallow"),
        ("fingerprint", model.fingerprint),
        ("architecture", "784-32-784"),
        ("validation_loss", str(model.validation_loss)),
        ("codes", "128 x 32"),
    }


def test_verifying_says_so(codes: Path) -> None:
    command = [sys.executable, "-m", "tasks.codes", "--verify", str(codes)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == f"{codes} is valid\n"


def test_any_damage_gives_an_exit_code(codes: Path, tmp_path: Path, capsys: Captured) -> None:
    """In a run folder even a byte that means nothing is noticed."""
    codes.write_bytes(codes.read_bytes() + b"\0")
    assert main(["--verify", str(codes)]) == 1
    assert "differs from its manifest" in capsys.readouterr().err
    elsewhere = tmp_path / "elsewhere.h5"
    elsewhere.write_bytes(codes.read_bytes()[:5000])
    assert main([str(elsewhere)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_help_names_the_command(capsys: Captured) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert capsys.readouterr().out.startswith("usage: python -m tasks.codes ")
