"""A linear map with a kernel, its transpose and its gradient: partial derivatives of one form."""

from collections.abc import Callable

import jax


def trilinear(linear: Callable, transpose: Callable, gradient: Callable) -> tuple[Callable, ...]:
    """The same three functions, each differentiated in reverse by the other two.

    linear(shape, kernel, x) -> a, transpose(shape, kernel, a) -> x and gradient(shape, x, a) ->
    kernel are the partial derivatives of <linear(shape, kernel, x), a>; shape is static.
    """
    linear, transpose, gradient = (
        jax.custom_vjp(function, nondiff_argnums=(0,)) for function in (linear, transpose, gradient)
    )
    linear.defvjp(
        lambda shape, kernel, x: (linear(shape, kernel, x), (kernel, x)),
        lambda shape, saved, a: (gradient(shape, saved[1], a), transpose(shape, saved[0], a)),
    )
    transpose.defvjp(
        lambda shape, kernel, a: (transpose(shape, kernel, a), (kernel, a)),
        lambda shape, saved, x: (gradient(shape, x, saved[1]), linear(shape, saved[0], x)),
    )
    gradient.defvjp(
        lambda shape, x, a: (gradient(shape, x, a), (x, a)),
        lambda shape, saved, kernel: (
            transpose(shape, kernel, saved[1]),
            linear(shape, kernel, saved[0]),
        ),
    )
    return linear, transpose, gradient
