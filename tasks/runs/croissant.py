"""Describe the files of a run in the vocabulary of MLCommons: `croissant.json`.

Catalogues and tools read from it what there is, and verify it. The files of codes are in HDF5 and
NumPy's format, of which Croissant has no record sets; so only the class names are records.

Source: the Croissant format, version 1.0, https://docs.mlcommons.org/croissant/docs/croissant-spec-1.0.html
"""

import json
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from tasks.codes.published import PLAIN_ENCODER_FILE
from tasks.core.records import FileRecord
from tasks.encoding.export import array_file, codes_file
from tasks.images import fashion_mnist
from tasks.models.store import AUTOENCODER_FILE, ENCODER_FILE
from tasks.runs.manifest import Manifest

CROISSANT_FILE = "croissant.json"
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""As the specification has it, with what is not used here: readers compare."""
FORMATS = {
    ".h5": "application/x-hdf5",
    ".html": "text/html",
    ".json": "application/json",
    ".keras": "application/zip",
    ".md": "text/markdown",
    ".npy": "https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
"""By suffix; the address of a description where there is no media type."""
FASHION_MNIST = {
    "url": "https://github.com/zalandoresearch/fashion-mnist",
    "license": "https://spdx.org/licenses/MIT.html",
    "citeAs": "Han Xiao, Kashif Rasul, Roland Vollgraf: Fashion-MNIST: a Novel Image Dataset for "
    "Benchmarking Machine Learning Algorithms, 2017, https://arxiv.org/abs/1708.07747",
}
"""Of the images, and so of what is computed from them."""


def describe_run(manifest: Manifest, files: Iterable[FileRecord]) -> str:
    """The text of `croissant.json`; a function of the manifest and the files."""
    dataset = manifest.dataset
    descriptions = describe_files(manifest)
    models = ", ".join(f"{model.name} ({model.layers})" for model in manifest.models)
    described = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": f"{dataset.name}-codes",
        "description": f"Codes of the images of {dataset.name} by autoencoders: {models}; run "
        f"{manifest.run} of autoencoder-flow {manifest.versions.project}",
        "datePublished": manifest.finished.isoformat(),
        **(FASHION_MNIST if dataset.name == fashion_mnist.NAME else {}),
        "distribution": [_file_object(file, descriptions.get(file.path)) for file in files],
        "recordSet": [_class_names(dataset.class_names)] if dataset.class_names else [],
    }
    return json.dumps(described, indent=2, ensure_ascii=False) + "\n"


def _file_object(file: FileRecord, description: str | None) -> dict[str, Any]:
    described = {"description": description} if description else {}
    return {
        "@type": "cr:FileObject",
        "@id": file.path,
        "name": file.path,
        **described,
        "contentUrl": file.path,
        "contentSize": f"{file.size} B",
        "encodingFormat": FORMATS.get(PurePath(file.path).suffix, "application/octet-stream"),
        "sha256": file.sha256,
    }


def describe_files(manifest: Manifest) -> dict[str, str]:
    """What is in the files that other programs read, by path; every run has them."""
    found = {}
    for split, rows in manifest.dataset.rows.items():
        found[codes_file(split)] = f"Codes and labels of the {rows} {split} images, all models"
        for model in manifest.models:
            size = model.spec.architecture.code_size
            found[array_file(split, model.name)] = (
                f"Codes of the {split} images by the {model.name} model, ({rows}, {size}) float32"
            )
    for model in manifest.models:
        for name, content in {
            PLAIN_ENCODER_FILE: "encoder: weights as plain arrays",
            ENCODER_FILE: "encoder, for Keras",
            AUTOENCODER_FILE: "autoencoder, for Keras",
        }.items():
            found[f"models/{model.name}/{name}"] = f"The {model.name} {content}"
    return found


def _class_names(names: tuple[str, ...]) -> dict[str, Any]:
    """A record of label and name for each class."""
    label, name = "classes/label", "classes/name"
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "description": "The names of the labels in the codes files",
        "key": {"@id": label},
        "field": [
            {"@type": "cr:Field", "@id": label, "name": label, "dataType": "sc:Integer"},
            {"@type": "cr:Field", "@id": name, "name": name, "dataType": "sc:Text"},
        ],
        "data": [{label: number, name: text} for number, text in enumerate(names)],
    }
