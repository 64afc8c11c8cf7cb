import errno

import pytest
from prefect.states import Failed

from tasks.core.errors import RefusedError, StepError, TransientError
from tasks.steps.retries import is_transient


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (TransientError("no answer"), True),
        (ConnectionResetError("x"), True),
        (TimeoutError("x"), True),
        (PermissionError("x"), False),
        (IsADirectoryError("x"), False),
        (OSError(errno.EIO, "x"), True),
        (OSError(errno.EBUSY, "x"), True),
        (OSError(errno.ESTALE, "x"), True),
        (OSError("x"), True),
        (OSError(errno.ENOSPC, "x"), False),
        (OSError(errno.EROFS, "x"), False),
        (OSError(errno.EINVAL, "x"), False),
        (StepError("wrong data"), False),
        (RefusedError("too bad"), False),
        (ValueError("a bug"), False),
    ],
)
def test_only_failures_that_may_pass_are_retried(error: Exception, transient: bool) -> None:
    assert is_transient(None, None, Failed(data=error)) is transient
