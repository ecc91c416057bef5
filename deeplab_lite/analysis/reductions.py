"""Rules of operations that read whole dimensions: norms, reductions, transforms, sums so far."""

from collections.abc import Iterable
from dataclasses import replace

from deeplab_lite.analysis.bounds import Field, mix_channels, pool_all, union
from deeplab_lite.analysis.call import Call, rule


@rule(
    *("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training"),
    *("_batch_norm_with_update", "cudnn_batch_norm"),
)
def _batch_norm(call: Call) -> Field:
    """At training the statistics come from the whole batch; at evaluation they are constants."""
    training = call["training"] or call.name == "_batch_norm_with_update"
    return _spread(call, [d for d in range(call.x.ndim) if d != 1]) if training else call.field


@rule("native_layer_norm", "_fused_rms_norm", "rms_norm")
def _layer_norm(call: Call) -> Field:
    return _spread(call, range(call.x.ndim - len(call["normalized_shape"]), call.x.ndim))


@rule("native_group_norm")
def _group_norm(call: Call) -> Field:
    mixed = mix_channels(call.field, call["group"], call.x.shape[1])
    return _spread(call, range(2, call.x.ndim), mixed)


@rule("_softmax", "_log_softmax", "_safe_softmax", "softmax", "log_softmax", "sort", "renorm")
def _softmax(call: Call) -> Field:
    return _spread(call, call.dims())


def _spread(call: Call, dims: Iterable[int], field: Field | None = None) -> Field:
    """Every unit along dims reads every other; `field` stands for the first operand's."""
    field = field or call.field
    return union([field, pool_all(field, call.x.shape, dims)], call.x.ndim)


@rule("_fft_r2c", "_fft_c2c", "_fft_c2r")
def _fourier(call: Call) -> Field:
    pooled = pool_all(call.field, call.x.shape, call["dim"])
    return tuple(replace(a, stride=b.stride) for a, b in zip(pooled, call.field, strict=True))


@rule("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin")
def _cumulate(call: Call) -> Field:
    (dim,) = call.dims()
    return tuple(replace(a, bounds=a.bounds.cummax(dim + 1).values) for a in call.field)


REDUCTIONS = (
    "mean", "sum", "nansum", "prod", "amax", "amin", "max", "min", "argmax", "argmin",
    "aminmax", "median", "nanmedian", "any", "all", "count_nonzero", "var", "std", "var_mean",
    "std_mean", "logsumexp", "norm", "linalg_vector_norm", "topk", "kthvalue",
)  # fmt: skip


@rule(*REDUCTIONS)
def _reduce(call: Call) -> Field:
    dims = call.dims()
    pooled = pool_all(call.field, call.x.shape, dims)
    if call.result.ndim == call.x.ndim:
        return pooled
    dropped = [d + 1 for d in dims]
    return tuple(replace(a, bounds=a.bounds.squeeze(dropped)) for a in pooled)
