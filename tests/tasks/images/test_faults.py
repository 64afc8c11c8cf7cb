import logging

import pytest

from tasks.core.errors import StepError, TransientError
from tasks.images.faults import (
    MOST_NAMED,
    collect_faults,
    faults_reported,
    report_fault,
    report_note,
)


def test_a_fault_is_raised_unless_somebody_collects() -> None:
    with pytest.raises(StepError, match="a is damaged"):
        report_fault("a is damaged")
    with collect_faults() as faults:
        report_fault("a is damaged")
        report_fault(StepError("b is damaged"))
    assert (faults.count, faults.named) == (2, ["a is damaged", "b is damaged"])
    with pytest.raises(StepError, match="c is damaged"):
        report_fault("c is damaged")


def test_the_first_hundred_are_named_and_the_others_counted() -> None:
    with collect_faults() as faults:
        for number in range(250):
            report_fault(f"fault {number}")
    assert faults.count == 250
    assert faults.named == [f"fault {number}" for number in range(MOST_NAMED)]


def test_notes_are_logged_in_any_case(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), collect_faults() as faults:
        report_note("100 % dark")
    assert (faults.notes, faults.count) == (["100 % dark"], 0)
    assert "100 % dark" in caplog.text


def fail() -> None:
    raise StepError("damaged")


def test_an_error_ends_a_part_only_where_faults_are_collected() -> None:
    with pytest.raises(StepError, match="damaged"), faults_reported():
        fail()
    with collect_faults() as faults, faults_reported():
        fail()
    assert faults.named == ["damaged"]


def test_what_may_pass_is_not_collected_but_tried_again() -> None:
    with pytest.raises(TransientError), collect_faults(), faults_reported():
        raise TransientError("busy")
