"""Runs in an artifacts folder, as readers see them: the link, the manifest, verified files.

Whatever is missing or damaged raises `CodesError`.
"""

import json
import os
import reprlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from .errors import CodesError
from .provenance import Split, short_basis
from .reader import Codes, read_codes, sha256_of_file

if TYPE_CHECKING:
    from .encoder import Encoder

ROOT_VARIABLE = "AUTOENCODER_ARTIFACTS"
MANIFEST_FILE = "manifest.json"
PLAIN_ENCODER_FILE = "encoder.h5"
"""In the folder of a model; the others there are Keras's."""
CHECKOUT = Path(__file__).resolve().parents[2] if __package__ == "tasks.codes" else None
"""The checkout that this package is part of; none where it is installed by itself."""

T = TypeVar("T")
P = TypeVar("P", bound=PurePath)


class RunFile(NamedTuple):
    """A file of a run, as its manifest lists it."""

    path: str
    """Relative to the run's folder."""
    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True)
class PublishedRun:
    """A run, its link resolved: everything read through it is of the same run."""

    folder: Path
    name: str
    schema_version: int
    """Of the manifest."""
    dataset: str
    """Name of the dataset that the models were trained on."""
    class_names: tuple[str, ...]
    """By label; empty where the dataset has none."""
    models: tuple[str, ...]
    files: tuple[RunFile, ...]
    bases: dict[str, str]
    """The basis of each model's codes, by model."""
    basis: str | None = None
    """The only basis of which codes and encoders are given; none if any may be."""
    obtain: Callable[[RunFile], Path] | None = field(default=None, repr=False, compare=False)
    """Fetches and verifies a file of a run in an object store; the folder is then in a cache."""

    def file(self, path: str) -> Path:
        """The path of one of the run's files, whose size and SHA-256 were checked.

        Raises:
            CodesError: the run has no such file, or it was changed.
        """
        for file in self.files:
            if file.path == path:
                return self.obtain(file) if self.obtain else check_file(self.folder, *file)
        raise CodesError(f"The run {self.name} has no file {path}")

    def codes(self, split: Split = "test", model: str = "deep") -> Codes:
        """The codes of one model; `open_codes(run.file(...))` reads several.

        Class names that the file lacks are those of the manifest.

        Raises:
            CodesError: the file is damaged or has no such model, or the codes have another basis
                than the run was opened with.
        """
        read = read_codes(self.file(f"codes/{split}.h5"), model)
        self._check_basis(read.basis, model)
        if read.labels is None or read.split.class_names:
            return read
        return replace(read, split=replace(read.split, class_names=self.class_names))

    def encoder(self, model: str = "deep") -> "Encoder":
        """The encoder of one model: a function from images to codes, computed by NumPy.

        Raises:
            CodesError: the run has none of this model, it has another basis than the run was
                opened with, or NumPy cannot compute it; says why.
        """
        from .encoder import read_encoder  # most readers do without

        if model not in self.models:
            raise CodesError(
                f"The run {self.name} has no model {model}, only {', '.join(self.models)}"
            )
        path = f"models/{model}/{PLAIN_ENCODER_FILE}"
        if path not in {file.path for file in self.files}:
            raise CodesError(
                f"The run {self.name} has no file {path}, as an earlier version published it: use "
                f"models/{model}/encoder.keras with Keras, or run the flow again"
            )
        encoder = read_encoder(self.file(path))
        self._check_basis(encoder.basis, model)
        return encoder

    def _check_basis(self, found: str, model: str) -> None:
        if self.basis not in (None, found):
            kept = ", ".join(name for name, basis in self.bases.items() if basis == self.basis)
            raise CodesError(
                f"The {model} codes of run {self.name} have basis {short_basis(found)}, not "
                f"{short_basis(self.basis)}, with which the run was opened: take those of {kept}, "
                f"or open it without"
            )

    def restrict(self, basis: str | None) -> "PublishedRun":
        """The same run, which gives nothing of another basis.

        Raises:
            CodesError: none of its models has the basis.
        """
        if basis is None or basis in self.bases.values():
            return replace(self, basis=basis)
        found = ", ".join(f"{name} {short_basis(text)}" for name, text in self.bases.items())
        raise CodesError(
            f"The run {self.name} has codes of a new basis ({found}), expected "
            f"{short_basis(basis)}: rebuild what you stored from the codes of this run, and store "
            "their basis with it"
        )


def open_published(
    dataset: str,
    root: Path | str | None = None,
    basis: str | None = None,
    max_age: timedelta | None = None,
) -> PublishedRun:
    """Resolve `published/<dataset>` once; a run published later does not disturb the reader.

    Args:
        root: the artifacts folder, or the address of an object store such as s3://bucket/prefix,
            of which files are fetched when they are asked for; by default `artifacts_folder()`.
        basis: of what you stored earlier; codes and encoders of another basis are then refused.
        max_age: how long ago a run may have published or confirmed it; any time by default.

    Raises:
        CodesError: no run is published, the published one cannot be used or is too old, or none
            of its models has the basis.
    """
    if address := remote_address(root):
        from .remote.published import open_remote  # it needs obstore

        return open_remote(dataset, address, max_age).restrict(basis)
    root = artifacts_folder(root)
    if max_age is not None:
        from .publications import check_age  # it imports this module

        check_age(dataset, max_age, root)
    link = published_link(dataset, root)
    try:
        return read_run(link.resolve(strict=True)).restrict(basis)
    except FileNotFoundError:
        if link.is_symlink():
            raise CodesError(
                f"{link} leads to {link.readlink()}, which is gone: publish another run, with "
                '`make runs ARGS="publish RUN"` where the job is'
            ) from None
        raise CodesError(
            f"No run of the dataset {dataset} is published in {root}: run the flow first"
        ) from None


def open_run(run: str, root: Path | str | None = None, basis: str | None = None) -> PublishedRun:
    """Open a finished run by its name, published or not; as `open_published` otherwise."""
    return read_run(run_folder(run, artifacts_folder(root))).restrict(basis)


def artifacts_folder(root: Path | str | None = None) -> Path:
    """The folder of all results: by default that of the environment, or of the checkout."""
    if remote_address(root):
        raise CodesError(
            f"The address of an object store is in place of the artifacts folder: only "
            f"open_published and confirmed_at take one. Name a folder with {ROOT_VARIABLE} or the "
            "argument root; the job copies what it publishes to AUTOENCODER_PUBLISH_TO"
        )
    if chosen := root or os.environ.get(ROOT_VARIABLE):
        return Path(chosen)
    if CHECKOUT is None:
        raise CodesError(f"No artifacts folder: set {ROOT_VARIABLE}, or give it as argument root")
    return CHECKOUT / "artifacts"


def remote_address(root: Path | str | None = None) -> str | None:
    """The address of an object store, if that is what the argument or the environment names."""
    chosen = root or os.environ.get(ROOT_VARIABLE)
    return chosen if isinstance(chosen, str) and "://" in chosen else None


def run_folder(run: str, root: Path) -> Path:
    """The folder of a finished run."""
    return beneath(root / "runs", run)


def published_link(dataset: str, root: Path) -> Path:
    """The link to the published run of a dataset."""
    return beneath(root / "published", dataset)


def beneath(folder: P, name: str) -> P:
    """The path of what people name in a folder.

    Raises:
        CodesError: the name would lead elsewhere.
    """
    if name in ("", ".", "..") or "/" in name:
        raise CodesError(f"{name!r} is not the name of a run or dataset")
    return folder / name


def read_run(folder: Path) -> PublishedRun:
    """Read the manifest of a run's folder; fields that readers do not need are ignored."""
    path = folder / MANIFEST_FILE
    try:
        manifest = json.loads(path.read_bytes())
    except OSError as error:
        raise CodesError(f"{folder} holds no run ({error.strerror}): choose another") from None
    except ValueError as error:
        raise CodesError(f"{path} is not JSON: {error}") from None
    try:
        return PublishedRun(
            folder=folder,
            name=_get(manifest, "run", str),
            schema_version=_get(manifest, "schema_version", int),
            dataset=_get(manifest, "dataset.name", str),
            class_names=_class_names(_get(manifest, "dataset", dict)),
            models=tuple(_get(model, "name", str) for model in _get(manifest, "models", list)),
            files=tuple(
                RunFile(_get(file, "path", str), _get(file, "size", int), _get(file, "sha256", str))
                for file in _get(manifest, "files", list)
            ),
            bases={
                _get(model, "name", str): basis
                for model in _get(manifest, "models", list)
                if isinstance(basis := _basis(model), str)
            },
        )
    except CodesError as error:
        raise CodesError(f"{path} cannot be used: {error}") from None


def _get(record: Any, path: str, kind: type[T]) -> T:
    """The value at a path such as `dataset.name`; an error where it is of another type."""
    value = record
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if type(value) is not kind:
        found = "missing" if value is None else reprlib.repr(value)
        raise CodesError(f"{path} is {found}, expected {kind.__name__}")
    return value


def _basis(model: dict[str, Any]) -> Any:
    """Runs of version 0.1.0 give none: each of their encoders defines its own."""
    return model.get("basis") or model.get("encoder_weights_sha256")


def _class_names(dataset: dict[str, Any]) -> tuple[str, ...]:
    names = tuple(_get({"class_names": [], **dataset}, "class_names", list))
    if not all(isinstance(name, str) for name in names):
        raise CodesError(f"dataset.class_names are {reprlib.repr(names)}, expected text")
    return names


def check_file(folder: Path, path: str, size: int, sha256: str) -> Path:
    """Check that a file of a run's folder has the size and SHA-256 of the manifest."""
    try:
        found = (folder / path).stat().st_size, sha256_of_file(folder / path)
    except OSError as error:
        raise CodesError(f"{folder / path} cannot be read ({error.strerror})") from None
    if found != (size, sha256):
        raise CodesError(
            f"{folder / path} differs from its manifest: {found[0]} bytes with SHA-256 "
            f"{found[1][:12]}..., expected {size} with {sha256[:12]}..."
        )
    return folder / path
