"""A model whose layers run on the sparse kernels computes what it computed, whichever they are."""

import onnx
import pytest
import torch
from torch import nn

import sparse_files
from flyweight.core.errors import UnknownNameError
from flyweight.deploy.export.onnx import export_onnx
from flyweight.deploy.export.sparse.sparse import NEEDS
from flyweight.kernels.library import DOMAIN
from sparse_nets import Encoder, Inverted, Mobile, Residual, image_task, pruned, token_task

NETS = {
    "mobile": (lambda: Mobile(), image_task),
    "mobile, odd channels": (lambda: Mobile(7, 33), image_task),
    "residual": (lambda: Residual(), image_task),
    "encoder": (lambda: Encoder(), token_task),
}
OURS = {
    "mobile": ["SparseConv", *["SparseBlock"] * 3, "SparseConv", "SparseLinear"],
    "residual": [*["SparseConv"] * 6, "SparseLinear"],
    "encoder": [
        *["SparseLinear"] * 4,
        *("Attention", "SparseLinear", "LayerNorm", "SparseLinear", "SparseLinear", "LayerNorm", "SparseLinear"),
    ],
}


@pytest.mark.parametrize("block", [1, 4])
@pytest.mark.parametrize("name", NETS)
def test_every_layer_that_can_computes_what_it_did(name, block, tmp_path):
    torch.manual_seed(0)
    make, task_of = NETS[name]
    model = pruned(make(), block=block)
    task = task_of(model)
    artifact = export_onnx(model, task, tmp_path / "all.onnx", kernels="all")
    proto = onnx.load(artifact.path)
    assert sparse_files.ops(proto) == OURS[name.partition(",")[0]]
    assert artifact.needs == (NEEDS,)
    for batch in (1, 3):
        x = torch.randn(batch, *task.example[0].shape[1:])
        (found,) = sparse_files.run(proto, x.numpy())
        expected = model(x)
        assert torch.allclose(torch.from_numpy(found), expected, atol=1e-5 * float(expected.abs().max()) + 1e-6)


def test_plain_is_the_default_and_other_words_are_refused(tmp_path):
    model = pruned(Residual())
    artifact = export_onnx(model, image_task(model), tmp_path / "plain.onnx")
    assert not artifact.needs
    assert {entry.domain for entry in onnx.load(artifact.path).opset_import} == {""}
    with pytest.raises(UnknownNameError, match=r"no choice of kernels 'auot'\. Did you mean 'auto'\?"):
        export_onnx(model, image_task(model), tmp_path / "x.onnx", kernels="auot")


def test_what_the_kernels_cannot_stays_as_it_is(tmp_path):
    class Others(nn.Module):
        def __init__(self):
            super().__init__()
            self.groups = nn.Conv2d(3, 8, 3, padding=1)
            self.two = nn.Conv2d(8, 8, 3, padding=1, groups=2)
            self.up = nn.ConvTranspose2d(8, 8, 2, 2)
            self.line = nn.Conv1d(8, 8, 3)
            self.dynamic = nn.Linear(8, 8)

        def forward(self, x):
            x = self.up(self.two(self.groups(x).tanh()))
            x = self.line(x.flatten(2))
            return self.dynamic(x.mean(2)) @ x

    model = pruned(Others())
    artifact = export_onnx(model, image_task(model), tmp_path / "m.onnx", kernels="all")
    proto = onnx.load(artifact.path)
    assert sparse_files.ops(proto) == ["SparseConv", "SparseLinear"]
    assert [n.op_type for n in proto.graph.node if not n.domain].count("Conv") == 2
    x = torch.randn(2, 3, 16, 16)
    assert torch.allclose(torch.from_numpy(sparse_files.run(proto, x.numpy())[0]), model(x), atol=1e-4)


def test_what_several_read_is_not_fused_away(tmp_path):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)
            self.block = Inverted(8, 8)

        def forward(self, x):
            a = self.one(x)
            b = torch.relu(a)
            c = self.two(b)
            hidden = self.block.body[:3](c)
            return a + c + self.block.body[3:](hidden), hidden

    model = pruned(Shared())
    artifact = export_onnx(model, image_task(model), tmp_path / "m.onnx", kernels="all")
    proto = onnx.load(artifact.path)
    # The expansion is an output of its own, `c` and the first sum are read twice: nothing but the last sum is fused.
    assert sparse_files.ops(proto) == ["SparseConv", "SparseConv", "SparseConv", "Depthwise", "SparseConv"]
    assert [n.op_type for n in proto.graph.node if not n.domain] == ["Relu", "Add"]
    x = torch.randn(2, 3, 6, 6)
    for found, expected in zip(sparse_files.run(proto, x.numpy()), model(x), strict=True):
        assert torch.allclose(torch.from_numpy(found), expected, atol=1e-5)


def test_nodes_keep_the_names_of_the_modules_whose_outputs_they_give(tmp_path):
    model = pruned(Mobile())
    names = []
    for kernels in ("none", "all"):
        proto = onnx.load(export_onnx(model, image_task(model), tmp_path / "m.onnx", kernels=kernels).path)
        names.append({node.name: node.op_type for node in proto.graph.node if node.name})
    plain, ours = names
    assert ours.items() >= {"head.2": "Network", "classifier": "SparseLinear"}.items()
    assert plain.keys() >= ours.keys()


def test_a_sparse_file_is_a_seventh_of_its_dense_twin(tmp_path):
    dense = Mobile(160, 1280)
    size = export_onnx(dense, image_task(dense), tmp_path / "m.onnx").path.stat().st_size
    for block in (1, 4):
        model = pruned(Mobile(160, 1280), 0.9, block)
        artifact = export_onnx(model, image_task(model), tmp_path / "m.onnx", kernels="all")
        assert artifact.path.stat().st_size < 0.15 * size, block
        assert f"{block}×1 blocks and a bitmap" in artifact.notes[0]


def test_the_file_says_whose_operations_it_has(tmp_path):
    model = pruned(Residual())
    proto = onnx.load(export_onnx(model, image_task(model), tmp_path / "m.onnx", kernels="all").path)
    assert {(entry.domain, entry.version) for entry in proto.opset_import} == {("", 18), (DOMAIN, 1)}
