"""The trainings that `make bench` compares, each behind the same two calls."""

from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.models.architectures import DenseArchitecture, build_autoencoder
from tasks.models.spec import TrainingSpec, choose_recipe

Images = NDArray[np.uint8]


class Competitor(Protocol):
    """A training of one model on the same images, batch size and losses."""

    def run_epoch(self) -> float:
        """Train one epoch and return the validation loss after it, nats per pixel."""


def scaled(images: Images) -> NDArray[np.float32]:
    """(N, 784) float32 in 0..1, as the lab makes it."""
    flat: NDArray[np.float32] = images.reshape(len(images), -1).astype("float32")
    return flat / np.float32(255)


class Ours:
    """This project's training."""

    def __init__(self, spec: TrainingSpec, train: Images, test: Images) -> None:
        """Build; the first epoch compiles."""
        from tasks.models.training import Training

        self._training = Training(spec, train, test, 255.0)
        self._segments = self._training.advance()

    def run_epoch(self) -> float:
        """Train until an epoch is complete."""
        done = len(self._training.history)
        while len(self._training.history) == done:
            next(self._segments)
        return self._training.history[-1].validation_loss


class KerasFit:
    """`Model.fit` with the lab's settings, or with the fastest that Keras has."""

    def __init__(self, spec: TrainingSpec, train: Images, test: Images, best: bool) -> None:
        """Build; the first epoch compiles."""
        lab = choose_recipe("lab", spec.architecture, 1, 256)
        self._model = build_autoencoder(spec.architecture, (28, 28), lab, spec.seed).autoencoder
        settings: dict[str, Any] = {"jit_compile": False}
        if best:
            settings = {"jit_compile": True, "steps_per_execution": 47}
        self._model.compile(optimizer="adam", loss="binary_crossentropy", **settings)
        self._train, self._test = scaled(train), scaled(test)

    def run_epoch(self) -> float:
        """One call of fit."""
        history = self._model.fit(
            self._train,
            self._train,
            epochs=1,
            batch_size=256,
            shuffle=True,
            validation_data=(self._test, self._test),
            verbose=0,
        )
        return float(history.history["val_loss"][0])


class TorchEager:
    """PyTorch as most people write it, with the fused Adam."""

    def __init__(self, spec: TrainingSpec, train: Images, test: Images) -> None:
        """Build the same layers."""
        import torch

        self._torch = torch
        torch.manual_seed(spec.seed)
        assert isinstance(spec.architecture, DenseArchitecture)
        sizes = spec.architecture.layer_sizes((28, 28))
        layers: list[Any] = []
        for inputs, outputs in pairwise(sizes):
            layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
        self._model = torch.nn.Sequential(*layers[:-1])
        self._optimizer = torch.optim.Adam(self._model.parameters(), lr=1e-3, fused=True)
        self._loss = torch.nn.BCEWithLogitsLoss()
        self._train, self._test = torch.from_numpy(scaled(train)), torch.from_numpy(scaled(test))

    def run_epoch(self) -> float:
        """Shuffled batches, then the loss of the test images."""
        torch = self._torch
        for rows in torch.randperm(len(self._train)).split(256):
            batch = self._train[rows]
            self._optimizer.zero_grad()
            self._loss(self._model(batch), batch).backward()
            self._optimizer.step()
        with torch.no_grad():
            return float(self._loss(self._model(self._test), self._test))
