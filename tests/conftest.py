"""A tiny network with the released models' signature, whose right answers a test can work out by hand."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: small tensors on a busy machine

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facesmith.cli import main

CELL = 16
"""The tiny network tells for each 16×16 cell of its input how bright it is."""

ROWS = 20
"""Candidates that the tiny network gives."""

LANDMARKS = np.array([(5, 6), (11, 6), (8, 9), (6, 12), (10, 12)], np.float32)
"""Where the tiny network sees landmarks, in pixels from a cell's corner."""


def tiny_network(metadata: dict[str, str] | None = None, **changes: object) -> onnx.ModelProto:
    """A cell's score is its mean brightness / 255, its box the cell. ``changes`` spoil the signature."""

    def constant(name: str, value: object, dtype: type[np.generic]) -> onnx.TensorProto:
        return numpy_helper.from_array(np.asarray(value, dtype), name)

    def node(kind: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
        return helper.make_node(kind, inputs.split(), [output], **attributes)

    nodes = [
        node("Cast", "images", "floats", to=TensorProto.FLOAT),
        node("ReduceMean", "floats colour", "grey", keepdims=0),  # (B, H, W)
        node("Unsqueeze", "grey one", "plane"),  # (B, 1, H, W)
        # fill up to whole cells with black
        node("Shape", "grey", "size"),
        node("Slice", "size one three", "hw"),
        node("Neg", "hw", "less"),
        node("Mod", "less cell", "missing"),
        node("Concat", "four_zeros two_zeros missing", "pads", axis=0),
        node("Pad", "plane pads", "padded"),
        node("AveragePool", "padded", "means", kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        node("Div", "means white", "brightness"),  # (B, 1, h, w)
        node("Shape", "brightness", "grid"),
        node("Slice", "grid three four", "w"),
        node("Flatten", "brightness", "cells", axis=1),
        node("Shape", "cells", "flat"),
        node("Slice", "flat one two", "count"),
        # unused rows have score 0
        node("Slice", "flat zero one", "batch"),
        node("Concat", "batch rows", "filler_shape", axis=0),
        node("Expand", "zero_score filler_shape", "filler"),
        node("Concat", "cells filler", "filled", axis=1),
        helper.make_node("TopK", ["filled", "rows"], ["scores", "index"], axis=1),
        node("Sub", "count one", "last"),
        node("Min", "index last", "inside"),
        node("Mod", "inside w", "column"),
        node("Div", "inside w", "row"),
        node("Unsqueeze", "column two", "column1"),
        node("Unsqueeze", "row two", "row1"),
        node("Concat", "column1 row1", "corner_cells", axis=2),
        node("Mul", "corner_cells cell", "corner_pixels"),
        node("Cast", "corner_pixels", "corners", to=TensorProto.FLOAT),  # (B, K, 2)
        node("Add", "corners side", "ends"),
        node("Concat", "corners ends", "boxes", axis=2),
        node("Unsqueeze", "corners two", "corners1"),
        node("Add", "corners1 points", "landmarks"),
    ]
    ints, floats = np.int64, np.float32
    initializers = [
        constant("colour", [3], ints),
        *(constant(name, [value], ints) for value, name in enumerate(("zero", "one", "two", "three", "four"))),
        constant("cell", [CELL], ints),
        constant("rows", [ROWS], ints),
        constant("two_zeros", [0, 0], ints),
        constant("four_zeros", [0, 0, 0, 0], ints),
        constant("white", 255, floats),
        constant("zero_score", 0, floats),
        constant("side", CELL, floats),
        constant("points", LANDMARKS, floats),
    ]
    dtype = changes.get("dtype", TensorProto.UINT8)
    shape = changes.get("shape", ["B", "H", "W", 3])
    outputs = {"boxes": ["B", ROWS, 4], "scores": ["B", ROWS], "landmarks": ["B", ROWS, 5, 2]}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(str(changes.get("input", "images")), dtype, shape)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
            for name, dims in outputs.items()
            if name != changes.get("without")
        ],
        initializers,
    )
    if "input" in changes:
        graph.node[0].input[0] = str(changes["input"])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    for key, value in ({"facesmith": json.dumps({"name": "tiny"})} if metadata is None else metadata).items():
        model.metadata_props.add(key=key, value=value)
    return model


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tiny_command(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], Command]:
    """A verb -> what runs it with the tiny model in an empty folder: exit code, stdout, stderr."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def of(verb: str) -> Command:
        def run(*arguments: str) -> tuple[int, str, str]:
            code = main([verb, *arguments, "--model", str(tiny_model), "--size", "original", "--threads", "2"])
            captured = capsys.readouterr()
            return code, captured.out, captured.err

        return run

    return of


SETTINGS = itertools.count()


@pytest.fixture(autouse=True)
def own_settings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees or changes the user's settings, or another test's."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / f"settings-{next(SETTINGS)}"))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network as a file."""
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    onnx.save(tiny_network(), path)
    return path


@pytest.fixture
def spoilt_model(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes the tiny network with something wrong about it."""

    def write(metadata: dict[str, str] | None = None, **changes: object) -> Path:
        path = tmp_path / "spoilt.onnx"
        onnx.save(tiny_network(metadata, **changes), path)
        return path

    return write
