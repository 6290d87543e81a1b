"""What is counted of a file on the sparse kernels is what is counted of its plain twin, but for what they skip."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from flyweight.deploy.export.onnx import export_onnx
from flyweight.measure.float_nodes import float_nodes
from flyweight.measure.graph import Graph, read_graph
from flyweight.measure.macs import macs
from flyweight.measure.parameters import parameters, place_bytes, weight_bytes, zero_share
from sparse_nets import Encoder, Mobile, Residual, image_task, pruned, token_task

NETS = {
    "mobile": (lambda: Mobile(), image_task),
    "residual": (lambda: Residual(), image_task),
    "encoder": (lambda: Encoder(), token_task),
}


@pytest.fixture(scope="module", params=NETS)
def twins(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Graph, Graph]:
    """The graphs of a network in blocks of four outputs, plain and with every layer on the kernels."""
    make, task_of = NETS[request.param]
    model = pruned(make(), 0.8, 4)
    folder = tmp_path_factory.mktemp("files")
    paths = [export_onnx(model, task_of(model), folder / f"{k}.onnx", kernels=k).path for k in ("none", "all")]
    plain, ours = (read_graph(path, batch=2) for path in paths)
    return plain, ours


def test_macs(twins: tuple[Graph, Graph]) -> None:
    plain, ours = map(macs, twins)
    assert ours.dense == plain.count == plain.dense
    assert ours.nonzero == plain.nonzero
    assert plain.nonzero is not None
    assert plain.count is not None
    assert ours.count is not None
    # What is computed is what lies in kept tiles: a little more than what is not zero, for tiles reach over the edge.
    assert plain.nonzero <= ours.count < 1.25 * plain.nonzero < plain.count


def test_weights_and_zeros(twins: tuple[Graph, Graph]) -> None:
    plain, ours = twins
    assert zero_share(ours) == pytest.approx(zero_share(plain), abs=1e-6)
    assert place_bytes(ours) > 0
    assert weight_bytes(ours) >= 4 * parameters(ours)
    assert float_nodes(ours) is None
    # Zeros that a plain file stores count, those in kept tiles do not.
    assert parameters(ours) <= parameters(plain)


def test_parameters_are_the_numbers_that_are_not_zero(tmp_path: Path) -> None:
    model = pruned(Residual(), 0.8, 4)
    path = export_onnx(model, image_task(model), tmp_path / "m.onnx", kernels="all").path
    proto = onnx.load(path)
    stored = [numpy_helper.to_array(t) for t in proto.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    assert parameters(read_graph(path)) == sum(int((v != 0).sum()) for v in stored)
    names = dict(model.named_parameters())
    assert parameters(read_graph(path)) == sum(int((p != 0).sum()) for p in names.values())
