from pathlib import Path

import pytest
from obstore.exceptions import GenericError, PermissionDeniedError

from tasks.core.errors import StepError, TransientError
from tasks.stores.store import (
    Store,
    configured_store,
    delete_objects,
    is_configured,
    list_folders,
    list_objects,
    put_file,
    read_object,
    store_errors_explained,
)

ANSWER = (
    "Generic S3 error: Error performing PUT http://host/bucket/a?X-Amz-Signature=0123 in 3ms "
    'Server returned non-2xx status code: 503: <?xml version="1.0"?>\n<Error><Code>SlowDown</Code>'
    "<AWSAccessKeyId>AKIA</AWSAccessKeyId></Error>\n\nDebug source:\nGeneric {\n}"
)


def error_of(error: Exception, store: Store) -> StepError:
    with pytest.raises(StepError) as found, store_errors_explained(store):
        raise error
    return found.value


def test_an_answer_becomes_one_line_without_signatures_and_keys(store: Store) -> None:
    assert str(error_of(GenericError(ANSWER), store)) == (
        "s3://bucket/prefix did not answer: Generic S3 error: Error performing PUT "
        "http://host/bucket/a in 3ms Server returned non-2xx status code: 503 (SlowDown)"
    )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (GenericError("503"), TransientError),
        (ConnectionResetError("gone"), TransientError),
        (PermissionDeniedError("no"), StepError),
        (FileNotFoundError("no such bucket"), StepError),
        (NotImplementedError("no such operation"), StepError),
    ],
)
def test_what_may_pass_is_tried_again(error: Exception, kind: type, store: Store) -> None:
    assert type(error_of(error, store)) is kind


def test_objects_are_stored_listed_and_deleted(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    for key in ("runs/a/1", "runs/a/b/2", "runs/c/3", "other"):
        put_file(file, key, store)
    assert list_folders("runs/", store) == ["a", "c"]
    assert list_objects("runs/a/", store) == {"runs/a/1": 5, "runs/a/b/2": 5}
    assert read_object("other", store) == b"12345"
    assert read_object("absent", store) is None
    delete_objects(["runs/a/1", "absent"], store)
    assert "runs/a/1" not in list_objects("runs/", store)


def test_the_store_is_named_by_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_configured()
    with pytest.raises(StepError, match="set AUTOENCODER_PUBLISH_TO to s3://BUCKET/PREFIX"):
        configured_store()
    monkeypatch.setenv("AUTOENCODER_PUBLISH_TO", "s3://bucket/some/prefix/")
    assert is_configured()
    assert configured_store().address == "s3://bucket/some/prefix"


@pytest.mark.parametrize(
    "address", ["s3://user:secret@bucket/prefix", "s3://bucket/prefix?token=secret"]
)
def test_an_address_with_a_secret_is_refused_and_not_repeated(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOENCODER_PUBLISH_TO", address)
    with pytest.raises(
        StepError, match="AUTOENCODER_PUBLISH_TO: .* credentials in the env"
    ) as found:
        is_configured()
    assert "secret" not in str(found.value)


@pytest.mark.parametrize("address", ["bucket/prefix", "/folder", "http://host/b", "s3://b/../c"])
def test_what_is_no_address_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOENCODER_PUBLISH_TO", address)
    with pytest.raises(StepError, match="is no address of an object store"):
        is_configured()
