"""What two phases of a net differ by: outer products of states, before minus after.

For the states x, y of the layer below and a, b of a layer, first and second phase, with
H(post, pre) = the mean of post (x) pre over the batch:

    plain      H(a - b, x)                              GeneRec (O'Reilly 1996)
    midpoint   H(a - b, (x + y) / 2)
    symmetric  H(a - b, x) + H(a, x - y)
    chl        H(a, x) - H(b, y) = H(a - b, (x + y) / 2) + H((a + b) / 2, x - y)

The last is written so, as it loses no digits to the difference of two large products. The bias goes
with the first product: its input is 1 in both phases.
"""

from collections.abc import Callable

from bioprop.rules.base import correlations


def _with_mirrored(first: Callable, second: Callable) -> Callable:
    def change(layer, params, pre, post, factor):
        update = first(layer, params, pre, post, factor)
        (x, y), (a, b) = pre, post
        mirrored = layer.correlation(params, x - y, factor * second(a, b))
        return update | {'kernel': update['kernel'] + mirrored['kernel']}

    return change


def plain(layer, params, pre, post, factor):
    """Of a {'kernel', 'bias'}; pre is (x, y), post (a, b), and factor multiplies all."""
    return layer.correlation(params, pre[0], factor * (post[0] - post[1]))


def midpoint(layer, params, pre, post, factor):
    """The same with the mean input."""
    return layer.correlation(params, (pre[0] + pre[1]) / 2, factor * (post[0] - post[1]))


FORMS = {
    'plain': plain,
    'midpoint': midpoint,
    'symmetric': _with_mirrored(plain, lambda a, b: a),
    'chl': _with_mirrored(midpoint, lambda a, b: (a + b) / 2),
}


def driven(network, forward, inputs: tuple, before: tuple, after: tuple, gamma) -> tuple:
    """gamma^(l-L) H(a_l - b_l, h_{l-1}) of every layer, for given inputs h."""
    top = len(network.layers)
    errors = [
        gamma ** (l - top) * (a - b)
        for l, (a, b) in enumerate(zip(before[1:], after[1:], strict=True), start=1)
    ]
    return correlations(network, forward, inputs[:-1], errors)


def contrast(network, forward, first: tuple, second: tuple, gamma, form='chl') -> tuple:
    """The forward updates: gamma^(l-L) of the form, from the states of two phases.

    The input stays, so that all forms are the plain one in the lowest layer.
    """
    top, pairs = len(network.layers), list(zip(first, second, strict=True))
    rows = zip(network.layers, forward, pairs, pairs[1:], strict=False)
    return tuple(
        (plain if l == 1 else FORMS[form])(layer, params, pre, post, gamma ** (l - top))
        for l, (layer, params, pre, post) in enumerate(rows, start=1)
    )
