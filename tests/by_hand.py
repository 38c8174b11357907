"""The rules written out in plain NumPy, from the equations of the paper.

States, deltas and biases are flat here, and every layer is a matrix: that of a local layer or of a
convolution is put together place by place, tap by tap and channel by channel.
"""

import functools
import math

import numpy as np
from problems import numpy

FUNCTIONS = {
    'tanh': (np.tanh, lambda h: 1 - h**2),
    'relu': (lambda a: np.maximum(a, 0), lambda h: (h > 0).astype(h.dtype)),
}  # s and, in terms of h, its slope


# ------------------------------------------------------------------ layers


@functools.cache
def wires(in_shape, numbers, net):
    """(inputs, outputs): the place in the flat kernel of what joins the two, -1 where none does.

    numbers are (kernel size, features, stride), padded as TensorFlow's SAME. None for a width: a
    dense kernel is its own matrix.
    """
    if isinstance(numbers, int):
        return None
    (size, features, stride), (height, width, channels) = numbers, in_shape
    rows, columns = -(-height // stride), -(-width // stride)
    above = max((rows - 1) * stride + size - height, 0) // 2
    left = max((columns - 1) * stride + size - width, 0) // 2
    joins = np.full((height, width, channels, rows, columns, features), -1)
    for row, column in np.ndindex(rows, columns):
        for down, right in np.ndindex(size, size):
            y, x = row * stride + down - above, column * stride + right - left
            if not (0 <= y < height and 0 <= x < width):
                continue
            for channel, feature in np.ndindex(channels, features):
                if net == 'lc':  # kernel[row, column, (channel, down, right), feature]
                    place = row * columns + column
                    entry = ((place * channels + channel) * size + down) * size + right
                else:  # kernel[down, right, channel, feature]
                    entry = (down * size + right) * channels + channel
                joins[y, x, channel, row, column, feature] = entry * features + feature
    return joins.reshape(height * width * channels, -1)


def wires_of(p, l):
    """Those of layer l of a problem."""
    if l == len(p.network.layers):
        return None
    return wires(p.network.layers[l - 1].in_shape, p.hidden[l - 1], p.net)


def matrix(p, l, kernel, np=np):
    """(inputs, outputs) of layer l's linear map with that kernel."""
    joins = wires_of(p, l)
    return kernel if joins is None else np.where(joins < 0, 0, kernel.reshape(-1)[joins])


def kernel_gradient(p, l, gradient):
    """What the gradient of the matrix of layer l is to its kernel."""
    joins, shape = wires_of(p, l), p.network.layers[l - 1].kernel_shape
    if joins is None:
        return gradient
    kernel = np.zeros(np.prod(shape))
    np.add.at(kernel, joins[joins >= 0], gradient[joins >= 0])
    return kernel.reshape(shape)


def units(bias, shape, np=np):
    """A bias for each of the units of a state of that shape: channels share that of a feature."""
    return np.broadcast_to(bias, shape).reshape(1, -1)


def bias_gradient(p, l, gradient):
    """What the gradient of every unit's bias is to the bias of layer l."""
    shape = p.network.layers[l - 1].bias_shape
    return gradient.reshape(-1, np.prod(shape)).sum(0).reshape(shape)


def flat(states):
    """Every array as (batch, units)."""
    return tuple(np.reshape(state, (len(state), -1)) for state in states)


# ------------------------------------------------------------------ rules


def softmax(a):
    exponential = np.exp(a - a.max(-1, keepdims=True))
    return exponential / exponential.sum(-1, keepdims=True)


def up(p, activation, l, x):
    """f_l(x)."""
    params, shape = numpy(p.weights['forward'])[l - 1], p.network.layers[l - 1].out_shape
    a = x @ matrix(p, l, params['kernel']) + units(params['bias'], shape)
    return a if l == len(p.network.layers) else FUNCTIONS[activation][0](a)


def states(p, activation):
    """h_0 .. h_L."""
    h = list(flat([numpy(p.batch['image'])]))
    for l in range(1, len(p.network.layers) + 1):
        h.append(up(p, activation, l, h[-1]))
    return h


def slopes(p, activation):
    """s'_1 .. s'_L."""
    *hidden, logits = states(p, activation)[1:]
    return [*(FUNCTIONS[activation][1](h) for h in hidden), np.ones_like(logits)]


def label(p):
    return np.eye(p.network.out_shape[0])[numpy(p.batch['label'])]


def output_error(p, activation):
    """softmax - onehot."""
    return softmax(states(p, activation)[-1]) - label(p)


def local_updates(p, deltas, activation):
    """dW_l = h_{l-1}^T (s'_l delta_l) / batch, db_l = its sum over the batch."""
    h, batch = states(p, activation), len(p.batch['label'])
    updates = []
    for l, (slope, delta) in enumerate(zip(slopes(p, activation), deltas, strict=True), start=1):
        error = slope * delta / batch
        updates.append({
            'kernel': kernel_gradient(p, l, h[l - 1].T @ error),
            'bias': bias_gradient(p, l, error.sum(0)),
        })  # fmt: skip
    return tuple(updates)


def chain_rule(p, activation, kernels, scale=1):
    """delta_1 .. delta_L by the chain rule, with these kernels for the way down."""
    slope, deltas = slopes(p, activation), [output_error(p, activation)]
    for l in range(len(p.network.layers), 1, -1):
        back = matrix(p, l, kernels[l - 1]).T
        deltas.insert(0, scale * (slope[l - 1] * deltas[0]) @ back)
    return tuple(deltas)


def written_out(p, name, activation, feedback=None, np=np):
    """(deltas, inverse loss) of a rule; the loss is None where it trains no feedback.

    Given the feedback weights as jax arrays and np=jax.numpy, the loss can be differentiated.
    """
    forward, fixed = numpy(p.weights['forward']), numpy(p.weights['fixed'])
    hparams = numpy(p.hparams)
    e, top_layer = output_error(p, activation), len(forward)
    if name == 'bp':
        return chain_rule(p, activation, [params['kernel'] for params in forward]), None
    if name == 'fa':
        return chain_rule(p, activation, fixed, hparams['feedback_scale']), None
    if name == 'dfa':
        return (*(hparams['feedback_scale'] * e @ b.T for b in fixed[:-1]), e), None

    v = feedback or numpy(p.weights['feedback'])
    s = {'tanh': np.tanh, 'relu': lambda a: np.maximum(a, 0)}[activation]

    def g(l, y):
        params, shape = v[l - 1], p.network.layers[l - 2].out_shape
        return s(y @ matrix(p, l, params['kernel'], np).T + units(params['bias'], shape, np))

    def top(output, h):
        if name != 'ao_sdtp':
            return output
        return np.concatenate([output, np.tanh(h @ fixed)], axis=-1)

    h = states(p, activation)
    o, below, t = softmax(h[-1]), h[-2], {}
    if name == 'dtp':
        gradient = e @ forward[-1]['kernel'].T
        t[top_layer - 1] = below - hparams['alpha'] * gradient
    else:
        goal, found = g(top_layer, top(label(p), below)), g(top_layer, top(o, below))
        t[top_layer - 1] = below + goal - found
    for l in range(top_layer - 2, 0, -1):
        t[l] = h[l] + g(l + 1, t[l + 1]) - g(l + 1, h[l + 1])
    # the gradient with respect to h_l of scale ||h_l - t_l||^2
    deltas = [2 * hparams['scale'] * (h[l] - t[l]) for l in range(1, top_layer)]

    loss = 0.0
    for l in range(2, top_layer if name == 'dtp' else top_layer + 1):
        (noise,) = flat([numpy(p.noise(l, p.states[l - 1]))])
        noisy = h[l - 1] + hparams['sigma'] * noise
        image = up(p, activation, l, noisy)
        image = top(softmax(image), noisy) if l == top_layer else image
        goal = noisy if name == 'dtp' else h[l - 1]
        loss += hparams['inverse_scale'] * ((g(l, image) - goal) ** 2).sum() / len(noisy)
    return (*deltas, e), loss


def linear_product(layer, batch):
    """(places, rows, inner, columns) of the product of matrices that a layer is.

    A locally connected layer has its own matrix at every place; a convolution has one, over the
    rows of all places, and a dense layer one over the batch.
    """
    *places, columns = layer.bias_shape
    inner = math.prod(layer.kernel_shape) // math.prod(layer.bias_shape)
    rows = batch * math.prod(layer.out_shape) // math.prod(layer.bias_shape)
    return math.prod(places), rows, inner, columns
