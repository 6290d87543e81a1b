"""The operations of torch: against their twins, traced, compiled, exported, with gradients, and where they refuse."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from flyweight.core.errors import FlyweightError
from flyweight.kernels import layer as native_layer
from flyweight.kernels import ops
from flyweight.kernels.library import available
from flyweight.kernels.matrix import pack
from flyweight.kernels.reference import depthwise as depthwise_twin
from flyweight.kernels.reference import sparse_block as block_twin
from flyweight.kernels.reference import sparse_conv as conv_twin
from flyweight.kernels.reference import sparse_linear as linear_twin

needs_library = pytest.mark.skipif(not available(), reason="the native kernels are not built")
WINDOW = [2, 1, 1, 2, 1, 0, 2, 1]
SAME = [1, 1, 1, 1, 1, 1, 1, 1]


@pytest.fixture(params=["library", "twin"], autouse=True)
def way(request, monkeypatch):
    """Every test twice: with the library, and as where there is none."""
    if request.param == "library" and not available():
        pytest.skip("the native kernels are not built")
    monkeypatch.setattr(native_layer, "_usable", lambda: request.param == "library")
    return request.param


def sparse(*shape):
    return torch.randn(shape) * (torch.rand(shape) < 0.3)


def conv(x=None, residual=False, activation="Relu6", dtype=torch.float32):
    values, keep = pack(sparse(13, 7, 3, 3).to(dtype), (4, 1))
    x = torch.randn(2, 7, 9, 11, dtype=dtype) if x is None else x
    added = torch.randn(2, 13, 5, 8, dtype=dtype) if residual else None
    bias = torch.randn(13, dtype=dtype)
    return x, values, keep, bias, added, [13, 7, 3, 3], [4, 1], WINDOW, activation


def linear(dtype=torch.float32):
    values, keep = pack(sparse(13, 7).to(dtype), (2, 1))
    x, added = torch.randn(3, 5, 7, dtype=dtype), torch.randn(3, 5, 13, dtype=dtype)
    return x, values, keep, torch.randn(13, dtype=dtype), added, [13, 7], [2, 1], "Gelu"


def depthwise(dtype=torch.float32):
    return torch.randn(2, 7, 9, 11, dtype=dtype), torch.randn(7, 1, 3, 3, dtype=dtype), None, WINDOW, "HardSwish"


def block(dtype=torch.float32, expand=True):
    inputs = 7 if expand else 13
    first = (*pack(sparse(13, 7).to(dtype), (4, 1)), torch.randn(13, dtype=dtype)) if expand else (None, None, None)
    last = (*pack(sparse(inputs, 13).to(dtype), (1, 1)), None)
    middle = torch.randn(13, 1, 3, 3, dtype=dtype), torch.randn(13, dtype=dtype)
    told = [inputs, inputs], [4, 1, 1, 1], SAME, ["Relu6", "Relu", ""], True
    return torch.randn(2, inputs, 9, 11, dtype=dtype), *first, *middle, *last, *told


ALL = {
    "conv": (ops.sparse_conv, conv_twin.sparse_conv, conv),
    "residual": (ops.sparse_conv, conv_twin.sparse_conv, lambda **more: conv(residual=True, **more)),
    "linear": (ops.sparse_linear, linear_twin.sparse_linear, linear),
    "depthwise": (ops.depthwise, depthwise_twin.depthwise, depthwise),
    "block": (ops.sparse_block, block_twin.sparse_block, block),
    "block without expand": (ops.sparse_block, block_twin.sparse_block, lambda **more: block(expand=False, **more)),
}
each = pytest.mark.parametrize(("op", "twin", "make"), ALL.values(), ids=ALL.keys())


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert found.is_contiguous()


@each
def test_it_computes_what_its_twin_computes(op, twin, make):
    arguments = make()
    with torch.no_grad():
        close(op(*arguments), twin(*arguments))
    with torch.inference_mode():
        close(op(*arguments), twin(*arguments))


@each
def test_other_types_take_the_twin(op, twin, make):
    arguments = make(dtype=torch.float64)
    found = op(*arguments)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, twin(*arguments), rtol=1e-12, atol=1e-12)


@each
def test_an_input_with_gaps_and_one_of_no_images(op, twin, make):
    arguments = make()
    x = arguments[0]
    close(op(x.transpose(-1, -2).contiguous().transpose(-1, -2), *arguments[1:]), twin(*arguments))
    if x.dim() == 4:
        close(op(x.to(memory_format=torch.channels_last), *arguments[1:]), twin(*arguments))
    none = [one[:0] if isinstance(one, torch.Tensor) and one.dim() == x.dim() and len(one) == len(x) else one
            for one in arguments]  # fmt: skip
    assert op(*none).shape == (0, *twin(*arguments).shape[1:])


@each
def test_torchs_own_checks_of_an_operation(op, twin, make, way):
    if way == "twin" and op is not ops.sparse_conv:
        pytest.skip("the way there is the same for all")
    assert set(torch.library.opcheck(op, make()).values()) == {"SUCCESS"}


def test_torchs_own_checks_where_gradients_are_asked_for():
    x, *others = conv()
    told = torch.library.opcheck(ops.sparse_conv, (x.requires_grad_(), *others))
    assert set(told.values()) == {"SUCCESS"} and len(told) == 4


@each
def test_gradients_are_those_of_the_twin(op, twin, make):
    arguments = make(dtype=torch.float64)
    wanted = [one.requires_grad_() for one in arguments if isinstance(one, torch.Tensor) and one.is_floating_point()]
    found = torch.autograd.grad(op(*arguments).square().sum(), wanted)
    expected = torch.autograd.grad(twin(*arguments).square().sum(), wanted)
    torch.testing.assert_close(found, expected)
    assert all(float(one.abs().sum()) > 0 for one in found)


@each
def test_compiled_it_is_one_graph_for_all_batches(op, twin, make):
    arguments = make()
    torch._dynamo.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    if arguments[0].dim() == 4 and isinstance(arguments[4], torch.Tensor) and arguments[4].dim() == 4:
        pytest.skip("a residual changes its batch with the input's")
    compiled = torch.compile(lambda x: op(x, *[*arguments[1:]]), backend=backend, fullgraph=True, dynamic=True)
    if op is ops.sparse_linear:
        arguments = (*arguments[:4], None, *arguments[5:])
    with torch.no_grad():
        for batch in (10, 12, 17):  # sizes that nothing else has, or torch takes them for the same
            x = torch.randn(batch, *arguments[0].shape[1:])
            close(compiled(x), twin(x, *arguments[1:]))
    assert len(graphs) == 1


@pytest.mark.slow
def test_inductor_compiles_it():
    torch._dynamo.reset()
    arguments = conv()
    compiled = torch.compile(lambda x: F.relu(ops.sparse_conv(x * 2, *arguments[1:])) + 1, fullgraph=True)
    with torch.no_grad():
        close(compiled(arguments[0]), F.relu(conv_twin.sparse_conv(arguments[0] * 2, *arguments[1:])) + 1)


@each
def test_tracing_sees_the_operation_and_not_its_result(op, twin, make):
    arguments = make()
    graph = torch.fx.experimental.proxy_tensor.make_fx(lambda x: op(x, *arguments[1:]))(arguments[0])
    assert op in [node.target for node in graph.graph.nodes]


@each
def test_an_export_holds_tensors_and_no_pointer(op, twin, make, tmp_path):
    arguments = make()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            for place, one in enumerate(arguments[1:]):
                if isinstance(one, torch.Tensor):
                    self.register_buffer(f"t{place}", one)

        def forward(self, x):
            told = [getattr(self, f"t{place}", one) for place, one in enumerate(arguments[1:])]
            return op(x, *told)

    program = torch.export.export(Net(), (arguments[0],))
    assert op in [node.target for node in program.graph.nodes]
    torch.export.save(program, tmp_path / "net.pt2")
    close(torch.export.load(tmp_path / "net.pt2").module()(arguments[0]).detach(), twin(*arguments))


@pytest.mark.slow
def test_an_exported_program_runs_in_a_process_that_knows_only_the_operations(tmp_path, way):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            _, values, keep, bias, *_ = conv()
            self.values, self.bias = nn.Parameter(values), nn.Parameter(bias)
            self.register_buffer("keep", keep)

        def forward(self, x):
            return ops.sparse_conv(x, self.values, self.keep, self.bias, None, [13, 7, 3, 3], [4, 1], WINDOW, "Relu")

    net, x = Net(), torch.randn(2, 7, 9, 11)
    torch.export.save(torch.export.export(net, (x,)), tmp_path / "net.pt2")
    with torch.no_grad():
        torch.save([x, net(x)], tmp_path / "expected.pt")
    code = (
        "import torch, flyweight.kernels.ops; x, y = torch.load('expected.pt');"
        "program = torch.export.load('net.pt2').module(); found = program(x).detach();"
        "torch.testing.assert_close(found, y, rtol=1e-4, atol=1e-4)"
    )
    environment = {**os.environ, **({"FLYWEIGHT_KERNELS": "none"} if way == "twin" else {})}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)


def test_under_autocast_it_is_of_its_type():
    arguments = conv()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        found = ops.sparse_conv(arguments[0].bfloat16(), *arguments[1:])
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), conv_twin.sparse_conv(*arguments), rtol=0.05, atol=0.2)


def test_vmap_and_grad_of_torch_func():
    arguments = conv(torch.randn(1, 7, 9, 11))
    images = torch.randn(3, 1, 7, 9, 11)
    found = torch.func.vmap(lambda x: ops.sparse_conv(x, *arguments[1:]))(images)
    close(found[:, 0].contiguous(), conv_twin.sparse_conv(images[:, 0], *arguments[1:]))
    gradient = torch.func.grad(lambda x: ops.sparse_conv(x, *arguments[1:]).sum())(images[0])
    expected = torch.func.grad(lambda x: conv_twin.sparse_conv(x, *arguments[1:]).sum())(images[0])
    torch.testing.assert_close(gradient, expected)


def test_a_weight_that_changes_is_heard_of():
    arguments = conv()
    values = nn.Parameter(arguments[1], requires_grad=False)
    first = ops.sparse_conv(arguments[0], values, *arguments[2:])
    with torch.no_grad():
        values.mul_(-1)
    second = ops.sparse_conv(arguments[0], values, *arguments[2:])
    assert not torch.equal(first, second)
    close(second, conv_twin.sparse_conv(arguments[0], values, *arguments[2:]))


@needs_library
def test_threads_are_torchs(way):
    if way == "twin":
        pytest.skip("the twin runs on torch's threads anyway")
    library = native_layer.load()
    for threads in (2, 1):
        torch.set_num_threads(threads)
        ops.sparse_conv(*conv())
        assert library.fw_threads() == threads


def test_a_forked_process_computes_too(way):
    torch.set_num_threads(2)
    arguments = conv()
    expected = ops.sparse_conv(*arguments)
    child = os.fork()
    if child == 0:  # without pytest's own end, whatever happens
        try:
            torch.set_num_threads(2 if way == "library" else 1)  # OpenMP itself does not outlive a fork
            same = way == "twin" or torch.equal(ops.sparse_conv(*arguments), expected)
            os._exit(0 if same else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


@each
def test_many_threads_at_once_of_many_sizes(op, twin, make, way):
    if way == "twin":
        pytest.skip("torch's own affair")
    torch.set_num_threads(2)
    arguments = make()
    x = arguments[0]
    arguments = [None if one is not x and isinstance(one, torch.Tensor) and one.dim() == x.dim() and len(one) == len(x)
                 else one for one in arguments]  # fmt: skip
    inputs = [torch.randn(batch, *x.shape[1:]) for batch in (1, 2, 3)] * 8
    if x.dim() == 4:
        inputs += [torch.randn(1, x.shape[1], 9 + more, 11) for more in range(20)]  # more sizes than are kept
    with torch.no_grad():
        expected = [op(one, *arguments[1:]) for one in inputs]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda one: op(one, *arguments[1:]), inputs * 3))
    assert all(torch.equal(one, other) for one, other in zip(found, expected * 3, strict=True))


def changed(arguments, place, value):
    return *arguments[:place], value, *arguments[place + 1 :]


REFUSED = {
    "channels": (ops.sparse_conv, changed(conv(), 0, torch.zeros(2, 6, 9, 9)), ["(batch, 7", "(2, 6, 9, 9)", "Give"]),
    "dims": (ops.sparse_conv, changed(conv(), 0, torch.zeros(7, 9, 9)), ["sparse_conv", "(7, 9, 9)"]),
    "small": (ops.sparse_conv, changed(conv(), 0, torch.zeros(2, 7, 1, 1)), ["(3, 3)", "larger", "Give"]),
    "bias": (ops.sparse_conv, changed(conv(), 3, torch.zeros(12)), ["13 rows", "(12,)", "(13,)"]),
    "residual": (ops.sparse_conv, changed(conv(), 4, torch.zeros(1)), ["(2, 13, 5, 8)", "(1,)"]),
    "block": (ops.sparse_conv, changed(conv(), 6, [3, 1]), ["3", "1, 2, 4, 8, 16"]),
    "window": (ops.sparse_conv, changed(conv(), 7, [0, *WINDOW[1:]]), ["stride", "1 or more"]),
    "activation": (ops.sparse_conv, changed(conv(), 8, "Relu7"), ["'Relu7'", "Did you mean 'Relu'", "Gelu"]),
    "features": (ops.sparse_linear, changed(linear(), 0, torch.zeros(3, 6)), ["(…, 7)", "(3, 6)"]),
    "linear bias": (ops.sparse_linear, changed(linear(), 3, torch.zeros(2)), ["13 rows", "(2,)"]),
    "no depthwise": (ops.depthwise, changed(depthwise(), 1, torch.zeros(7, 2, 3, 3)), ["(7, 2, 3, 3)", "groups"]),
    "no residual": (ops.sparse_block, changed(block(), 11, WINDOW), ["(2, 7, 9, 11)", "residual=False"]),
    "two activations": (ops.sparse_block, changed(block(), 12, ["Relu", ""]), ["('Relu', '')", "three"]),
    "tiles of the expand": (ops.sparse_block, changed(block(), 10, [3, 1, 1, 1]), ["(3, 1)", "1, 2, 4, 8, 16"]),
    "bias of the project": (ops.sparse_block, changed(block(), 8, torch.zeros(2)), ["7 rows", "(2,)"]),
    "half an expand": (ops.sparse_block, changed(block(), 2, None), ["13 and 7", "expand_keep"]),
}  # fmt: skip


@pytest.mark.parametrize(("op", "arguments", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_fit_is_refused_in_words(op, arguments, words):
    with pytest.raises(FlyweightError) as error:
        op(*arguments)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_values_that_do_not_fit_their_bits_are_refused(way):
    arguments = conv()
    with pytest.raises(FlyweightError, match=r"values"):
        ops.sparse_conv(*changed(arguments, 1, arguments[1][:-4]))
