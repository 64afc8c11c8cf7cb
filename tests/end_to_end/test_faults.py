import json
from collections.abc import Iterator

import pytest

from tests.faults.calls import FAULTS
from tests.faults.harness import Workshop, choose_cases, try_cases

CASES = 16
"""`make faults` tries three hundred."""


@pytest.fixture(scope="module")
def workshop(
    compiled: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workshop]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in compiled.items():
            patch.setenv(name, value)
        yield Workshop(tmp_path_factory.mktemp("faults").resolve())


@pytest.mark.timeout(900)
def test_whichever_write_fails_nothing_is_half_done(
    workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = {call.kind for call in workshop.calls}
    assert kinds > {"openat", "write", "fsync", "rename", "unlink", "mkdir", "symlink", "chmod"}
    with capsys.disabled():
        report = try_cases(workshop, choose_cases(workshop.calls, CASES))
        print(f"Faults at writes: {json.dumps(report)}")
    assert report["faults"] == []
    assert report["by fault"].keys() == set(FAULTS)
