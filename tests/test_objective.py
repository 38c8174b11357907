"""The objective: its gradient is the rule's update under every transformation of JAX."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from problems import BATCH, LAYERS, WAYS, make_rule, numpy, problem

from bioprop.rules import Rule
from bioprop.rules.backpropagation import descend
from bioprop.training import optim
from bioprop.training.learner import Learner, init_state
from bioprop.training.schedules import BOTH
from bioprop.training.step import train_step

pytestmark = pytest.mark.usefixtures('quick')
DEVICES = 8
each_rule = pytest.mark.parametrize('name', WAYS)  # check_rule has them all
each_way = pytest.mark.parametrize('name', ['fa', 'dtp', *WAYS[-3:]])
close = functools.partial(chex.assert_trees_all_close, rtol=1e-10, atol=1e-13)


def stack(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def updates_of(p):
    """(weights, batch, key, hparams) -> (value, trained updates)."""

    def f(*arguments):
        (value, _), updates = jax.value_and_grad(p.objective, has_aux=True)(*arguments)
        return value, updates

    return f


# ------------------------------------------------------------------ value and gradient


@each_rule
def test_value_and_aux_are_the_loss_and_the_logits(name, x64):
    p = problem(name)
    (value, aux), updates = p.value_and_updates()
    logits = numpy(p.states)[-1]
    log_sum = np.log(np.exp(logits).sum(-1))
    chosen = logits[np.arange(BATCH), numpy(p.batch['label'])]
    close(value, np.mean(log_sum - chosen))
    close(aux['logits'], logits)
    assert ('feedback_loss' in aux) == (p.rule.feedback_loss is not None)
    chex.assert_trees_all_equal(updates['fixed'], jax.tree.map(jnp.zeros_like, p.weights['fixed']))


@each_rule
def test_without_a_gradient_it_is_the_same_value_and_aux(name, x64):
    """The primal function of the custom_vjp is a path of its own."""
    p = problem(name)
    differentiated, _ = p.value_and_updates()
    close(jax.jit(p.objective)(*p.arguments), differentiated)


@each_rule
def test_cotangent_scales_the_updates(name, x64):
    p = problem(name)
    tripled = jax.jit(jax.grad(lambda *arguments: 3 * p.objective(*arguments)[0]))(*p.arguments)
    close(tripled, jax.tree.map(lambda update: 3 * update, p.updates()))


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
@each_rule
def test_updates_keep_the_type_of_the_weights(name, dtype, x64, strict):
    p = problem(name)
    cast = jax.tree.map(
        lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, p.arguments
    )
    shapes = jax.eval_shape(jax.value_and_grad(p.objective, has_aux=True), *cast)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype(dtype)}


# ------------------------------------------------------------------ transformations


class VariantsTest(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True, with_device=True)
    def test_bp_is_the_same_with_and_without_jit(self):
        p = problem('bp')
        f = self.variant(jax.value_and_grad(p.objective, has_aux=True))
        chex.assert_trees_all_close(f(*p.arguments)[1], p.updates(), rtol=1e-5, atol=1e-7)


def members(name):
    """Three problems that differ in their weights, keys and hyperparameters."""
    problems = [problem(name, seed=seed) for seed in range(3)]
    batch = problems[0].batch
    return [
        p._replace(batch=batch, hparams={k: (1 + i) * v for k, v in p.hparams.items()})
        for i, p in enumerate(problems)
    ]


@each_way
def test_vmap_over_members_is_a_loop(name, x64):
    runs = members(name)
    p = runs[0]
    weights, _, _, hparams = stack([run._replace(key=run.batch['index']).arguments for run in runs])
    keys = jnp.stack([run.key for run in runs])
    f = jax.jit(jax.vmap(updates_of(p), (0, None, 0, 0)))
    _, updates = f(weights, p.batch, keys, hparams)
    close(updates, stack([run.updates() for run in runs]))


@pytest.mark.parametrize('name', ['dfa', 'dtp'])
def test_scan_over_members_is_a_loop(name, x64):
    runs = members(name)
    p = runs[0]
    weights = stack([run.weights for run in runs])
    hparams = stack([run.hparams for run in runs])
    keys = jnp.stack([run.key for run in runs])

    def body(carry, member):
        weights, key, hparams = member
        return carry, updates_of(p)(weights, p.batch, key, hparams)[1]

    _, updates = jax.jit(lambda xs: jax.lax.scan(body, None, xs))((weights, keys, hparams))
    close(updates, stack([run.updates() for run in runs]))


def averaged(p):
    def f(*arguments):
        return jax.lax.pmean(updates_of(p)(*arguments), 'devices')

    return f


def whole(p):
    (value, _), updates = p.value_and_updates()
    return value, updates


@each_way
def test_pmap_over_eight_devices_equals_one(name, x64):
    p = problem(name, size=2 * DEVICES)
    batch = jax.tree.map(lambda x: x.reshape(DEVICES, 2, *x.shape[1:]), p.batch)
    f = jax.pmap(averaged(p), axis_name='devices', in_axes=(None, 0, None, None), out_axes=None)
    close(f(p.weights, batch, p.key, p.hparams), whole(p))


@each_way
def test_shard_map_over_eight_devices_equals_one(name, x64):
    p = problem(name, size=2 * DEVICES)
    mesh = jax.make_mesh((DEVICES,), ('devices',), axis_types=(AxisType.Auto,))
    f = jax.shard_map(
        averaged(p), mesh=mesh, in_specs=(P(), P('devices'), P(), P()), out_specs=P(),
        check_vma=False,
    )  # fmt: skip
    close(jax.jit(f)(*p.arguments), whole(p))


@pytest.mark.parametrize('name', ['fa', 'dtp'])
def test_new_hparams_do_not_recompile(name):
    chex.clear_trace_counter()
    p = problem(name)
    f = jax.jit(chex.assert_max_traces(updates_of(p), n=1))
    first, second = (
        f(*p.with_hparams(feedback_scale=x, scale=x).arguments)[1]['forward'] for x in (0.5, 2)
    )
    assert jnp.any(first[0]['kernel'] != second[0]['kernel'])


# ------------------------------------------------------------------ the door for other rules


def kolen_pollack(decay):
    """Feedback B_l takes the update of W_l, and decays like it (Akrout et al. 2019)."""

    def init(key, network, forward):
        kernels = [
            layer.init_kernel(jax.random.fold_in(key, l)) for l, layer in enumerate(network.layers)
        ]
        return (None, *kernels[1:]), ()

    def updates(network, weights, states, context):
        deltas = descend(network, weights['feedback'], states, context.error(states))
        forward = tuple(
            layer.update(params, x, h, delta)
            for layer, params, x, h, delta in zip(
                network.layers, weights['forward'], states[:-1], states[1:], deltas, strict=True
            )
        )
        feedback = tuple(
            None if b is None else update['kernel'] + decay * b
            for b, update in zip(weights['feedback'], forward, strict=True)
        )
        return {'forward': forward, 'feedback': feedback}

    return Rule(init, updates=updates)


def test_updates_of_a_rule_go_through_the_objective(x64):
    """With B = W the forward updates are those of BP, whatever the feedback does."""
    p = problem(kolen_pollack(0.2))
    kernels = (None, *(params['kernel'] for params in p.weights['forward'][1:]))
    p = p._replace(weights=p.weights | {'feedback': kernels})
    (_, aux), updates = p.value_and_updates()
    bp = p._replace(rule=make_rule('bp'), weights=p.weights | {'feedback': ()})
    forward = bp.updates()['forward']
    close(updates['forward'], forward)
    expected = [u['kernel'] + 0.2 * w for u, w in zip(forward[1:], kernels[1:], strict=True)]
    close(updates['feedback'], (None, *expected))
    assert set(aux) == {'logits'}


def test_kolen_pollack_feedback_meets_the_forward_weights_at_the_rate_of_the_decay(x64):
    """W - B shrinks by 1 - lr decay a step, where W decays through its optimiser."""
    lr, decay, steps = 0.1, 0.2, 5
    p = problem(kolen_pollack(decay))
    optimizers = {
        'forward': lambda hparams: optim.optimizer('sgd', lr, weight_decay=decay),
        'feedback': lambda hparams: optim.optimizer('sgd', lr),
    }
    learner = Learner(p.network, p.rule, p.loss, optimizers)
    one_step = jax.jit(functools.partial(train_step, learner, (BOTH,)))
    start = state = init_state(learner, p.key, p.hparams)
    for _ in range(steps):
        state, metrics = one_step(state, p.batch, p.hparams)
    assert set(metrics) == {'loss', 'error'}
    for l in range(1, LAYERS):
        old, new = (
            s.weights['forward'][l]['kernel'] - s.weights['feedback'][l] for s in (start, state)
        )
        close(new, (1 - lr * decay) ** steps * old)
        assert jnp.any(start.weights['feedback'][l] != state.weights['feedback'][l])
