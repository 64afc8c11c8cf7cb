import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.server import deploy


def test_nothing_is_registered_on_a_server_that_nobody_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert deploy.main([]) == 1
    assert capsys.readouterr().err == ("PREFECT_API_URL is not set: set it, or use `make serve`\n")
