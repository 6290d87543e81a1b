import math

import pytest
import torch

from flyweight.compress.prune.distributions.erdos_renyi import erdos_renyi
from pools import PlainPool

RESNET = [(16, 3, 3, 3), *[(16, 16, 3, 3)] * 6, (32, 16, 3, 3), *[(32, 32, 3, 3)] * 5, (32, 16, 1, 1), (10, 64)]


def published(shapes, ratio, kernel):
    """The densities as RigL finds them: layers that would be more than full are made dense, until none would be."""
    dense = set()
    while True:
        room, weight, raw = 0.0, 0.0, {}
        for index, shape in enumerate(shapes):
            size = math.prod(shape)
            if index in dense:
                room -= size * ratio
                continue
            room += size * (1 - ratio)
            dims = shape if kernel else shape[:2]
            raw[index] = sum(dims) / math.prod(dims)
            weight += raw[index] * size
        epsilon = room / weight
        full = [index for index, r in raw.items() if r * epsilon > 1]
        if not full:
            return [1.0 if index in dense else epsilon * raw[index] for index in range(len(shapes))]
        top = max(raw.values())
        dense |= {index for index in full if raw[index] == top}


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.8, 0.9, 0.95])
def test_densities_are_the_published_ones(ratio, kernel):
    pools = [PlainPool(str(i), torch.ones(math.prod(shape)), shape) for i, shape in enumerate(RESNET)]
    found = erdos_renyi(kernel)(pools, [torch.rand(len(p.parameters)) for p in pools], ratio, None)
    for pool, lost, density in zip(pools, found, published(RESNET, ratio, kernel), strict=True):
        # To a unit, and to what the rounding of all pools together leaves over.
        assert abs((1 - lost - density) * len(pool.parameters)) <= 1.5


def test_blocks_go_by_the_shape_of_their_layer():
    shapes = [(32, 16, 3, 3), (64, 64, 1, 1)]
    pools = [PlainPool(str(i), torch.full((math.prod(s) // 4,), 4.0), s) for i, s in enumerate(shapes)]
    found = erdos_renyi()(pools, [torch.rand(len(p.parameters)) for p in pools], 0.8, None)
    for pool, lost, density in zip(pools, found, published(shapes, 0.8, True), strict=True):
        assert abs((1 - lost - density) * len(pool.parameters)) <= 1.5
