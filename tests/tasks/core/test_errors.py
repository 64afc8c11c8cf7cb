import errno
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.codes.errors import CodesError
from tasks.core.errors import StepError, command, readable, readable_errors

BAD = os.fsdecode(b"caf\xe9.png")
"""A name that is Latin-1, as Python holds it."""


def test_text_is_left_as_it_is() -> None:
    text = "naïve café, 猫, 🙂\n"
    assert readable(text) == text


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (StepError(f"{BAD} is damaged"), StepError),
        (CodesError(f"{BAD} is damaged"), CodesError),
        (ValueError(f"{BAD} is damaged"), StepError),
        (OSError(errno.EIO, "is damaged", BAD), OSError),  # Python quotes the name itself
    ],
)
def test_a_message_with_bytes_that_are_no_utf_8_can_be_sent(
    error: Exception, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as raised, readable_errors():
        raise error
    text = str(raised.value)
    assert text.encode()
    assert "caf" in text
    assert "is damaged" in text


def test_other_errors_pass_through() -> None:
    error = KeyError("missing")
    with pytest.raises(KeyError) as raised, readable_errors():
        raise error
    assert raised.value is error


@pytest.mark.parametrize("on_the_path", [True, False])
def test_the_command_of_a_message_works_as_typed(
    on_the_path: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a room" / "bin").mkdir(parents=True)
    python = tmp_path / "a room" / "bin" / "python"
    python.symlink_to(sys.executable)
    (tmp_path / "package.py").write_text("print('works')")
    monkeypatch.setattr(sys, "executable", str(python))
    path = str(python.parent) if on_the_path else ""
    monkeypatch.setenv("PATH", f"{path}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    typed = command("package")
    assert typed.startswith("python " if on_the_path else shlex.quote("a room/bin/python"))
    shown = subprocess.run(["sh", "-c", typed], capture_output=True, text=True, check=True)
    assert shown.stdout == "works\n"
