"""Which rule an operation of aten follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from flyweight.surgery.couple import contract, layers, move, reduce
from flyweight.surgery.couple.call import Call

Rule = Callable[[Call], Any]


def rule_of(target: Any) -> Rule:
    """The rule of the operation ``target``; one that freezes all for those that are not known."""
    name = target._schema.name.removeprefix("aten::").rstrip("_")
    if name in _RULES:
        return _RULES[name]
    if torch.Tag.pointwise in target.tags:
        return reduce.elementwise_rule
    return reduce.unknown_rule


_GROUPED: dict[Rule, str] = {
    contract.linear_rule: "linear",
    contract.matmul_rule: "matmul mm bmm mv dot",
    contract.addmm_rule: "addmm baddbmm",
    contract.einsum_rule: "einsum",
    contract.attention_rule: "scaled_dot_product_attention",
    layers.convolution_rule: "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d",
    layers.channel_norm_rule: "batch_norm instance_norm",
    layers.group_norm_rule: "group_norm",
    layers.layer_norm_rule: "layer_norm rms_norm",
    layers.prelu_rule: "prelu",
    layers.embedding_rule: "embedding",
    move.moved: (
        "permute transpose t numpy_T mT swapaxes swapdims movedim moveaxis "
        "flatten unflatten squeeze unsqueeze repeat tile flip "
        "repeat_interleave pixel_shuffle pixel_unshuffle channel_shuffle ravel"
    ),
    move.reshaped_rule: "view reshape _unsafe_view _reshape_alias view_as reshape_as",
    move.passed_rule: "clone contiguous detach alias lift_fresh lift_fresh_copy to _to_copy type_as",
    move.expand_rule: "expand expand_as broadcast_to",
    move.select_rule: "select unbind",
    move.pinned_rule: "roll unfold diagonal index_select gather take_along_dim",
    move.split_rule: "chunk split split_with_sizes tensor_split unsafe_chunk unsafe_split",
    move.slice_rule: "slice",
    move.cat_rule: "cat concat concatenate",
    move.stack_rule: "stack",
    move.pad_rule: "pad constant_pad_nd",
    move.index_rule: "index",
    reduce.elementwise_rule: (
        "dropout feature_dropout alpha_dropout feature_alpha_dropout native_dropout hardtanh relu6 leaky_relu elu selu "
        "celu softplus mish silu gelu hardswish hardsigmoid log_sigmoid softsign softshrink hardshrink tanhshrink "
        "threshold where masked_fill clamp clamp_min clamp_max rsub copy float_power"
    ),
    reduce.over_dim_rule: ("softmax _softmax log_softmax _log_softmax cumsum cumprod logcumsumexp tril triu"),
    reduce.sorted_rule: "sort topk cummax cummin",
    reduce.gated_rule: "glu",
    reduce.reduce_rule: (
        "mean sum prod amax amin argmax argmin var std norm linalg_vector_norm logsumexp all any nansum count_nonzero "
        "nanmean"
    ),
    reduce.extreme_rule: "max min median mode kthvalue",
    reduce.pool_rule: (
        "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
        "adaptive_avg_pool3d upsample_nearest1d upsample_nearest2d "
        "upsample_nearest3d upsample_bilinear2d upsample_linear1d upsample_bicubic2d upsample_trilinear3d "
        "_upsample_nearest_exact2d reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d "
        "_adaptive_avg_pool2d lp_pool1d lp_pool2d"
    ),
    reduce.pool_with_indices_rule: (
        "max_pool1d_with_indices max_pool2d_with_indices adaptive_max_pool1d adaptive_max_pool2d"
    ),
    reduce.columns_rule: "im2col",
    reduce.like_rule: "zeros_like ones_like full_like empty_like rand_like randn_like bernoulli",
}
_RULES: dict[str, Rule] = {name: rule for rule, names in _GROUPED.items() for name in names.split()}
