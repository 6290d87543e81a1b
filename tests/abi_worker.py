"""A process that calls the native library through its C interface, without torch: one a path, told by pickles on stdin.

Every array that the library reads or writes lies between two pages that nobody may touch, close to one of them, so that
a read or a write out of bounds kills this process and with it the test.
"""

import ctypes
import math
import mmap
import pickle
import resource
import struct
import sys

import numpy as np

from flyweight.core.errors import KernelsError
from flyweight.kernels import abi
from flyweight.kernels.library import load

PAGE = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_mapped = []


def fenced(array, at_end=True):
    """A copy of ``array`` that ends at a forbidden page, or begins after one."""
    array = np.ascontiguousarray(array)
    whole = -(-max(1, array.nbytes) // PAGE) * PAGE
    start = libc.mmap(None, whole + 2 * PAGE, 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    _mapped.append((start, whole + 2 * PAGE))
    libc.mprotect(start, PAGE, 0)
    libc.mprotect(start + PAGE + whole, PAGE, 0)
    place = start + PAGE + (whole - array.nbytes if at_end else 0)
    copy = np.ndarray(array.shape, array.dtype, (ctypes.c_byte * max(1, array.nbytes)).from_address(place))
    copy[...] = array
    return copy


def forget():
    while _mapped:
        libc.munmap(*_mapped.pop())


def pointer(array, kind=ctypes.c_void_p):
    if array is None:
        return None
    address = fenced(array).ctypes.data
    return address if kind is ctypes.c_void_p else ctypes.cast(address, ctypes.POINTER(kind))


def matrix(told):
    return abi.Matrix(
        *(told[name] for name in ("rows", "inputs", "taps", "block_rows", "block_columns")),
        pointer(told["values"]),
        told["value_count"],
        pointer(told["keep"], ctypes.c_uint8),
        told["keep_bytes"],
    )


def conv(told):
    window = abi.Window(*told["window"])
    return abi.ConvSpec(matrix(told["weight"]), window, pointer(told["bias"], ctypes.c_float), told["activation"])


def linear(told):
    return abi.LinearSpec(matrix(told["weight"]), pointer(told["bias"], ctypes.c_float), told["activation"])


def depthwise(told):
    arrays = (pointer(told[name], ctypes.c_float) for name in ("weight", "bias"))
    return abi.DepthwiseSpec(told["channels"], abi.Window(*told["window"]), *arrays, told["activation"])


def block(told):
    made = [(conv, told["expand"]), (depthwise, told["depthwise"]), (conv, told["project"])]
    return abi.BlockSpec(*(None if one is None else ctypes.pointer(make(one)) for make, one in made), told["residual"])


def requantize(told):
    arrays = (pointer(told["bias"], ctypes.c_int32), pointer(told["scale"], ctypes.c_float))
    return (*arrays, *(told[name] for name in ("x_zero", "y_zero", "y_low", "y_high")))


def qconv(told):
    added = None if told.get("sum") is None else ctypes.pointer(abi.QAddSpec(*told["sum"]))
    ends = (*requantize(told), added, told.get("sum_second", 0))
    return abi.QConvSpec(matrix(told["weight"]), abi.Window(*told["window"]), *ends)


def qdepthwise(told):
    weight = pointer(told["weight"], ctypes.c_int8)
    return abi.QDepthwiseSpec(told["channels"], abi.Window(*told["window"]), weight, *requantize(told))


def qmaxpool(told):
    return abi.QMaxPoolSpec(told["channels"], abi.Window(*told["window"]))


def qmean(told):
    return abi.QMeanSpec(*(told[name] for name in ("channels", "x_scale", "y_scale", "x_zero", "y_zero")))


SPECS = {
    "qmean": qmean,
    "conv": conv,
    "linear": linear,
    "depthwise": depthwise,
    "block": block,
    "qconv": qconv,
    "qdepthwise": qdepthwise,
    "qmaxpool": qmaxpool,
}


class Refused(Exception):
    pass


def checked(library, status):
    if status:
        raise Refused((library.fw_error() or b"").decode(errors="replace"))


def create(library, kind, told):
    layer = ctypes.c_void_p(1)  # what is left in it after a refusal nobody should use
    if kind == "qblock":  # the layers that it calls live on: they are few
        parts = [None if part is None else create(library, of, part) for of, part in told["parts"]]
        checked(library, library.fw_qblock_create(*parts, ctypes.byref(layer)))
        return layer
    spec = None if told is None else ctypes.byref(SPECS[kind](told))
    status = getattr(library, f"fw_{kind}_create")(spec, ctypes.byref(layer))
    checked(library, status)
    forget()  # the layer has copies of its own
    return layer


def backwards(context, tasks, task, argument):
    """The ``run`` of a pool that takes the last task first."""
    for index in reversed(range(tasks)):
        task(argument, index)


BACKWARDS = abi.Run(backwards)
MOST = 10**7  # numbers that a result may have, where a broken description asks for one


def run(library, kind, layer, told, x, residual, threads, at_end):
    """One call on ``threads`` of the library's own, or, below zero, on a pool of so many of the caller's."""
    checked(library, library.fw_set_threads(max(1, threads)))
    pool = None if threads > 0 else ctypes.byref(abi.Pool(-threads, None, BACKWARDS))
    x = fenced(x, at_end)
    if kind in TOKENS:
        return run_tokens(library, kind, told, pool, x, at_end)
    if kind in BYTES:
        return run_bytes(library, kind, layer, told, pool, x, residual, at_end)
    residual = None if residual is None else fenced(residual, at_end)
    added = None if residual is None else residual.ctypes.data
    size = (ctypes.c_int64 * 3)(told["weight"]["rows"] if kind == "linear" else 0, 1, 1)
    if kind != "linear":
        checked(library, library.fw_output_size(layer, *x.shape[2:], size))
    if math.prod(size) > MOST:
        raise Refused("skipped")
    y = fenced(np.full((len(x), *size)[: x.ndim], np.nan, np.float32), at_end)
    if kind == "linear":
        status = library.fw_linear_run(layer, pool, len(x), x.ctypes.data, added, y.ctypes.data)
    else:
        batch, _, height, width = x.shape
        status = library.fw_image_run(layer, pool, batch, height, width, x.ctypes.data, added, y.ctypes.data)
    checked(library, status)
    return y.copy()


TOKENS = ("attention", "attention_turned", "layer_norm", "layer_norm_turned")


def run_tokens(library, kind, told, pool, x, at_end):
    """One call of what stands between linear layers; the other arrays are in ``told``, as "others"."""
    y = fenced(np.full(told["shape"], np.nan, np.float32), at_end)
    others = [None if array is None else fenced(array, at_end).ctypes.data for array in told["others"]]
    function = getattr(library, f"fw_{kind}_run")
    if kind.startswith("attention"):
        spec = abi.AttentionSpec(*told["spec"])
        checked(library, function(pool, ctypes.byref(spec), x.ctypes.data, *others, y.ctypes.data))
    else:
        checked(library, function(pool, *told["spec"], *others, x.ctypes.data, y.ctypes.data))
    return y.copy()


BYTES = ("qblock", "qmean", "qconv", "qdepthwise", "qmaxpool", "qadd", "pack4", "quantize4", "unpack4")


def run_bytes(library, kind, layer, told, pool, x, other, at_end):
    """One call on bytes: of a layer on an image in c4, or of what needs no layer (``layer`` None)."""
    if layer is not None:
        size = (ctypes.c_int64 * 3)()
        checked(library, library.fw_output_size(layer, *x.shape[2:4], size))
        if math.prod(size) > MOST:
            raise Refused("skipped")
        y = fenced(np.full((len(x), -(-size[0] // 4), size[1], size[2], 4), 170, np.uint8), at_end)
        batch, _, height, width, _ = x.shape
        added = None if other is None else fenced(other, at_end).ctypes.data
        checked(library, library.fw_qimage_run(layer, pool, batch, height, width, x.ctypes.data, added, y.ctypes.data))
        return y.copy()
    y = fenced(np.full(told["shape"], 170, np.uint8), at_end)
    if kind == "qadd":
        spec, other = abi.QAddSpec(*told["spec"]), fenced(other, at_end)
        ends = other.ctypes.data, y.ctypes.data
        checked(library, library.fw_qadd_run(pool, ctypes.byref(spec), x.size, x.ctypes.data, *ends))
    elif kind == "quantize4":
        ends = x.ctypes.data, told["scale"], told["zero"], y.ctypes.data
        checked(library, library.fw_quantize4(pool, *told["sizes"], *ends))
    else:
        sizes = told["sizes"]
        checked(library, getattr(library, f"fw_{kind}")(pool, *sizes, x.ctypes.data, y.ctypes.data))
    return y.copy()


def answer(library, kind, told, x, residual, runs):
    """The outputs of each of ``runs`` (threads, at_end), or the text of a refusal."""
    layer = None
    try:
        if kind not in ("qadd", "pack4", "quantize4", "unpack4", *TOKENS):
            # The one call that no layer of that kind takes.
            layer = create(library, "conv" if kind == "image as tokens" else kind, told)
        kind = "linear" if kind == "image as tokens" else kind
        outputs = []
        for threads, at_end in runs:
            outputs.append(run(library, kind, layer, told, x, residual, threads, at_end))
            forget()
        return outputs
    except Refused as refused:
        return str(refused)
    finally:
        if layer is not None:
            library.fw_layer_free(layer)
        forget()


def main():
    source, sink = sys.stdin.buffer, sys.stdout.buffer

    def say(what):
        packed = pickle.dumps(what, protocol=5)
        sink.write(struct.pack("<q", len(packed)) + packed)
        sink.flush()

    # A description may ask for more than there is; it should be told so, and the machine not suffer.
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    try:
        library = load()
        say((library.fw_path() or b"").decode() or "refused: " + (library.fw_error() or b"").decode())
    except KernelsError as error:
        return say("refused: " + str(error))
    while head := source.read(8):
        say(answer(library, *pickle.loads(source.read(struct.unpack("<q", head)[0]))))
    return None


if __name__ == "__main__":
    main()
