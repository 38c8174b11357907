"""`bioprop.layers.locally_connected` as a flax.linen module."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from bioprop.layers import add_bias, locally_connected
from bioprop.layers.window import Padding


class ConvLocal(nn.Module):
    """Takes the place of `flax.linen.ConvLocal`: same parameters, same values, a fast gradient.

    kernel_size and strides are numbers (for one spatial axis) or one for each axis, padding is
    that of `bioprop.layers.window`. Inputs are (..., *spatial, channels). Without a kernel_init
    kernels start LeCun-normal with the fan-in of one unit, where flax takes that of all units.
    """

    features: int
    kernel_size: int | Sequence[int]
    strides: int | Sequence[int] = 1
    padding: Padding = 'SAME'
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    kernel_init: Callable | None = None
    bias_init: Callable = nn.initializers.zeros

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """(..., *spatial, channels) -> (..., *places, features)."""
        axes = 1 if isinstance(self.kernel_size, int) else len(self.kernel_size)
        batch, in_shape = inputs.shape[: -axes - 1], inputs.shape[-axes - 1 :]
        describe = locally_connected(
            self.features, self.kernel_size, self.strides, self.padding, 'linear'
        )
        layer = describe(in_shape)
        kernel_init = self.kernel_init or nn.initializers.lecun_normal(batch_axis=range(axes))
        kernel = self.param('kernel', kernel_init, layer.kernel_shape, self.param_dtype)
        bias = None
        if self.use_bias:
            bias = self.param('bias', self.bias_init, layer.bias_shape, self.param_dtype)
        inputs, kernel, bias = nn.dtypes.promote_dtype(inputs, kernel, bias, dtype=self.dtype)
        outputs = layer.linear(kernel, inputs.reshape(-1, *in_shape))
        if bias is not None:
            outputs = add_bias(outputs, bias)
        return outputs.reshape(*batch, *layer.out_shape)
