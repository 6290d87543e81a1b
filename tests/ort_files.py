"""Small ONNX files with operations of the sparse kernels, made in memory, and opened with the library."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import helper, numpy_helper

from flyweight.kernels.library import DOMAIN, kernels_library
from flyweight.kernels.matrix import pack

Array = np.ndarray[Any, np.dtype[Any]]

_TYPES = {"f": onnx.TensorProto.FLOAT, "u": onnx.TensorProto.UINT8}


def node(op: str, inputs: str, output: str = "y", /, **attributes: Any) -> Any:
    """An operation of ours; ``inputs`` are names between blanks, "-" is one that is missing."""
    names = [name.replace("-", "") for name in inputs.split()]
    made = helper.make_node(op, names, [output], name=f"{op} of {output}", domain=DOMAIN)
    made.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
    return made


def file(nodes: Any, inputs: dict[str, Any], weights: dict[str, Array], kind: str = "f", out: str = "") -> bytes:
    """A file of ``nodes``, one or a list, that reads ``inputs`` (shapes by name; None for an unknown one)."""
    given = [helper.make_tensor_value_info(name, _TYPES[kind], shape) for name, shape in inputs.items()]
    result = helper.make_tensor_value_info("y", _TYPES[out or kind], None)
    tensors = [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes if isinstance(nodes, list) else [nodes], "test", given, [result], tensors)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def opened(data: bytes, threads: int = 1, **entries: str) -> Any:
    """A session with the library; ``entries`` are configuration entries, "__" stands for a dot."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # what goes wrong is raised, and need not be printed too
    for name, value in entries.items():
        options.add_session_config_entry(name.replace("__", "."), value)
    options.register_custom_ops_library(kernels_library())
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def run(session: Any, **inputs: Array) -> Array:
    """The first output."""
    return session.run(None, inputs)[0]  # type: ignore[no-any-return]


def tiles(
    random: np.random.Generator, shape: tuple[int, ...], block: tuple[int, int], kept: float = 0.4
) -> tuple[Array, Array, Array]:
    """A weight ``(rows, inputs, *kernel)`` with random tiles of ``block`` zero; its values and bits. All tiles are kept
    where ``kept`` is 1, and the bits then are none."""
    rows, inputs = shape[:2]
    taps = int(np.prod(shape[2:], dtype=int))
    grid = -(-rows // block[0]), -(-inputs // block[1])
    mask = random.random((*grid, taps)) < kept
    mask[0, 0, 0] = True
    weight = random.standard_normal((rows, inputs, taps)).astype(np.float32)
    weight *= np.repeat(np.repeat(mask, block[0], 0)[:rows], block[1], 1)[:, :inputs]
    weight = weight.reshape(shape)
    values, keep = pack(torch.from_numpy(weight), block)
    bits = keep.numpy()
    return weight, values.numpy(), bits[:0] if kept == 1 else bits


def ops(proto: Any) -> list[str]:
    """The types of all operations in a file, in order."""
    return [made.op_type for made in proto.graph.node]
