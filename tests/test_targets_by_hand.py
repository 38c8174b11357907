"""Four rules of targets written out in NumPy from their equations, at equal weights and noise.

On 12-7-6-5-4, tanh and linear at the top; kernels are (inputs, units), V_l of W_l's shape.
"""

import functools

import numpy as np
import pytest
from problems import numpy, problem

from bioprop import rules

pytestmark = pytest.mark.usefixtures('quick')
close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)
SIGMA, ALPHA = 0.3, 0.2
LAYERS = (1, 2, 3, 4)


class Hand:
    """The numbers of a problem, and a layer's function."""

    def __init__(self, p):
        self.w = [None, *numpy(p.weights['forward'])]
        self.v = [None, *numpy(p.weights['feedback'])] if p.weights['feedback'] else None
        self.fixed = [None, *numpy(p.weights['fixed'])] if p.weights['fixed'] else None
        self.label, self.size = np.asarray(p.batch['label']), len(p.batch['label'])
        self.h = [np.asarray(p.batch['image']).reshape(self.size, -1)]
        for l in LAYERS:
            self.h.append(self.up(l, self.h[-1]))
        odds = np.exp(self.h[4]) / np.exp(self.h[4]).sum(axis=1, keepdims=True)
        self.error = odds - np.eye(4)[self.label]

    def up(self, l, x):
        a = x @ self.w[l]['kernel'] + self.w[l]['bias']
        return a if l == 4 else np.tanh(a)

    def to_the_top(self, l, h):
        for k in range(l + 1, 5):
            h = self.up(k, h)
        return h

    def kernel_updates(self, deltas):
        """From d_1, ..., d_L: the slope times d, times what comes in."""
        slopes = [1 - h**2 for h in self.h[1:4]] + [1]
        triples = zip(self.h[:-1], slopes, deltas, strict=True)
        return [x.T @ (slope * delta) / self.size for x, slope, delta in triples]


def made(rule):
    p = problem(rule).with_hparams(sigma=SIGMA, alpha=ALPHA, feedback_scale=0.8)
    updates = numpy(p.updates())
    return p, Hand(p), [each['kernel'] for each in updates['forward']], updates['feedback']


def test_ddtp_linear(x64):
    p, hand, forward, feedback = made('ddtp_linear')
    deltas = [hand.error @ hand.v[l]['kernel'].T for l in (1, 2, 3)]
    for found, expected in zip(forward, hand.kernel_updates([*deltas, hand.error]), strict=True):
        close(found, expected)
    for l in (1, 2, 3):
        noise, v = np.asarray(p.noise(l, p.states[l])), hand.v[l]['kernel']
        moved = (hand.to_the_top(l, hand.h[l] + SIGMA * noise) - hand.h[4]) / SIGMA
        miss = moved @ v.T - noise
        close(feedback[l - 1]['kernel'], 2 * miss.T @ moved / miss.size)


def test_dtp_drl(x64):
    p, hand, forward, feedback = made('dtp_drl')

    def g(l, y):
        return np.tanh(y @ hand.v[l]['kernel'].T + hand.v[l]['bias'])

    target, deltas = hand.h[4] - ALPHA * hand.error, [hand.error]
    for l in (4, 3, 2):
        target = hand.h[l - 1] + g(l, target) - g(l, hand.h[l])
        deltas.append((hand.h[l - 1] - target) / ALPHA)
    for found, expected in zip(forward, hand.kernel_updates(deltas[::-1]), strict=True):
        close(found, expected)
    for l in (2, 3, 4):
        noise = np.asarray(p.noise(l - 1, p.states[l - 1]))
        r = hand.to_the_top(l - 1, hand.h[l - 1] + SIGMA * noise)
        for k in range(4, l, -1):
            r = hand.h[k - 1] + g(k, r) - g(k, hand.h[k])
        there, here = g(l, r), g(l, hand.h[l])
        miss = 2 * ((there - here) / SIGMA - noise) / SIGMA / noise.size
        inner = miss * (1 - there**2), -miss * (1 - here**2)
        close(feedback[l - 1]['kernel'], inner[0].T @ r + inner[1].T @ hand.h[l])
        close(feedback[l - 1]['bias'], (inner[0] + inner[1]).sum(axis=0))


@pytest.mark.parametrize('samples', [1, 2])
def test_l_drl(samples, x64):
    p, hand, forward, feedback = made(rules.l_drl(samples=samples))

    def s(l, y):
        return y if l == 4 else np.tanh(y)

    target, deltas = hand.h[4] - ALPHA * hand.error, [hand.error]
    for l in (4, 3, 2):
        moved = (s(l, target) - s(l, hand.h[l])) @ hand.v[l]['kernel'].T
        target = hand.h[l - 1] + moved
        deltas.append(-moved / ALPHA)
    for found, expected in zip(forward, hand.kernel_updates(deltas[::-1]), strict=True):
        close(found, expected)
    for l in (2, 3, 4):
        v, total = hand.v[l]['kernel'], 0
        for sample in range(samples):
            below = np.asarray(p.signs(5 * sample + l - 1, p.states[l - 1]))
            above = np.asarray(p.signs(5 * sample + l, p.states[l]))
            up = s(l, hand.up(l, hand.h[l - 1] + SIGMA * below)) - s(l, hand.h[l])
            out = s(l, hand.h[l] + SIGMA * above) - s(l, hand.h[l])
            total += 2 * (v @ out.T @ out / SIGMA**2 - below.T @ up / SIGMA) / hand.size
        close(feedback[l - 1]['kernel'], total / samples)
        close(feedback[l - 1]['bias'], 0)


def test_fw_dtp(x64):
    _, hand, forward, feedback = made('fw_dtp')
    assert feedback == ()
    target, deltas = hand.h[4] - ALPHA * hand.error, [hand.error]
    for l in (4, 3, 2):
        b = 0.8 * hand.fixed[l]['kernel'].T, hand.fixed[l]['bias']
        moved = np.tanh(target @ b[0] + b[1]) - np.tanh(hand.h[l] @ b[0] + b[1])
        target = hand.h[l - 1] + moved
        deltas.append(-moved / ALPHA)
    for found, expected in zip(forward, hand.kernel_updates(deltas[::-1]), strict=True):
        close(found, expected)
