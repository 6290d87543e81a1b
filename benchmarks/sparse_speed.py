"""Pruned networks and layers against the fastest dense runtime there is: how many times faster the files really are.

A network is pruned by flyweight's own step, exported by flyweight, and opened in ONNX Runtime with the sparse kernels.
It is timed in turns with its dense twin in ONNX Runtime, OpenVINO and LiteRT, float32 and int8, each runtime in a
process of its own; ratios are to the fastest of them in the same run. Layers are timed alone, through the kernels' C
interface, beside what the processor could do at most.

    python benchmarks/sparse_speed.py --quick                     # minutes: one network, three sparsities, some layers
    python benchmarks/sparse_speed.py --record benchmarks/results/sparse_speed.json
    python benchmarks/sparse_speed.py --model mobilenet_v2 --block 4x1 --sparsity 0.9 --json
    python benchmarks/sparse_speed.py --path avx2 --record benchmarks/results/sparse_speed_avx2.json

A runtime that is not installed is left out, and told. LiteRT's files are made by litert-torch, which brings jax along,
so it may live in a Python of its own: --litert-python, or FLYWEIGHT_LITERT_PYTHON (benchmarks/README.md says how).
With --path avx2 all runtimes, dense ones too, run on a processor that says it has no AVX-512 (sparse_speed/avx2_cap.c).
"""

from __future__ import annotations

from sparse_speed.command import main

if __name__ == "__main__":
    main(__doc__)
