"""Locally connected layers: bioprop's against its peers, and against the floor of each shape.

Every contestant takes and gives channels last, in float32, without a bias. forward is
(kernel, x) -> a; forward_backward gives (a, dW, dx) for a cotangent of a.

    bioprop          layers.locally_connected
    lax_autodiff     lax.conv_general_dilated_local and its derivatives
    flax_conv_local  flax.linen.ConvLocal and its derivatives
    torch_unfold     PyTorch's unfold and an einsum, on as many threads as JAX has cores
    convolution      lax.conv_general_dilated: shared weights, another function, for orientation
    floor_flops      the layer's products, at the rate of one large product of matrices
    floor_bytes      all that must be read and written once, at the rate of a large elementwise pass
                     that writes to a fresh array, as JAX's calls do
    floor            the larger of the two

Both rates are measured in turn with the contestants. A contestant whose temporaries would take more
than half of the memory is not run: it has None for times. peak_bytes are the temporaries of
forward_backward that XLA plans for, without the workspace of its convolutions.
"""

import functools
import importlib.util
import math
import os
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from flax import linen
from jax import lax

from bioprop.costs.products import flops
from bioprop.layers import Layer, locally_connected, window
from bioprop.layers.base import Shape
from experiments.benchmarks import timing
from experiments.benchmarks.nets import paper_net

FULL = flags.DEFINE_bool(
    'full', False, "local: also every local layer of the paper's nets, and batch 256."
)
NETS = ('mnist', 'cifar10', 'imagenet')
PRODUCT = 1024  # rows and columns of the large product
PASS = 32 << 20  # elements of the large pass
SHARE = 1 / 4  # of a case's time that one contestant may use
TOLERANCE = 1e-4  # of the largest entry, between contestants
LAYOUT = ('NHWC', 'HWIO', 'NHWC')


class Case(NamedTuple):
    """A local layer with SAME padding, and a batch size."""

    name: str
    in_shape: Shape
    features: int
    size: int
    stride: int
    batch: int

    @property
    def layer(self) -> Layer:
        """The layer bound to its shapes."""
        return locally_connected(self.features, self.size, self.stride)(self.in_shape)

    @property
    def flops(self) -> int:
        """Floating point operations of the forward pass's products; the gradients take twice."""
        *places, columns = self.layer.bias_shape
        return flops([(math.prod(places), self.batch, self.layer.kernel_shape[-2], columns)])

    @property
    def bytes(self) -> int:
        """Of kernel, input and output: what a forward pass touches; the gradients, once more."""
        layer = self.layer
        examples = math.prod(layer.in_shape) + math.prod(layer.out_shape)
        return 4 * (math.prod(layer.kernel_shape) + self.batch * examples)

    @property
    def hidden_bytes(self) -> int:
        """What XLA's CPU convolution takes beside a program's temporaries in lax's dx at stride 1.

        The patches' derivative is a convolution with a one-hot kernel, of which it lays out all
        patches of patches. Seen in the resident memory; `memory_analysis` does not count it.
        """
        if self.stride > 1 or jax.default_backend() != 'cpu':
            return 0
        return 4 * self.batch * math.prod(self.in_shape) * self.size**4


SINGLE = (
    ('S1', (28, 28, 1), 32, 3, 1),
    ('S2', (32, 32, 3), 64, 5, 1),
    ('S3', (32, 32, 64), 64, 3, 2),
)


def net_layers(dataset: str) -> list[tuple]:
    """(name, in_shape, features, size, stride) of each local layer of the data set's LC net."""
    net = paper_net(f'{dataset}_lc')
    local = [numbers for numbers in net.hidden if not isinstance(numbers, int)]
    return [
        (f'{dataset}_{number}', layer.in_shape, features, size, stride)
        for number, (layer, (size, features, stride)) in enumerate(
            zip(net.network.layers, local, strict=False), start=1
        )
    ]


def cases(batch_size: int | None, full: bool) -> list[Case]:
    """The single shapes; in full also the nets' layers. Batch 64, in full also 256."""
    batches = [batch_size] if batch_size else [64, 256] if full else [64]
    layers = [*SINGLE, *(layer for name in NETS for layer in net_layers(name) if full)]
    return [Case(*layer, batch) for layer in layers for batch in batches]


class Contestant(NamedTuple):
    """Two calls without arguments, None where they would not fit in memory."""

    forward: Callable[[], object] | None
    forward_backward: Callable[[], object] | None
    peak_bytes: int | None  # temporaries of forward_backward; None: unknown


def operands(case: Case) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Random (kernel, x, cotangent)."""
    shapes = (
        case.layer.kernel_shape,
        (case.batch, *case.layer.in_shape),
        (case.batch, *case.layer.out_shape),
    )
    return tuple(
        jax.random.normal(key, shape)
        for key, shape in zip(jax.random.split(jax.random.key(0), 3), shapes, strict=True)
    )


def functions(case: Case) -> dict[str, Callable[[jax.Array, jax.Array], jax.Array]]:
    """JAX's contestants as (kernel, x) -> a."""
    size, strides = (case.size, case.size), (case.stride, case.stride)
    conv_local = linen.ConvLocal(case.features, size, strides, use_bias=False)
    return {
        'bioprop': case.layer.linear,
        'lax_autodiff': lambda kernel, x: lax.conv_general_dilated_local(
            x, kernel, strides, 'SAME', filter_shape=size, dimension_numbers=LAYOUT
        ),
        'flax_conv_local': lambda kernel, x: conv_local.apply({'params': {'kernel': kernel}}, x),
        'convolution': lambda kernel, x: lax.conv_general_dilated(
            x, kernel, strides, 'SAME', dimension_numbers=LAYOUT
        ),
    }


def jax_contestant(function: Callable, kernel, x, cotangent, hidden_bytes: int = 0) -> Contestant:
    """Compiles both programs of a function (kernel, x) -> a.

    hidden_bytes are taken beside the temporaries; they decide whether it fits, and are not shown.
    """

    def both(kernel, x, cotangent):
        a, pullback = jax.vjp(function, kernel, x)
        return a, *pullback(cotangent)

    forward = jax.jit(function).lower(kernel, x).compile()
    forward_backward = jax.jit(both).lower(kernel, x, cotangent).compile()
    peak = forward_backward.memory_analysis().temp_size_in_bytes
    if peak + hidden_bytes > memory_limit():
        return Contestant(None, None, peak)
    return Contestant(
        functools.partial(forward, kernel, x),
        functools.partial(forward_backward, kernel, x, cotangent),
        peak,
    )


def memory_limit() -> int:
    """Bytes of temporaries that a contestant may take: half of the device's memory."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and 'bytes_limit' in stats:
        return stats['bytes_limit'] // 2
    return os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // 2


def torch_contestant(case: Case, kernel, x, cotangent) -> Contestant:
    """PyTorch's unfold, which lays its patches out as our kernels, and one product per place."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    *places, inner, features = case.layer.kernel_shape
    (top, bottom), (left, right) = window(case.in_shape[:-1], case.size, case.stride).padding
    kernel, x, cotangent = (torch.from_numpy(np.array(v)) for v in (kernel, x, cotangent))

    def forward(kernel, x):
        padded = torch.nn.functional.pad(x.permute(0, 3, 1, 2), (left, right, top, bottom))
        patches = torch.nn.functional.unfold(padded, case.size, stride=case.stride)
        matrices = kernel.reshape(-1, inner, features)
        return torch.einsum('nkp,pko->npo', patches, matrices).reshape(-1, *places, features)

    @torch.no_grad()
    def call_forward():
        return forward(kernel, x)

    def call_both():
        leaves = [v.detach().requires_grad_() for v in (kernel, x)]
        a = forward(*leaves)
        return a.detach(), *torch.autograd.grad(a, leaves, cotangent)

    return Contestant(call_forward, call_both, None)


def contestants(case: Case) -> dict[str, Contestant]:
    """All but the floor, in the order of the table; PyTorch's only where it is installed."""
    kernel, x, cotangent = operands(case)
    shared = kernel[(0,) * (kernel.ndim - 2)].reshape(-1, case.size, case.size, case.features)
    kernels = {'convolution': jnp.moveaxis(shared, 0, 2)}
    hidden = dict.fromkeys(('lax_autodiff', 'flax_conv_local'), case.hidden_bytes)
    made = {
        name: jax_contestant(function, kernels.get(name, kernel), x, cotangent, hidden.get(name, 0))
        for name, function in functions(case).items()
    }
    if has_torch():
        made['torch_unfold'] = torch_contestant(case, kernel, x, cotangent)
    return made


def has_torch() -> bool:
    """Whether PyTorch can be imported."""
    return importlib.util.find_spec('torch') is not None


def check(case: Case, made: dict[str, Contestant]) -> None:
    """Raises AssertionError unless all contestants give bioprop's output and gradients.

    The convolution is another function and is left out.
    """
    expected = [np.asarray(v) for v in made['bioprop'].forward_backward()]
    for name, contestant in made.items():
        if name in ('bioprop', 'convolution') or contestant.forward_backward is None:
            continue
        for part, ours, theirs in zip(
            ('output', 'dW', 'dx'), expected, contestant.forward_backward(), strict=True
        ):
            off = float(np.max(np.abs(np.asarray(theirs) - ours)) / np.max(np.abs(ours)))
            assert off < TOLERANCE, (
                f'{case.name}, batch {case.batch}: {part} of {name} differs from that of bioprop '
                f'by {off:.1e} of its largest entry'
            )


def rate_calls() -> dict[str, Callable[[], object]]:
    """The calls that the floor's rates are measured by: 'product' and 'pass'."""
    matrix, vector = jnp.ones((PRODUCT, PRODUCT)), jnp.ones(PASS)
    product = jax.jit(jnp.matmul).lower(matrix, matrix).compile()
    add = jax.jit(lambda v: v + 1).lower(vector).compile()
    return {
        'product': functools.partial(product, matrix, matrix),
        'pass': functools.partial(add, vector),
    }


def floors(case: Case, ms_product: float, ms_pass: float) -> dict[str, tuple[float, float]]:
    """(forward, forward_backward) in ms, of floating point operations, of bytes, and of both."""
    ms_flops = case.flops * ms_product / flops([(1, PRODUCT, PRODUCT, PRODUCT)])
    ms_bytes = case.bytes * ms_pass / (2 * 4 * PASS)
    by_flops, by_bytes = (ms_flops, 3 * ms_flops), (ms_bytes, 2 * ms_bytes)
    both = tuple(map(max, by_flops, by_bytes))
    return {'floor_flops': by_flops, 'floor_bytes': by_bytes, 'floor': both}


def case_rows(case: Case, seconds: float) -> list[dict]:
    """The rows of one case, measured for that many seconds after compiling and checking.

    gflop_per_s and gb_per_s are those of forward_backward, counted as for the floor.
    """
    made = contestants(case)
    check(case, made)
    calls = {
        (name, part): getattr(contestant, part)
        for name, contestant in made.items()
        for part in ('forward', 'forward_backward')
        if contestant.forward_backward
    }
    least = timing.interleave(calls | rate_calls(), seconds, SHARE * seconds)
    times = {
        name: (least.get((name, 'forward')), least.get((name, 'forward_backward'))) for name in made
    }
    times |= floors(case, least['product'], least['pass'])
    (_, lax_both), (_, floor_both) = times['lax_autodiff'], times['floor']
    return [
        {
            'case': case.name,
            'batch': case.batch,
            'contestant': name,
            'ms_forward': forward,
            'ms_forward_backward': both,
            'ratio_to_lax': lax_both / both if lax_both and both else None,
            'ratio_to_floor': both / floor_both if both else None,
            'gflop_per_s': 3 * case.flops / both / 1e6 if both else None,
            'gb_per_s': 2 * case.bytes / both / 1e6 if both else None,
            'peak_bytes': made[name].peak_bytes if name in made else None,
        }
        for name, (forward, both) in times.items()
    ]


def default_batch() -> None:
    """The cases have their own."""


def rows(batch_size: int | None, seconds: float) -> list[dict]:
    """The rows of all cases; every case gets the same share of the seconds."""
    if not has_torch():
        print('torch_unfold is left out: PyTorch is not installed')
    todo = cases(batch_size, FULL.value)
    return [row for case in todo for row in case_rows(case, seconds / len(todo))]
