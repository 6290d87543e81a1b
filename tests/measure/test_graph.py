"""Reading files: damaged ones are named, weights outside the file are counted with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import onnx_files
from flyweight.core.errors import ArtifactError
from flyweight.measure.float_nodes import float_nodes
from flyweight.measure.graph import read_graph
from flyweight.measure.parameters import parameters, weight_bytes, zero_share
from flyweight.measure.size import gzip_bytes, size_bytes


def test_parameters_of_a_quantized_graph_are_those_of_its_float_twin(tmp_path: Path) -> None:
    plain = read_graph(onnx_files.conv_net(tmp_path / "f.onnx"))
    integer = read_graph(onnx_files.quantized_net(tmp_path / "q.onnx"))
    assert parameters(plain) == 8 * 27 + 8 + 5 * 8 + 5
    assert parameters(integer) == 8 * 27 + 8 + 5 * 8
    assert weight_bytes(plain) == 4 * parameters(plain)
    assert weight_bytes(integer) == 8 * 27 + 4 * 8 + 5 * 8


def test_a_weight_used_twice_counts_once_and_settings_do_not(tmp_path: Path) -> None:
    make = onnx.helper.make_node
    path = onnx_files.write(
        tmp_path / "m.onnx",
        [
            make("MatMul", ["x", "w"], ["a"], "one"),
            make("MatMul", ["a", "w"], ["b"], "two"),
            make("Clip", ["b", "low", "high"], ["c"], "clip"),
            make("Reshape", ["c", "shape"], ["d"], "reshape"),
            make("Mul", ["d", "half"], ["y"], "scale"),
        ],
        {"x": ["n", 4]},
        {"y": ["n", 2, 2]},
        {
            "w": np.eye(4, dtype=np.float32),
            "low": np.float32(0),
            "high": np.float32(6),
            "shape": np.array([-1, 2, 2]),
            "half": np.float32(0.5),
        },
    )
    assert parameters(read_graph(path)) == 16


def test_zeros_are_counted_in_weights_alone(tmp_path: Path) -> None:
    graph = read_graph(onnx_files.quantized_net(tmp_path / "q.onnx"))
    codes = [onnx.numpy_helper.to_array(graph.constants[n]) for n in ("w", "b", "v")]
    assert zero_share(graph) == pytest.approx(sum((c == 0).sum() for c in codes) / parameters(graph))


@pytest.mark.parametrize(("kind", "per_byte"), [("INT4", 2), ("UINT4", 2), ("INT2", 4)])
def test_narrow_weights_share_bytes(tmp_path: Path, kind: str, per_byte: int) -> None:
    graph = read_graph(onnx_files.quantized_net(tmp_path / "q.onnx"))
    graph.constants["w"].data_type = getattr(onnx.TensorProto, kind)
    assert weight_bytes(graph) == 8 * 27 // per_byte + 4 * 8 + 5 * 8


def test_weights_outside_the_file_belong_to_its_size(tmp_path: Path) -> None:
    inside = onnx_files.conv_net(tmp_path / "in.onnx", channels=400)
    outside = tmp_path / "out.onnx"
    onnx.save(onnx.load(inside), outside, save_as_external_data=True, location="out.bin", size_threshold=0)
    graph = read_graph(outside)
    assert [f.name for f in graph.files] == ["out.onnx", "out.bin"]
    assert size_bytes(graph.files) > inside.stat().st_size
    assert parameters(graph) == parameters(read_graph(inside))
    assert zero_share(graph) is None
    (tmp_path / "out.bin").unlink()
    with pytest.raises(ArtifactError, match=r"its weights lie in 'out\.bin' beside it, which is missing"):
        read_graph(outside)


def test_gzip_bytes_are_gzips(tmp_path: Path) -> None:
    import gzip

    file = tmp_path / "f"
    file.write_bytes(b"flyweight" * 300_000)
    assert gzip_bytes([file]) == len(gzip.compress(file.read_bytes(), 6))


@pytest.mark.parametrize("content", [b"", b"not a model at all", None], ids=["empty", "text", "cut"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.onnx"
    whole = onnx_files.conv_net(tmp_path / "whole.onnx").read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(ArtifactError, match=r"broken\.onnx \(\d+ bytes\) is no whole \.onnx file: .*Export it again"):
        read_graph(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"there is no file .*gone\.onnx"):
        read_graph(tmp_path / "gone.onnx")


def test_float_nodes_of_a_quantized_graph(tmp_path: Path) -> None:
    assert float_nodes(read_graph(onnx_files.conv_net(tmp_path / "f.onnx"))) is None
    path = onnx_files.quantized_net(tmp_path / "q.onnx")
    assert float_nodes(read_graph(path)) == ("Softmax 'softmax'",)
    model = onnx.load(path)
    conv = next(n for n in model.graph.node if n.op_type == "Conv")
    conv.input[0] = "x"  # reads the float input itself
    onnx.save(model, path)
    assert float_nodes(read_graph(path)) == ("Conv 'conv'", "Relu 'relu'", "Softmax 'softmax'")
