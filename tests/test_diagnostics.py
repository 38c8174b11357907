"""Diagnostics against closed forms and computations of another kind."""

import functools
import itertools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from by_hand import FUNCTIONS, kernel_gradient, output_error, slopes, written_out
from by_hand import states as states_by_hand
from learners import make_hparams, make_images, make_learner, random_state, replicas
from problems import (
    BATCH,
    CLASSES,
    IN_SHAPE,
    LAYERS,
    PAPERS,
    feedforward,
    full,
    measure,
    numpy,
    problem,
)

from bioprop import diagnostics, losses, networks, rules
from bioprop.diagnostics import DIAGNOSTICS, Probe
from bioprop.diagnostics.alignment import jacobian
from bioprop.diagnostics.comparison import compare, together
from bioprop.diagnostics.descent import descent
from bioprop.diagnostics.diversity import effective_rank, off_class_means
from bioprop.diagnostics.gauss_newton import gauss_newton, target_displacement, weight_update
from bioprop.errors import UserError
from bioprop.running import run
from bioprop.running.report import diagnostics_records
from bioprop.settings import paper
from bioprop.settings.resolve import resolve
from bioprop.training.diagnosis import diagnose, diagnose_part
from bioprop.training.learner import Diagnosis, init_state
from bioprop.training.passes import train_steps
from bioprop.training.schedules import BOTH, FORWARD
from bioprop.training.step import train_step

pytestmark = pytest.mark.usefixtures('quick')
RULES = PAPERS
LOCAL = ((2, 2, 2), (2, 2, 1), 3)
NETS = {'fc': {}, 'lc': {'hidden': LOCAL, 'net': 'lc'}, 'conv': {'hidden': LOCAL, 'net': 'conv'}}
each_rule = pytest.mark.parametrize('name', RULES)
each_net = pytest.mark.parametrize('net', NETS)
close = functools.partial(np.testing.assert_allclose, rtol=1e-8, atol=1e-9)


def probe_of(p):
    return Probe(p.network, p.rule, p.loss, *p.arguments)


def degrees(u, v):
    """The angle between two vectors, by its definition."""
    u, v = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(each)]) for each in (u, v))
    return np.degrees(np.arccos(np.clip(u @ v / np.linalg.norm(u) / np.linalg.norm(v), -1, 1)))


def length(tree):
    return math.sqrt(sum((np.asarray(x) ** 2).sum() for x in jax.tree.leaves(tree)))


def alone(p, example):
    """The problem with one of its examples."""
    return p._replace(batch=jax.tree.map(lambda x: x[example : example + 1], p.batch))


def assert_spread(found, name, values):
    close(found[name], np.mean(values))
    close(found[f'{name}/spread'], np.std(values))


# ------------------------------------------------------------------ angles


def test_angles_of_vectors_that_are_known():
    u = jnp.array([[1.0, 0], [1, 0], [1, 0], [1, 1], [0, 0], [1e-30, 0]])
    v = jnp.array([[5.0, 0], [0, 2], [-3, 0], [0, 2], [1, 1], [1e-30, 1e-30]])
    close(compare(u, v).angle, [0, 90, 180, 45, 90, 45], rtol=1e-5)


def test_a_small_angle_is_right_in_float32():
    u, v = jnp.array([[1.0, 0]]), jnp.array([[1.0, 1e-4]])
    close(compare(u, v).angle, np.degrees(1e-4), rtol=1e-4)


def test_an_angle_over_several_arrays_is_that_of_all_entries(x64):
    u, v = np.random.default_rng(0).normal(size=(2, 3, 20))
    parts = [[jnp.asarray(x[:, :6]), jnp.asarray(x[:, 6:]).reshape(3, 7, 2)] for x in (u, v)]
    found = together(compare(*pair) for pair in zip(*parts, strict=True))
    close(found.angle, [degrees(*pair) for pair in zip(u, v, strict=True)])


# ------------------------------------------------------------------ updates and signals


@each_net
def test_bp_is_at_no_angle_to_itself(net):
    found = measure(problem('bp', **NETS[net]), 'update', 'examples', 'signal')
    angles = {name: value for name, value in found.items() if 'angle' in name}
    ratios = {name: value for name, value in found.items() if 'ratio' in name}
    assert len(angles) == 2 * LAYERS + 3 + 2 * (2 * LAYERS + 3) + 2 * (LAYERS + 1)
    assert set(angles.values()) == {0}
    close(list(ratios.values()), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ('name', 'net'), [*((name, 'fc') for name in RULES), ('dfa', 'lc'), ('sdtp', 'conv')]
)
def test_the_update_against_jax_grad(name, net, x64):
    p = problem(name, **NETS[net])
    found, ours, bp = measure(p, 'update'), p.updates()['forward'], p.bp_updates()
    for l, kind in itertools.product(range(1, LAYERS + 1), ('kernel', 'bias')):
        pair = ours[l - 1][kind], bp[l - 1][kind]
        close(found[f'update_angle/{kind}/layer_{l}'], degrees(*pair), atol=1e-5)
        close(found[f'update_ratio/{kind}/layer_{l}'], length(pair[0]) / length(pair[1]))
    close(found['update_angle/total'], degrees(ours, bp), atol=1e-5)
    close(found['update_ratio/total'], length(ours) / length(bp))


@pytest.mark.parametrize(('name', 'net'), [('ao_sdtp', 'fc'), ('fa', 'lc'), ('dtp', 'conv')])
def test_the_updates_of_examples_are_those_of_batches_of_one(name, net, x64):
    p = problem(name, **NETS[net])
    found = measure(p, 'examples')
    pairs = [(q.updates()['forward'], q.bp_updates()) for q in (alone(p, i) for i in range(BATCH))]
    for l, kind in itertools.product(range(1, LAYERS + 1), ('kernel', 'bias')):
        angles = [degrees(ours[l - 1][kind], bp[l - 1][kind]) for ours, bp in pairs]
        close(found[f'example_angle/{kind}/layer_{l}'], np.mean(angles), atol=1e-5)
        close(found[f'example_angle/{kind}/layer_{l}/spread'], np.std(angles), atol=1e-5)
    close(found['example_angle/total'], np.mean([degrees(*pair) for pair in pairs]), atol=1e-5)


@each_rule
def test_signals_against_the_gradient_with_respect_to_activities(name, x64):
    p = problem(name)
    found = measure(p, 'signal')

    def loss(shifts):
        h, total = p.batch['image'], 0.0
        layers = zip(p.network.layers, p.weights['forward'], shifts, strict=True)
        for layer, params, shift in layers:
            h = layer.apply(params, h) + shift
        total += jnp.sum(p.loss.value(h, p.batch['label']))
        return total

    gradients = numpy(jax.grad(loss)(tuple(map(jnp.zeros_like, p.states[1:]))))
    for l, pair in enumerate(zip(numpy(p.deltas()), gradients, strict=True), start=1):
        angles = [degrees(*each) for each in zip(*pair, strict=True)]
        close(found[f'signal_angle/layer_{l}'], np.mean(angles), atol=1e-5)
        close(found[f'signal_angle/layer_{l}/spread'], np.std(angles), atol=1e-5)
        close(found[f'signal_ratio/layer_{l}'], length(pair[0]) / length(pair[1]))
    assert found[f'signal_angle/layer_{LAYERS}'] < 1e-6  # the top layer's is exact in every rule


def test_an_update_of_its_own_is_what_is_measured(x64):
    p = problem('bp')
    bp = p.rule

    def updates(network, weights, states, context):
        half = jax.tree.map(lambda x: -x / 2, p.bp_updates())
        return {'forward': half, 'feedback': ()}

    found = measure(p._replace(rule=bp._replace(signals=None, updates=updates)), *DIAGNOSTICS)
    close(found['update_angle/total'], 180)
    close(found['update_ratio/total'], 0.5)
    assert not any(name.startswith(('signal', 'example', 'displacement')) for name in found)


@pytest.mark.parametrize('name', ['fa', full('dfa')])
def test_random_feedback_starts_at_a_right_angle_on_a_wide_net_and_aligns(name):
    """In training on real digits; the top layer's update is the gradient throughout."""
    config = resolve(
        paper('mnist', name, 'dataset=mnist_mini,hidden=(500,500),epochs=4,lr=1e-3,'
              'diagnostics=update,diagnostics_every=1000')
    )  # fmt: skip
    made = run.make_run(config)
    state = init_state(made.learner, jax.random.key(0), made.hparams)
    train = jax.jit(functools.partial(
        train_steps, made.learner, made.passes[0], made.batch_size, made.steps_per_pass
    ))  # fmt: skip
    found = []
    for _ in range(config['epochs']):
        state, metrics = train(state, made.parts['train'], made.hparams)
        found.append({name: x[0] for name, x in metrics['measured'].items()})
    for l in (1, 2):
        angles = [numbers[f'update_angle/kernel/layer_{l}'] for numbers in found]
        assert abs(angles[0] - 90) < 5
        assert angles[-1] < 80
    for numbers in found:
        assert numbers['update_angle/kernel/layer_3'] < 0.1


# ------------------------------------------------------------------ Gauss-Newton


def square_net(width=5, hidden=3, orthogonal=False, seed=0):
    """A linear net whose layers can be inverted, and its exact inverses."""
    network = networks.feedforward((width,), (width,) * hidden, CLASSES, 'linear')
    kernels = np.random.default_rng(seed).normal(size=(hidden, width, width))
    kernels = np.linalg.qr(kernels)[0] if orthogonal else kernels + 2 * np.eye(width)

    def exact(network, weights, l, y):
        params = weights['forward'][l - 1]
        return (y - jnp.broadcast_to(params['bias'], y.shape)) @ jnp.linalg.inv(params['kernel'])

    return network, kernels, exact


def on_square_net(name, orthogonal=False, **options):
    network, kernels, exact = square_net(orthogonal=orthogonal)
    rule = rules.get(name, **({'inverse': exact} if name == 'dtp' else {}), **options)
    p = problem(rule, network=network, size=1)
    forward = tuple(
        params | {'kernel': jnp.asarray(kernel)}
        for params, kernel in zip(p.weights['forward'], kernels, strict=False)
    )
    return p._replace(weights=p.weights | {'forward': (*forward, p.weights['forward'][-1])})


def test_exact_inverses_give_the_gauss_newton_targets(x64):
    p = on_square_net('dtp')
    probe = probe_of(p)
    found = gauss_newton(probe, damping=1e-12)
    for l in (1, 2):
        assert found[f'gauss_newton_target_angle/layer_{l}'] < 1e-5
        target = target_displacement(probe, l, 1e-12, small=10**6)
        close(target, probe.displacements[l - 1], rtol=1e-6)
    assert found.keys() & {'gauss_newton_target_angle/layer_3'} == set()


@pytest.mark.parametrize('orthogonal', [True, False])
def test_on_an_orthogonal_net_the_gauss_newton_target_is_the_gradient(orthogonal, x64):
    found = gauss_newton(probe_of(on_square_net('bp', orthogonal)), damping=1e-12)
    for l in (1, 2):
        assert (found[f'gauss_newton_target_angle/layer_{l}'] < 1e-5) == orthogonal


def test_exact_inverses_reconstruct_and_have_the_inverse_jacobian(x64):
    p = on_square_net('dtp')
    found = measure(p, 'reconstruction')
    assert len(found) == 2 * 2 * 3
    assert max(found.values()) < 1e-20
    on_orthogonal = jacobian(probe_of(on_square_net('dtp', orthogonal=True)))
    assert on_orthogonal['jacobian_angle/total'] < 1e-5  # the inverse is the transpose
    close(on_orthogonal['jacobian_ratio/total'], 1)
    assert jacobian(probe_of(p))['jacobian_angle/total'] > 1


@pytest.mark.parametrize(
    ('net', 'small'),
    [full('fc', 10**6), ('fc', 0), pytest.param('lc', 0, marks=pytest.mark.slow)],
    ids=['fc, exact', 'fc, conjugate gradients', 'lc, conjugate gradients'],
)  # fmt: skip
def test_the_gauss_newton_update_from_explicit_jacobians(net, small, x64):
    p = problem('dtp', **NETS[net], size=3)

    def logits(forward):
        return p.network.states(forward, p.batch['image'])[-1]

    forward, label = p.weights['forward'], p.batch['label']
    flat, as_tree = jax.flatten_util.ravel_pytree(forward)
    jacobian = np.asarray(jax.jacrev(lambda x: logits(as_tree(x)))(flat))  # (3, classes, weights)
    hessians = np.asarray(jax.vmap(jax.hessian(p.loss.value))(logits(forward), label))
    matrix = np.einsum('nap,nab,nbq->pq', jacobian, hessians, jacobian) / 3
    gradient = np.concatenate([np.ravel(x) for x in jax.tree.leaves(p.bp_updates())])
    damping = 0.1
    expected = np.linalg.solve(matrix + damping * np.eye(len(flat)), gradient)
    got = weight_update(probe_of(p), damping, small)
    got = np.concatenate([np.ravel(x) for x in jax.tree.leaves(got)])
    close(got, expected, rtol=1e-4, atol=1e-5 * abs(expected).max())
    found = gauss_newton(probe_of(p), damping, small_weights=small)
    ours = np.concatenate([np.ravel(x) for x in jax.tree.leaves(p.updates()['forward'])])
    close(found['gauss_newton_angle/total'], degrees(ours, expected), atol=1e-3)


@pytest.mark.parametrize(
    ('net', 'small'), [('fc', 10**6), ('fc', 0), full('lc', 0)],
    ids=['fc, exact', 'fc, conjugate gradients', 'lc, conjugate gradients'],
)  # fmt: skip
def test_gauss_newton_targets_from_explicit_jacobians(net, small, x64):
    p, damping = problem('sdtp', **NETS[net], size=2), 0.03
    probe = probe_of(p)
    for l, example in itertools.product((1, 2), range(2)):
        h = p.states[l][example]

        def up(h, l=l):
            for layer, params in zip(
                p.network.layers[l:-1], p.weights['forward'][l:-1], strict=True
            ):
                h = layer.apply(params, h.reshape(1, *layer.in_shape))
            return h.ravel()

        j = np.asarray(jax.jacrev(up)(h)).reshape(-1, h.size)
        top = np.ravel(probe.displacements[-1][example])
        expected = np.linalg.solve(j.T @ j + damping * np.eye(h.size), j.T @ top)
        got = target_displacement(probe, l, damping, small)[example]
        close(np.ravel(got), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('name', sorted(losses.LOSSES))
def test_the_curvature_of_a_loss(name, x64):
    """Of the softmax the Hessian; of a squared error 2 J^T J, J the Jacobian of its outputs."""
    loss, random = losses.LOSSES[name], np.random.default_rng(0)
    logits, v = jnp.asarray(random.normal(size=(2, 3, CLASSES)))
    label = jnp.arange(3) if loss.mistake else jnp.asarray(random.uniform(size=(3, CLASSES)))
    for place in range(3):
        if loss.mistake:
            matrix = jax.hessian(loss.value)(logits[place], label[place])
        else:
            j = jax.jacobian(loss.output)(logits[place])
            matrix = 2 * j.T @ j
        close(loss.curvature(logits, label, v)[place], matrix @ v[place])


# ------------------------------------------------------------------ inverses and feedback


@pytest.mark.parametrize('name', ['dtp', 'sdtp', 'ao_sdtp'])
def test_reconstruction_is_the_distance_that_the_rule_trains(name, x64):
    """The noise-preserving inverse loss of DTP is the sum over layers of the noisy one."""
    p = problem(name).with_hparams(inverse_scale=1)
    found = measure(p, 'reconstruction')
    layers = range(2, LAYERS + (name != 'dtp'))
    assert {key.split('/')[2] for key in found} == {f'layer_{l}' for l in layers} | {'total'}
    for kind, sigma in (('clean', 0.0), ('noisy', 0.2)):
        q = p.with_hparams(sigma=sigma)
        inputs = [np.asarray(q.states[l - 1]) for l in layers]
        if sigma:
            noise = [np.asarray(q.noise(l, q.states[l - 1])) for l in layers]
            inputs = [x + sigma * e for x, e in zip(inputs, noise, strict=True)]
        sizes = [(x.reshape(BATCH, -1) ** 2).sum(1) for x in inputs]
        misses = [found[f'reconstruction/{kind}/layer_{l}'] for l in layers]
        assert min(misses) > 0
        if name == 'dtp':
            _, loss = written_out(q, name, 'tanh')
            # The mean over examples of each share times its size, here one example at a time.
            each = [measure(alone(q, i), 'reconstruction') for i in range(BATCH)]
            total = sum(
                each[i][f'reconstruction/{kind}/layer_{l}'] * size[i]
                for l, size in zip(layers, sizes, strict=True)
                for i in range(BATCH)
            )
            close(total / BATCH, loss)
            shares = [each[i][f'reconstruction/{kind}/layer_2'] for i in range(BATCH)]
            assert_spread(found, f'reconstruction/{kind}/layer_2', shares)


def test_alignment_of_feedback_that_is_known(x64):
    p = problem('fa')
    kernels = [params['kernel'] for params in p.weights['forward']]
    for factor, expected in ((2.0, 0), (-0.5, 180)):
        fixed = (None, *(factor * kernel for kernel in kernels[1:]))
        found = measure(p._replace(weights=p.weights | {'fixed': fixed}), 'alignment')
        assert len(found) == 2 * (LAYERS - 1 + 1)
        for place in ('layer_2', 'layer_4', 'total'):
            close(found[f'alignment_angle/{place}'], expected, atol=1e-5)
            close(found[f'alignment_ratio/{place}'], abs(factor))


@pytest.mark.parametrize('name', ['dtp', 'ao_sdtp'])
def test_alignment_of_inverses_is_that_of_v_with_w(name, x64):
    p = problem(name)
    found = measure(p, 'alignment')
    layers = range(2, LAYERS + (name != 'dtp'))
    for l in layers:
        v = np.asarray(p.weights['feedback'][l - 1]['kernel'])[..., : (7, 6, 5, CLASSES)[l - 1]]
        w = np.asarray(p.weights['forward'][l - 1]['kernel'])
        close(found[f'alignment_angle/layer_{l}'], degrees(v, w))
        close(found[f'alignment_ratio/layer_{l}'], length(v) / length(w))
    assert (f'alignment_angle/layer_{LAYERS}' in found) == (name != 'dtp')


@each_net
def test_what_kernels_align_with_under_dfa(net, x64):
    p = problem('dfa', **NETS[net])
    paths = [*map(np.asarray, p.weights['fixed'][:-1]), np.eye(CLASSES)]
    kernels = p.rule.feedback_kernels(p.network, p.weights)
    assert kernels[0] is None
    for l, (below, above) in enumerate(itertools.pairwise(paths), start=2):
        close(kernels[l - 1], kernel_gradient(p, l, below @ above.T))


@pytest.mark.parametrize('net', ['fc', 'lc'])
def test_jacobians_through_random_directions(net, x64):
    """Against whole Jacobians: with many directions the estimate comes close."""
    p = problem('dtp', **NETS[net], size=2)
    probe, angles, lengths = probe_of(p), [], []
    found = jacobian(probe, directions=3000)
    for example in range(2):
        x, h = (p.states[l][example] for l in (1, 2))
        layer, params = p.network.layers[1], p.weights['forward'][1]

        def up(x, layer=layer, params=params):
            return layer.apply(params, x[None])[0]

        def back(h):
            return p.rule.inverse(p.network, p.weights, probe.context, 2, None, h[None])[0]

        pair = [
            np.asarray(jax.jacrev(back)(h)).reshape(x.size, h.size),
            np.asarray(jax.jacrev(up)(x)).reshape(h.size, x.size).T,
        ]
        angles.append(degrees(*pair))
        lengths.append([length(each) ** 2 for each in pair])
    close(found['jacobian_angle/layer_2'], np.mean(angles), atol=3)
    ratio = np.sqrt(np.divide(*np.sum(lengths, axis=0)))
    close(found['jacobian_ratio/layer_2'], ratio, rtol=0.05)


# ------------------------------------------------------------------ targets and units


def test_effective_ranks_that_are_known(x64):
    random = np.random.default_rng(0)
    basis = np.linalg.qr(random.normal(size=(6, 6)))[0]
    for n in (1, 2, 5):
        rows = np.repeat(basis[:n], 3, axis=0)  # n directions, three times each
        close(effective_rank(jnp.asarray(7 * rows)), n)
    values = np.array([3.0, 2, 1])
    matrix = np.linalg.qr(random.normal(size=(9, 3)))[0] * values @ basis[:3]
    close(effective_rank(jnp.asarray(matrix)), (values**2).sum() ** 2 / (values**4).sum())
    assert effective_rank(jnp.zeros((3, 4))) == 0


def test_targets_within_classes(x64):
    p = problem('sdtp', size=20)
    found, label = measure(p, 'diversity'), np.asarray(p.batch['label'])
    deltas, _ = written_out(p, 'sdtp', 'tanh')
    h = np.asarray(p.states[-2])
    targets = h - deltas[-2] / (2 * float(p.hparams['scale']))
    for name, x in (('target', targets), ('state', h)):
        within = np.array([row - x[label == c].mean(0) for row, c in zip(x, label, strict=True)])
        close(off_class_means(jnp.asarray(x), jnp.asarray(label), CLASSES), within)
        s = np.linalg.svd(within, compute_uv=False)
        close(found[f'{name}_rank'], (s**2).sum() ** 2 / (s**4).sum())
        close(found[f'{name}_within'], (within**2).sum() / ((x - x.mean(0)) ** 2).sum())
    for l in (1, 2, 3):
        s = np.linalg.svd(deltas[l - 1], compute_uv=False)
        close(found[f'displacement_rank/layer_{l}'], (s**2).sum() ** 2 / (s**4).sum())


@pytest.mark.parametrize('activation', sorted(FUNCTIONS))
def test_saturated_units_are_counted(activation, x64):
    p = problem('bp', activation)
    forward = jax.tree.map(lambda w: 4 * w, p.weights['forward'])
    p = p._replace(weights=p.weights | {'forward': forward})
    found = measure(p, 'saturation')
    flat = [slope < 0.1 for slope in slopes(p, activation)[:-1]]
    for l, each in enumerate(flat, start=1):
        assert 0 < each.mean() < 1
        assert_spread(found, f'saturation/layer_{l}', each.mean(1))
    assert_spread(found, 'saturation/total', np.concatenate(flat, axis=1).mean(1))


# ------------------------------------------------------------------ descent


@each_rule
def test_what_a_step_removes_of_the_losses(name, x64):
    p, size = problem(name), 0.01
    found = numpy(descent(probe_of(p), size))
    forward, updates = (numpy(each) for each in (p.weights['forward'], p.updates()['forward']))
    rates = [size * length(w) / length(u) for w, u in zip(forward, updates, strict=True)]
    stepped = [
        {kind: w[kind] - rate * u[kind] for kind in w}
        for w, u, rate in zip(forward, updates, rates, strict=True)
    ]

    def loss(weights):
        q = p._replace(weights=p.weights | {'forward': tuple(weights)})
        return np.mean(p.loss.value(jnp.asarray(states_by_hand(q, 'tanh')[-1]), p.batch['label']))

    before = loss(forward)
    close(found['descent_global/total'], 1 - loss(stepped) / before)
    scale = 2 * float(p.hparams['scale']) if 'tp' in name else 1
    for l in range(1, LAYERS + 1):
        one = [*forward[: l - 1], stepped[l - 1], *forward[l:]]
        close(found[f'descent_global/layer_{l}'], 1 - loss(one) / before)
        if l < LAYERS:
            displacement = np.asarray(p.deltas()[l - 1]) / scale
            q = p._replace(weights=p.weights | {'forward': tuple(one)})
            target = states_by_hand(p, 'tanh')[l] - displacement
            left = ((states_by_hand(q, 'tanh')[l] - target) ** 2).sum()
            close(found[f'descent_local/layer_{l}'], 1 - left / (displacement**2).sum())
    last = f'layer_{LAYERS}'
    assert found[f'descent_local/{last}'] == found[f'descent_global/{last}']


def test_a_small_step_along_the_gradient_descends(x64):
    found = descent(probe_of(problem('bp')), 1e-4)
    assert all(value > 0 for value in found.values())
    assert output_error(problem('bp'), 'tanh').any()


# ------------------------------------------------------------------ devices


@pytest.mark.parametrize('name', ['dfa', full('ao_sdtp')])
def test_shares_of_a_batch_measure_the_whole(name, x64):
    """Devices are emulated by vmap with an axis name; each has three of twelve examples."""
    p = problem(name, size=12, hidden=(4, 3))
    whole = measure(p, *DIAGNOSTICS)

    def share(batch):
        arguments = (p.weights, batch, p.key, p.hparams, 'devices')
        return diagnostics.measure(tuple(DIAGNOSTICS), p.network, p.rule, p.loss, *arguments)

    shares = jax.tree.map(lambda x: x.reshape(4, 3, *x.shape[1:]), p.batch)
    found = jax.jit(jax.vmap(share, axis_name='devices'))(shares)
    assert found.keys() == whole.keys()
    for key, value in whole.items():
        close(found[key], np.full(4, value), rtol=1e-6, atol=1e-6, err_msg=key)


@pytest.mark.parametrize('mode', ['shard_map', full('pmap')])
def test_four_devices_measure_in_training_what_one_does(mode, x64):
    learner = make_learner('dtp')._replace(diagnosis=Diagnosis(('signal', 'diversity'), 2))
    images, hparams, state = make_images(36), make_hparams(), random_state(learner)

    def train(devices):
        team = replicas(devices, mode)
        state_, parts, values = team.place((state._replace(step=state.step * 0), images, hparams))
        function = functools.partial(train_steps, learner, (BOTH,), 12, 3)
        return numpy(team.spread(function, (state_, parts, values))(state_, parts, values)[1])

    one, four = train(1)['measured'], train(4)['measured']
    assert all(len(values) == 2 for values in one.values())
    chex.assert_trees_all_close(four, one, rtol=1e-6, atol=1e-6)


# ------------------------------------------------------------------ in training


def trained(diagnosis, lead=0, steps=7):
    learner = make_learner('fa', hidden=(4,))._replace(diagnosis=diagnosis)
    state = random_state(learner)._replace(step=jnp.zeros((), jnp.int32))
    function = functools.partial(train_steps, learner, (FORWARD,), 5, steps, lead=lead)
    return learner, state, *jax.jit(function)(state, make_images(), make_hparams())


def test_measuring_changes_nothing_that_is_trained(x64):
    *_, expected, metrics = trained(None)
    *_, got, measured = trained(Diagnosis(('signal',), 3))
    assert 'measured' not in metrics
    chex.assert_trees_all_close(numpy(got), numpy(expected), rtol=1e-12)
    measured.pop('measured')
    chex.assert_trees_all_close(measured, metrics, rtol=1e-12)


@pytest.mark.parametrize(('lead', 'every'), [(0, 3), (2, 3), (0, 7), (0, 100), (7, 3), (6, 1)])
def test_it_is_measured_before_the_steps_that_are_said(lead, every, x64):
    diagnosis = Diagnosis(('signal',), every)
    learner, state, _, metrics = trained(diagnosis, lead)
    images = make_images()
    key = jax.random.fold_in(state.key, 2**32 - 1)  # of the first pass
    order = jax.random.permutation(key, len(images.image))[:35].reshape(7, 5)
    expected = []
    for number in range(7):
        batch = images.at(order[number]).batch() | {'index': jnp.arange(5)}
        if number >= lead and (number - lead) % every == 0:
            expected.append(numpy(diagnose(learner, state, batch, make_hparams())))
        state, _ = train_step(learner, (FORWARD,), state, batch, make_hparams())
    found = metrics.get('measured', {})
    assert bool(found) == bool(expected)
    for name, values in found.items():
        close(values, [numbers[name] for numbers in expected], err_msg=name)


def test_calls_that_end_anywhere_measure_at_the_same_steps():
    """Pieces of a pass of 45 steps; what is measured does not depend on how it is cut."""

    def steps_measured(steps_per_call, every=10):
        config = resolve(paper(
            'mnist', 'bp', f'dataset=mnist_mini,epochs=2,diagnostics=signal,'
            f'diagnostics_every={every}'
        )) | {'steps_per_call': steps_per_call}  # fmt: skip
        made = run.make_run(config)
        records = []
        for call in run.calls(config, made, 0):
            times = len(range(call.lead, call.steps, every))
            records += diagnostics_records(call, {'x': [0.0] * times}, every)
            assert all(r['step'] <= call.position for r in records)
            assert all(r['step'] > call.position - call.steps for r in records[-times:] if times)
        return [record['step'] for record in records]

    expected = [1, 11, 21, 31, 41, 46, 56, 66, 76, 86]
    for steps_per_call in (None, 7, 10, 13, 45):
        assert steps_measured(steps_per_call) == expected


def test_without_a_diagnosis_calls_are_of_one_kind():
    config = resolve(paper('mnist', 'bp', 'dataset=mnist_mini,epochs=1,steps_per_call=7'))
    made = run.make_run(config)
    assert {call.lead for call in run.calls(config, made, 0)} == {0}
    assert made.learner.diagnosis is None


@pytest.mark.parametrize('text', ['updates', 'cheap,sgnal', 'everything'])
def test_a_name_that_does_not_exist_is_said(text):
    with pytest.raises(UserError, match='no diagnostic'):
        resolve(paper('mnist', 'bp', f'diagnostics={text}'))


def test_names_and_groups():
    assert diagnostics.named('') == ()
    assert diagnostics.named('signal, update') == ('signal', 'update')
    assert set(diagnostics.named('cheap')) < set(diagnostics.named('all')) == set(DIAGNOSTICS)
    assert diagnostics.named('cheap,update,descent') == (*diagnostics.CHEAP, 'descent')


def test_an_autoencoder_can_be_looked_into(x64):
    network = feedforward(IN_SHAPE, (6, 5), math.prod(IN_SHAPE))
    p = problem('sdtp', network=network, loss=losses.reconstruction)
    found = measure(p, *DIAGNOSTICS)
    assert all(np.isfinite(value) for value in found.values())


def test_of_a_batch_in_parts_the_first_is_measured(x64):
    learner, state = make_learner('dtp'), random_state(make_learner('dtp'))
    names = Diagnosis(('signal', 'reconstruction'), 1)
    batch = make_images().at(jnp.arange(12)).batch() | {'index': jnp.arange(12)}

    def measured(parts, batch):
        made = learner._replace(diagnosis=names, accumulate=parts)
        return diagnose(made, state, batch, make_hparams())

    first = measured(1, jax.tree.map(lambda x: x[:4], batch))
    chex.assert_trees_all_close(measured(3, batch), first, rtol=1e-12)
    assert any(abs(first[name] - whole) > 1e-6 for name, whole in measured(1, batch).items())


@pytest.mark.parametrize(('devices', 'examples'), [(1, 37), (4, 37), (4, 5)])
def test_of_a_set_the_first_batch_is_measured(devices, examples, x64):
    """Of a set that has less than that, images come again, each with a place of its own."""
    diagnosis = Diagnosis(('signal', 'reconstruction'), 1)
    learner = make_learner('dtp')._replace(diagnosis=diagnosis)
    team, images = replicas(devices), make_images(examples)
    arguments = team.place((random_state(learner), make_hparams(), images))
    function = functools.partial(diagnose_part, learner, 12)
    found = numpy(team.spread(function, arguments)(*arguments))
    places = jnp.arange(12)
    batch = images.at(places % examples).batch() | {'index': places}
    expected = diagnose(learner, random_state(learner), batch, make_hparams())
    chex.assert_trees_all_close(found, numpy(expected), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('name', ['dtp', 'sdtp', 'local_prediction', 'equilibrium_propagation'])
def test_what_a_rule_or_a_net_has_not_is_left_out(name):
    """DTP of one hidden layer has no inverse; other rules have none of theirs."""
    found = measure(problem(name, hidden=(5,)), *DIAGNOSTICS)
    has = {metric.partition('/')[0] for metric in found}
    assert ('jacobian_angle' in has) == (name == 'sdtp')
    assert ('alignment_angle' in has) == (name == 'sdtp')
    assert all(np.isfinite(value).all() for value in found.values())
