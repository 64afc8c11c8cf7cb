import sys

import pytest

from tasks.codes import CodesError
from tasks.codes.remote.address import check_address, describe, open_store, store_errors_explained


@pytest.mark.parametrize(
    ("address", "checked"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("gs://bucket/a/b/", "gs://bucket/a/b"),
        ("az://container/a", "az://container/a"),
    ],
)
def test_an_address_names_a_bucket_and_a_prefix(address: str, checked: str) -> None:
    assert check_address(address) == checked


@pytest.mark.parametrize(
    "address",
    ["s3://", "s3:///a", "s3://b/a//c", "s3://b/./c", "ftp://b/c", "s3:b/c"],
)
def test_another_is_refused_with_what_is_expected(address: str) -> None:
    with pytest.raises(CodesError, match="s3://BUCKET/PREFIX") as raised:
        check_address(address)
    assert repr(address) in str(raised.value)


@pytest.mark.parametrize("rest", ["user:hidden@bucket/a", "bucket/a?key=hidden", "bucket/a#hidden"])
def test_credentials_in_an_address_are_refused_and_not_repeated(rest: str) -> None:
    with pytest.raises(CodesError, match="AWS_ACCESS_KEY_ID") as raised:
        open_store(f"s3://{rest}")
    assert "hidden" not in str(raised.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(CodesError, match="with its extra stores"):
        open_store("s3://bucket/prefix")


def test_a_store_is_opened_with_its_prefix_and_asked_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert open_store("s3://bucket/some/prefix/").prefix == "some/prefix"  # type: ignore[union-attr]


def test_what_a_store_answers_is_told_in_one_line() -> None:
    with pytest.raises(CodesError) as raised, store_errors_explained("s3://b"):
        raise FileNotFoundError("a not found: <Error>\n<Code>NoSuchBucket</Code></Error>")
    assert str(raised.value) == "s3://b cannot be used: a not found (NoSuchBucket)"
    assert describe(OSError()) == "OSError"
