"""Every public constructor and function, each with one call that is right.

The names are collected from the packages, so a new one without a right call fails
`test_wrong_calls.py`. A call's arguments are found by their names, or stand in `RIGHT`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minidl import data, models, nn, optim, plans, sim, strategy, train

PACKAGES = [
    "analysis",
    "data",
    "data.augment",
    "models",
    "nn",
    "nn.init",
    "optim",
    "plans",
    "runtime",
    "sim",
    "strategy",
    "tasks",
    "train",
]
RECORDS = {
    "plans": "Activation Backward Bucket Decision Forward Gradient Plan Push Receive Send State "
    "Collective Launches LastingRule Rule",
    "runtime": "Alone Exchange Incoming Launch Loss Lost Outcome Outgoing RankContext ReceiveAny "
    "Recorder Report Runtime Trace collective",
    "sim": "Apply Arrive Cancel ServerRun Start",
    "data": "Batch",
    "data.augment": "augment",
    "models": "Decoded",
    "nn.init": "blocks",
    "strategy": "Compressor EpochDone Job Layout Listener Stage StepDone VirtualServer "
    "Compression Strategy Verdict",
    "train": "EpochRecord History LearnerLost Run SampleQuality Judge",
    "analysis": "Field Row Summary multiply_adds sight",
    "tasks": "Phase Sums",
    "nn": "Mode ParameterBuffer parts_of pytorch_tensors Recurrent Layer Loss AdversarialLoss",
    "optim": "LossScale",
}
"""What the library makes and users only read, or what sits inside its loops: not checked."""


def digits() -> data.Dataset:
    return data.Dataset(np.zeros((8, 4)), np.arange(8) % 2)


def trainer() -> train.Trainer:
    made = train.Trainer(nn.Sequential(nn.Linear(2)), nn.CrossEntropy(), optim.SGD(0.1))
    made.evaluate(digits())
    return made


def text() -> data.Dataset:
    return data.windows("abcabcabcabcabc", ("a", "b", "c"), 3)


def translator() -> models.Seq2Seq:
    made = models.Seq2Seq(3, 4, 5, 2, 2)
    made.build((5,))
    nn.ParameterBuffer(made.parameters(), "float64")
    return made


def speaker() -> nn.Sequential:
    made = models.char_lstm(4, 2, 2)
    made.initialise((3,))
    return made


def initialised() -> nn.Layer:
    made = nn.Sequential(nn.Linear(2))
    made.initialise((3,))
    return made


RIGHT: dict[str, Any] = {
    "size": 4,
    "root": 0,
    "source": 0,
    "target": 1,
    "pieces": 1,
    "stages": 2,
    "micro_batches": 2,
    "groups": 2,
    "shape": (4,),
    "workers": 2,
    "learners": 2,
    "k": 1,
    "n": 1,
    "updates": 3,
    "rule": plans.Async(),
    "law": sim.Constant(1.0),
    "lr": 0.1,
    "steps": 3,
    "every": 2,
    "factor": 0.5,
    "seconds": 1.0,
    "rate": 0.5,
    "least": 1.0,
    "centre": 1.0,
    "spread": 0.1,
    "shift": 0.1,
    "times": (1.0, 2.0),
    "hidden_size": 3,
    "out_features": 3,
    "out_channels": 4,
    "kernel_size": 3,
    "channels": 4,
    "vocabulary": 5,
    "features": 3,
    "optimizer": optim.SGD(0.1),
    "model": nn.Sequential(nn.Linear(2)),
    "loss": nn.CrossEntropy(),
    "batch_size": 4,
    "length": 10,
    "parts": 3,
    "work": (1, 2, 3, 4),
    "plan": plans.ring_all_reduce(4),
    "latency": 1e-6,
    "bandwidth": 1e9,
    "itemsize": 4,
    "classes": 3,
    "dataset": digits(),
    "predicted": np.array([0, 1]),
    "labels": np.array([0, 1]),
    "outputs": np.eye(2),
    "one": np.random.default_rng(0).normal(size=(9, 2)),
    "known": 3,
    "other": np.random.default_rng(1).normal(size=(9, 2)),
    "inputs": np.zeros((4, 2)),
    "targets": np.zeros(4, int),
    "body": nn.ReLU(),
    "scale": 2,
    "padding": 1,
    "init": nn.init.zeros,
    "momentum": 0.1,
    "sizes": {"a": 3},
    "width": 2,
    "hidden": 4,
    "source_steps": 3,
    "name": "digits",
    "source_words": 4,
    "target_words": 5,
    "start": 1,
    "end": 2,
    "generator": np.random.default_rng(0),
    "discriminator": nn.Linear(1),
    "x": np.zeros((2, 3, 1)),
    "lengths": np.array([1, 2]),
    "numbers": np.array([0, 1]),
    "text": "abcabc",
    "network": nn.Sequential(nn.Linear(3)),
    "train": digits(),
    "test": digits(),
    "first": 4,
    "count": 4,
    "heads": [nn.Linear(2)],
    "settings": {},
    "seed": 0,
    "epochs": 1,
    "callbacks": (),
    "value": 1.0,
    "dtype": "float32",
    "rank": 0,
    "folder": Path("nowhere"),
    "sources": np.zeros((2, 3), int),
    "input_shape": (4,),
    "figure": "validation loss",
    "data": digits(),
    "strategy": strategy.Serial(),
    "initialise shape": (4,),
    "windows classes": ("a", "b", "c"),
    "encode classes": ("a", "b", "c"),
    "decode classes": ("a", "b", "c"),
    "bigram_loss train": text(),
    "bigram_loss test": text(),
    "unigram_loss train": text(),
    "unigram_loss test": text(),
    "dates train": 3,
    "dates test": 2,
    "milestones": (2,),
    "torus_all_reduce shape": (2, 2),
    "models.make name": "lenet5",
    "strategy.make name": "ring",
    "usual_input name": "lenet5",
    "Polynomial steps": 4,
    "Groups groups": ((("bias",), optim.SGD(0.2)),),
    "check_pipeline plan": plans.gpipe(2, 2),
    "grid plan": plans.gpipe(2, 2),
    "factors": {0: 2.0},
    "Composed parts": (optim.Constant(0.1), optim.Constant(0.2)),
    "Pareto shape": 2.0,
    "weights": (0.3,),
    "WithAuxiliary outputs": 2,
    "norm": 1.0,
    "Recorded times": (1.0,),
    "GAN generator": nn.Linear(4),
    "mlp_gan shape": (4, 4, 1),
    "mlp hidden": (4,),
    "forward_from network": speaker(),
    "forward_from x": np.zeros((1, 2), int),
    "sample network": speaker(),
    "AuxiliaryHeads heads": [nn.Linear(1)],
    "dataset.augmented augmentations": data.augment.Noise(0.1),
    "beam model": translator(),
    "greedy model": translator(),
    "sample start": np.array([0]),
    "fashion_mnist download": False,
    "fashion_mnist source": "file:///nowhere/",
    "Supervised loss": nn.MSE(),
    "Adversarial loss": nn.NonSaturating(),
    "WithAuxiliary loss": nn.CrossEntropy(),
    "GrowingBatch factor": 2,
    "TopK share": 0.1,
    "MixedPrecision scale": 2.0,
    "MixedPrecision factor": 2.0,
    "Huber delta": 1.0,
    "names": None,
    "std": 0.1,
    "degrees": 5.0,
    "pixels": 1,
    "inits": nn.init.zeros,
    "indices": np.array([0, 1]),
    "why": "",
    "augmentations": data.augment.Rotate(3.0),
    "partition model": nn.Sequential(nn.Linear(3), nn.Linear(2)),
    "path": Path("nowhere.csv"),
    "coverage known": 3,
    "coverage classes": np.array([0, 1]),
    "import_pytorch model": initialised(),
    "export_pytorch model": initialised(),
    "predict inputs": np.zeros((4, 4)),
    "top_k_accuracy k": 1,
    "Clipped norm": 1.0,
    "fans shape": (3, 2),
    "orthogonal shape": (3, 2),
    "he_normal shape": (3, 2),
    "he_uniform shape": (3, 2),
    "xavier_normal shape": (3, 2),
    "xavier_uniform shape": (3, 2),
    "state": np.zeros((1, 3)),
    "real": digits(),
    "others": digits(),
    "cell": "gru",
    "programs": (),
    "chunks": 1,
    "words": ("a", "b", "c"),
    "shares": (),
    "messages": 1,
    "layers": nn.ReLU(),
    "branches": nn.ReLU(),
    "Reshape shape": 4,
    "AuxiliaryHeads stages": [nn.Linear(4), nn.Linear(2)],
    "buckets": ((("a",)),),
}


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every public constructor and function by its dotted name."""
    for package in PACKAGES:
        module = importlib.import_module(f"minidl.{package}")
        names = getattr(module, "__all__", None) or [n for n in vars(module) if n[0] != "_"]
        for name in names:
            found = getattr(module, name)
            own = getattr(found, "__module__", "").startswith(f"minidl.{package.split(chr(46))[0]}")
            if name in RECORDS.get(package, "").split() or not own or not callable(found):
                continue
            try:
                inspect.signature(found)
            except ValueError:
                continue  # an alias of a type
            yield f"{package}.{name}", found
    for owner, methods in METHODS.items():
        for method in methods:
            yield f"{owner}.{method}", getattr(MADE[owner](), method)


MADE: dict[str, Callable[[], Any]] = {
    "trainer": trainer,
    "dataset": lambda: data.Dataset(np.zeros((8, 2, 2, 1)), np.arange(8) % 2),
    "layer": lambda: nn.Linear(2),
    "run": lambda: train.Run(
        [], np.zeros((1, 3)), strategy.Verdict(False, 1.0), print, print, print
    ),
}
METHODS = {
    "trainer": ("fit", "evaluate", "predict", "expected_bytes", "save", "load"),
    "dataset": ("augmented", "take", "split"),
    "layer": ("initialise",),
    "run": ("slow", "stop", "restore"),
}


def call_of(name: str, made: Callable[..., Any]) -> dict[str, Any]:
    """The arguments of a right call."""
    short = name.rpartition(".")[2]
    found = {}
    for argument in inspect.signature(made).parameters.values():
        for key in (f"{name} {argument.name}", f"{short} {argument.name}", argument.name):
            if key in RIGHT and argument.kind is not argument.VAR_KEYWORD:
                if argument.default is argument.empty or key != argument.name:
                    found[argument.name] = RIGHT[key]
                break
        else:
            if argument.default is argument.empty and argument.kind is not argument.VAR_KEYWORD:
                raise KeyError(f"{name}: no right value for {argument.name} in right_calls.py")
    return found
