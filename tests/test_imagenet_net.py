"""The full ImageNet net of table 3: one step of every rule, and the memory that it takes."""

import functools
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import WAYS

from bioprop import feedforward, rules
from bioprop.losses import softmax_cross_entropy
from bioprop.records.checkpoint import Checkpoints
from bioprop.settings import published
from bioprop.training import optim
from bioprop.training.learner import Learner, init_state
from bioprop.training.step import train_step

BATCH, LIMIT = 2, 24  # LIMIT in GiB
LEARNING_RATE = 1e-4
HPARAMS = {
    'scale': 1.0, 'inverse_scale': 1.0, 'sigma': 0.1, 'alpha': 0.1, 'feedback_scale': 1.0
}  # fmt: skip


def one_step(name):
    """Prints what one step of a rule does to the net, and what it costs, as JSON."""

    def adam(hparams):
        return optim.optimizer('adam', LEARNING_RATE)

    started = time.perf_counter()
    hidden = published.hidden_layers('imagenet', 'lc')
    network, rule = feedforward((224, 224, 3), hidden, 1000, net='lc'), rules.get(name)
    learner = Learner(network, rule, softmax_cross_entropy, dict.fromkeys(rule.sides, adam))
    key = jax.random.key(0)
    state = jax.jit(functools.partial(init_state, learner))(key, HPARAMS)
    jax.block_until_ready(state)
    initialised = time.perf_counter()
    parameters = {
        side: sum(leaf.size for leaf in jax.tree.leaves(tree))
        for side, tree in state.weights.items()
    }

    random = np.random.default_rng(0)
    batch = {
        'image': jnp.asarray(random.normal(size=(BATCH, 224, 224, 3)), jnp.float32),
        'label': jnp.asarray(random.integers(1000, size=BATCH), jnp.int32),
        'index': jnp.arange(BATCH),
    }
    run = jax.jit(functools.partial(train_step, learner, (rule.sides,)), donate_argnums=0)
    run = run.lower(state, batch, HPARAMS).compile()
    compiled = time.perf_counter()
    state, metrics = jax.block_until_ready(run(state, batch, HPARAMS))
    stepped = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # before the check below

    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder))
        checkpoints.save(1, state)
        checkpoints.wait()
        _, restored = checkpoints.restore_latest(state)
        checkpoints.close()
    alike = jax.tree.map(_equal, state, restored)
    del restored

    # The initial weights are drawn again, layer by layer, to see what share of them has changed.
    key_forward = jax.random.fold_in(jax.random.fold_in(key, 0), 0)
    moved = []
    for index, layer in enumerate(network.layers):
        drawn = layer.init(jax.random.fold_in(key_forward, index))
        now = state.weights['forward'][index]
        moved.append({kind: float(jnp.mean(now[kind] != drawn[kind])) for kind in drawn})
    report = {
        'parameters': parameters,
        'metrics': {kind: float(value) for kind, value in metrics.items()},
        'moved': moved,
        'restored': all(jax.tree.leaves(alike)),
        'peak_gib': peak,
        'seconds': {
            'init': initialised - started,
            'compile': compiled - initialised,
            'step': stepped - compiled,
        },
    }
    print(json.dumps(report))


def _equal(x, y):
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x, y = jax.random.key_data(x), jax.random.key_data(y)
    return bool((x == y).all())


def share_inside(side, size, stride):
    """Of the taps of a square kernel over all its places, those that lie on the image."""
    places = -(-side // stride)
    below = max((places - 1) * stride + size - side, 0) // 2
    inside = sum(
        0 <= place * stride + tap - below < side for place in range(places) for tap in range(size)
    )
    return (inside / (places * size)) ** 2


@pytest.mark.slow
@pytest.mark.parametrize('name', WAYS)
def test_one_step_on_the_imagenet_net_fits_into_memory(name):
    """Every weight moves whose input is not padding. Donates the state, as training does."""
    done = subprocess.run(
        [sys.executable, '-c', f'import test_imagenet_net as t; t.one_step({name!r})'],
        cwd=Path(__file__).parent, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    print(name, report)
    assert report['peak_gib'] < LIMIT, report
    assert report['restored'], report
    assert all(math.isfinite(value) for value in report['metrics'].values()), report
    kernels = [(224, 9, 4), (56, 3, 2), (28, 5, 1), (28, 3, 2), (14, 3, 1), (14, 3, 2), (7, 3, 1)]
    for moved, kernel in zip(report['moved'][:-1], kernels, strict=True):
        np.testing.assert_allclose(moved['kernel'], share_inside(*kernel), rtol=1e-3)
        assert moved['bias'] > 0.99, report
    assert min(report['moved'][-1].values()) > 0.99, report
