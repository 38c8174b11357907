"""Checks for users: they pass for what the package has, and find each planted fault by name."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest

from bioprop import rules
from bioprop.layers import Layer, convolution, dense, locally_connected
from bioprop.rules import Rule, inverses
from bioprop.rules.backpropagation import descend
from bioprop.rules.target_propagation import squared_distance
from bioprop.testing import Fault, check_layer, check_rule, limit, order_of

pytestmark = pytest.mark.usefixtures('quick')
bp, fa = rules.bp(), rules.fa()
GAIN = (rules.Hyperparameter('gain'),)


# ------------------------------------------------------------------ rules of the package


def itself(p):
    return p


def forward_kernels(p):
    """FA with B = W."""
    kernels = (None, *(params['kernel'] for params in p.weights['forward'][1:]))
    return p._replace(weights=p.weights | {'fixed': kernels}, hparams={'feedback_scale': 1})


def output_kernel(p):
    """DFA of one hidden layer with B_1 = W_2."""
    if len(p.network.layers) != 2:
        return None
    fixed = (p.weights['forward'][1]['kernel'], None)
    return p._replace(weights=p.weights | {'fixed': fixed}, hparams={'feedback_scale': 1})


def transposed_jacobians(make):
    """A target rule whose inverses are those that make it BP, whatever the inverse it was given."""

    def as_bp(p):
        q = problems.Problem(p.network, p.rule, p.loss, p.weights, p.batch, p.key, p.hparams)
        rule = make(inverse=q.transposed_jacobians())
        return p._replace(rule=rule, hparams=dict(p.hparams) | {'alpha': 1, 'scale': 0.5})

    return as_bp


wide = functools.partial(rules.ao_sdtp, 3)
# Where backpropagation is that of inverses or of options that a catalogue cannot name.
AS_BP = {
    'fa': forward_kernels,
    'dfa': output_kernel,
    'dtp': transposed_jacobians(rules.dtp),
    'sdtp': transposed_jacobians(rules.sdtp),
    'ao_sdtp': transposed_jacobians(wide),
}


USUAL = ('bp', 'dtp', 'kolen_pollack', 'local_prediction', 'equilibrium_propagation')


@pytest.mark.parametrize(
    'name', [name if name in USUAL else problems.full(name) for name in rules.CATALOGUE]
)
def test_rules_of_the_catalogue_keep_the_contract_and_their_claims(name):
    rule = wide() if name == 'ao_sdtp' else rules.get(name)
    claims = {'as_bp': AS_BP[name]} if name in AS_BP else {}
    before = jax.config.jax_enable_x64, jax.config.jax_numpy_dtype_promotion
    check_rule(rule, **claims, **rules.CATALOGUE[name].claims)
    assert before == (jax.config.jax_enable_x64, jax.config.jax_numpy_dtype_promotion)


@pytest.mark.full
@pytest.mark.parametrize(
    ('name', 'options', 'transport'),
    [
        ('dtp', {'start': 'logits', 'inverse': 'matched'}, 'none'),
        ('dtp', {'sweeps': 2}, 'all'),
        ('target_propagation', {'start': 'logits', 'inverse': 'before'}, 'none'),
        ('sdtp', {'inverse': 'matched'}, 'none'),
        ('l_drl', {'start': 'penultimate', 'inverse': 'after', 'samples': 2}, 'top'),
        ('fw_dtp', {'inverse': 'matched'}, 'none'),
        ('dfc', {'trained': False}, None),
        ('lra_e', {'form': 'sloped'}, None),
        ('lra_diff', {'penalty': 'squared', 'steps': 2}, None),
        ('feasible_targets', {'loss_slope': 'saturated', 'weighted': False}, None),
    ],
)
def test_options_keep_the_contract(name, options, transport):
    claims = {'local_feedback': name != 'lra_e', 'from_above': 'sweeps' not in options}
    check_rule(rules.get(name, **options), transport=transport, **claims)


def test_regenerated_feedback_keeps_the_contract():
    check_rule(rules.dfa(feedback='regenerated'), transport='none')


# ------------------------------------------------------------------ limits


@pytest.mark.parametrize('power', [1, 2, 3])
def test_the_order_is_the_power_of_the_error(power):
    parameters = [0.3, 0.1, 0.03]
    assert order_of([7 * x**power for x in parameters], parameters) == pytest.approx(power)


def test_a_limit_is_that_of_a_difference_quotient(x64):
    """Of sin at 1, one-sided and symmetric: its derivative, to more digits than any quotient."""
    one_sided = limit(lambda h: {'x': (np.sin(1 + h) - np.sin(1)) / h}, 0.1)
    symmetric = limit(lambda h: (np.sin(1 + h) - np.sin(1 - h)) / (2 * h), 0.1, step=2, terms=4)
    assert one_sided['x'] == pytest.approx(np.cos(1), abs=1e-11)
    assert symmetric == pytest.approx(np.cos(1), abs=1e-12)


# ------------------------------------------------------------------ planted faults of rules


def with_signals(change, rule=bp, **fields):
    """The rule with signals changed: change(deltas, network, weights, states, context)."""

    def signals(network, weights, states, context):
        deltas = rule.signals(network, weights, states, context)
        return tuple(change(deltas, network, weights, states, context))

    return rule._replace(signals=signals, **fields)


def each(function):
    """A change of every delta alone: function(delta, context)."""
    return with_signals(lambda deltas, n, w, s, context: [function(d, context) for d in deltas])


def wrong_transpose():
    def signals(network, weights, states, context):
        kernels = [params['kernel'] for params in weights['forward']]
        kernels = [k.T if k.shape[0] == k.shape[-1] and k.ndim == 2 else k for k in kernels]
        return descend(network, kernels, states, context.error(states))

    return bp._replace(signals=signals)


def local_losses(network, weights, states, context):
    """Updates that go down through the layers below, where each should be of its own alone."""
    deltas = fa.signals(network, weights, states, context)

    def losses(forward):
        made = network.states(forward, states[0])[1:]
        products = [jnp.sum(delta * h) for delta, h in zip(deltas, made, strict=True)]
        return sum(products) / len(states[0])

    return {'forward': jax.grad(losses)(weights['forward']), 'feedback': weights['feedback']}


def trains_what_is_fixed(network, weights, states, context):
    return {'forward': weights['forward'], 'feedback': (), 'fixed': weights['fixed']}


def reconstruction(stop):
    """Inverses that are trained on what those above give back, with or without its gradient."""

    def init(key, network, forward):
        return inverses.init_inverses(key, network, top=len(network.layers)), ()

    def feedback_loss(network, weights, states, context):
        back, loss = states[-1], 0.0
        for l in range(len(network.layers), 1, -1):
            back = inverses.INVERSES['after'].apply(network, weights, l, back)
            loss += squared_distance(back, states[l - 1])
            back = states[l - 1] if stop else back
        return loss

    return bp._replace(init=init, feedback_loss=feedback_loss)


def kolen_pollack():
    def init(key, network, forward):
        return fa.init(key, network, forward)[1], ()

    def signals(network, weights, states, context):
        return descend(network, weights['feedback'], states, context.error(states))

    def updates(network, weights, states, context):
        forward = tuple(
            layer.update(*arguments)
            for layer, *arguments in zip(
                network.layers, weights['forward'], states[:-1], states[1:],
                signals(network, weights, states, context), strict=True,
            )
        )  # fmt: skip
        pairs = zip(weights['feedback'], forward, strict=True)
        feedback = tuple(None if b is None else update['kernel'] + 0.1 * b for b, update in pairs)
        return {'forward': forward, 'feedback': feedback}

    return Rule(init, signals, updates=updates)


def by_place(delta, context):
    """Noise of a place in the batch that a device sees."""
    return delta + jax.random.normal(context.key, delta.shape, delta.dtype)


def by_number(delta, context):
    """The same for all examples, but of as many draws as a device sees."""
    draws = jax.random.normal(context.key, (len(delta),), delta.dtype)
    return delta * jnp.sum(draws)


def init_with(feedback=(), fixed=()):
    return bp._replace(init=lambda *_: (feedback, fixed))


def inside(**fields):
    return rules.dtp()._replace(**fields)


def scaled(factor):
    """Displacements by that factor."""
    return lambda *arguments: tuple(factor * d for d in rules.dtp().displacements(*arguments))


RULES = {
    'no signals': (Rule(rules.no_feedback), {}, 'must have signals or updates'),
    'init that returns one tree': (
        bp._replace(init=lambda *_: ()), {}, r'init must return \(feedback, fixed\)'),
    'feedback without layers': (
        init_with(feedback={'b': jnp.ones(3)}), {}, 'an entry for each layer'),
    'feedback of integers': (
        bp._replace(init=lambda key, network, _: ((jnp.ones(3, int),) * len(network.layers), ())),
        {}, 'init: feedback weights have the type int32'),
    'init that draws elsewhere': (
        bp._replace(init=lambda *_: ((), jnp.asarray(np.random.default_rng().random(3), float))),
        {}, 'init gives other weights'),
    'a delta too few': (with_signals(lambda deltas, *_: deltas[1:]), {}, 'signals .*must be built'),
    'a delta of another shape': (
        each(lambda delta, _: delta[:, :1]), {}, r'layer 1 has the shape \(8, 1\), not \(8, 4\)'),
    'an undeclared hyperparameter': (
        each(lambda delta, context: context.hparam('gain', 1) * delta), {},
        "reads the hyperparameter 'gain': add it"),
    'one with a default': (
        each(lambda delta, context: context.hparams.get('gain', 2) * delta), {}, "'gain': add it"),
    'a value read in Python': (
        each(lambda delta, context: delta if jnp.sum(delta) > 0 else -delta), {},
        'signals .* raises TracerBoolConversionError'),
    'another type': (
        each(lambda delta, _: delta.astype(jnp.float32)), {},
        'layer 1 has the dtype float32, not bfloat16'),
    'a promoted type': (
        each(lambda delta, _: delta * jnp.ones(delta.shape)), {}, 'TypePromotionError'),
    'a loss of each example': (
        bp._replace(feedback_loss=lambda n, w, states, c: jnp.sum(states[-1], axis=-1)), {},
        r'feedback_loss .* must be a scalar, not of shape \(8,\)'),
    'a fixed weight that is trained': (
        fa._replace(updates=trains_what_is_fixed), {}, 'updates .* changes fixed weights'),
    'updates of another structure': (
        bp._replace(updates=lambda n, weights, *_: {'forward': weights['forward'][1:]}), {},
        'updates .* must be built like'),
    'chance outside the keys': (
        each(lambda delta, _: delta * np.random.default_rng().random()), {}, 'equal calls differ'),
    'another result under jit': (
        each(lambda delta, _: delta * (2 if isinstance(delta, jax.core.Tracer) else 1)), {},
        'under jit it differs'),
    'a division by zero': (each(lambda delta, _: delta / 0), {}, 'is not finite'),
    'hparams of a layer for all': (
        each(lambda delta, context: context.hparams['gain'] * delta)._replace(hparams=GAIN),
        {}, 'given hparams with a value for each layer'),
    'the first value for all layers': (
        each(lambda delta, context: jnp.sum(context.hparams['gain']) * delta)
        ._replace(hparams=GAIN), {}, 'differ from scalars.*4 times what is expected'),
    'examples that know of each other': (
        each(lambda delta, _: delta - jnp.mean(delta, 0, keepdims=True)), {},
        'changes with the others.*delta, layer 1'),
    'noise of the place on a device': (each(by_place), {}, "follow its batch\\['index'\\]"),
    'noise of the number of devices': (each(by_number), {}, 'halves of a batch, put tog'),
    'a sum over the batch': (
        each(lambda delta, _: len(delta) * delta), {}, 'halves .* 0.5 times what is expected'),
    'signals from below': (
        with_signals(lambda deltas, network, weights, *_: [
            delta * jnp.sum(params['kernel'])
            for delta, params in zip(deltas, weights['forward'], strict=True)]),
        {}, 'delta of layer 1 changes with the kernel of layer 1'),
    'transport unsaid': (bp, {'transport': 'none'}, r'layers \[\], but .* \[2, 3, 4\]'),
    'transport at the top': (rules.dtp(), {'transport': 'none'}, r'layers \[\], but .* \[4\]'),
    'transport said in vain': (fa, {'transport': 'all'}, r'\[2, 3, 4\], but .* \[\]'),
    'more than signs': (bp, {'transport': 'signs'}, 'with the magnitudes of the kernel of layer 2'),
    'a leak between layers': (
        fa._replace(updates=local_losses), {}, 'not the VJP of its layer alone.*layer 1'),
    'a missing stop_gradient': (
        reconstruction(stop=False), {}, 'the feedback of layer 2 changes the update .*layer 3'),
    'feedback that follows the one above': (kolen_pollack(), {}, 'local_feedback=False'),
    'a wrong transpose': (
        wrong_transpose(), {'as_bp': itself}, 'not the gradient of the loss: forward, layer 1'),
    'a wrong factor': (
        each(lambda delta, _: 2 * delta), {'as_bp': itself}, '2 times what is expected'),
    'a comparison of nothing': (bp, {'as_bp': lambda p: None}, 'nothing was compared'),
    'displacements that point away': (
        inside(displacements=scaled(-1)), {}, 'delta of layer 1 is not a positive multiple'),
    'an inverse of another shape': (
        inside(inverse=lambda network, weights, context, l, x, h: h[:, :1]), {},
        r'inverse of layer 2 has the shape \(8, 1\), not \(8, 4\)'),
    'kernels of another shape': (
        inside(feedback_kernels=lambda n, weights: [p['kernel'].T for p in weights['forward']]),
        {}, r'feedback_kernels: layer 1 has the shape \(4, 6\), not \(6, 4\)'),
}  # fmt: skip


@pytest.mark.parametrize('name', RULES)
def test_a_planted_fault_of_a_rule_is_named(name):
    rule, claims, words = RULES[name]
    with pytest.raises(Fault, match=words) as raised:
        check_rule(rule, **claims)
    if 'as_bp gives None' not in str(raised.value) and name != 'no signals':
        assert '[net ' in str(raised.value)


def test_claims_that_hold_pass():
    check_rule(reconstruction(stop=True), transport='all')
    check_rule(kolen_pollack(), transport='none', local_feedback=False)


def test_hyperparameters_may_be_given():
    rule = each(lambda delta, context: delta * jnp.sqrt(context.hparam('gain', 1) - 1))
    rule = rule._replace(hparams=GAIN)
    check_rule(rule, hparams={'gain': 2.0})
    with pytest.raises(Fault, match='not finite'):
        check_rule(rule)


def test_arguments_without_meaning_are_refused():
    with pytest.raises(ValueError, match='transport must be one of none, top, signs, all'):
        check_rule(bp, transport='some')
    with pytest.raises(ValueError, match='must be of those declared'):
        check_rule(bp, hparams={'alpha': 1.0})
    with pytest.raises(ValueError, match='kinds must be of dense, local'):
        check_rule(bp, kinds=('sparse',))


def test_a_rule_may_exist_on_some_nets_alone():
    def init(key, network, forward):
        if len(network.layers[0].kernel_shape) > 2:
            raise ValueError('dense layers alone')
        return (), ()

    rule = bp._replace(init=init)
    with pytest.raises(Fault, match='dense layers alone'):
        check_rule(rule)
    check_rule(rule, kinds=('dense',))


def test_signals_may_come_from_below_where_that_is_said():
    def signals(network, weights, states, context):
        deltas = bp.signals(network, weights, states, context)
        return tuple(
            delta * (1 + jnp.sum(params['kernel'] ** 2))
            for delta, params in zip(deltas, weights['forward'], strict=True)
        )

    rule = bp._replace(signals=signals)
    with pytest.raises(Fault, match='signals come from above'):
        check_rule(rule)
    check_rule(rule, from_above=False)


INFERENCES = {
    'the label': (lambda h, context: h + context.batch['label'][:, None], 'KeyError'),
    'the others': (lambda h, context: h - jnp.mean(h, axis=0)[None], 'changes with the others'),
    'the place on a device': (
        lambda h, context: h + jax.random.normal(context.key, h.shape, h.dtype), 'another order'),
    'another shape': (lambda h, context: h[:, :-1], 'infer'),
}  # fmt: skip


@pytest.mark.parametrize('name', INFERENCES)
def test_inference_that_sees_more_than_an_image_is_found(name):
    change, words = INFERENCES[name]

    def infer(network, weights, context):
        *below, top = network.states(weights['forward'], context.batch['image'])
        return (*below, change(top, context))

    with pytest.raises(Fault, match=words):
        check_rule(bp._replace(infer=infer))


def test_inference_of_ones_own_keeps_the_contract():
    def infer(network, weights, context):
        *below, top = network.states(weights['forward'], context.batch['image'])
        return (*below, 2 * top + context.noise(len(below), top))

    check_rule(bp._replace(infer=infer))


# ------------------------------------------------------------------ layers


LAYERS = {
    'dense': (dense(4), (3, 2)),
    'dense, square': (dense(4, 'relu'), (4,)),
    'convolution, 1-D': (convolution(2, 3, 3, 'VALID', 'relu'), (8, 2)),
    'convolution, 2-D': (convolution(3, (3, 2), (2, 1)), (5, 4, 2)),
    'convolution, 3-D': (convolution(2, 2, (2, 1, 1), 1, 'linear'), (4, 3, 2, 1)),
    'local, 1-D': (locally_connected(2, 3, 3, 'VALID', 'relu'), (8, 2)),
    'local, 2-D': (locally_connected(3, (3, 2), (2, 1)), (5, 4, 2)),
    'local, 3-D': (locally_connected(2, 2, (2, 1, 1), 1, 'linear'), (4, 3, 2, 1)),
}


@pytest.mark.parametrize(
    'name', [problems.full(name) if '3-D' in name else name for name in LAYERS]
)
def test_layers_of_the_package_keep_the_contract(name):
    check_layer(*LAYERS[name])


def plain(x, kernel):
    return x @ kernel


def altered(**fields):
    """A description of a square dense layer with some functions of its own."""
    return lambda in_shape: dense(4)(in_shape)._replace(**fields)


class Doubled(Layer):
    def update(self, params, x, h, delta):
        return super().update(params, x, h, 2 * delta)


class Biased(Layer):
    def init_bias(self):
        return jnp.ones(self.bias_shape)


@jax.custom_vjp
def half_trained(kernel, x):
    return x @ kernel


half_trained.defvjp(
    lambda kernel, x: (x @ kernel, (kernel, x)),
    lambda saved, a: (saved[1].T @ a / 2, a @ saved[0].T),
)
FAULTY = {
    'no layer': (lambda in_shape: in_shape, 'must return a bioprop.layers.Layer'),
    'an error': (lambda in_shape: in_shape[3], r'binding to \(4,\) raises IndexError'),
    'another input': (lambda in_shape: dense(4)((5,)), r'in_shape is \(5,\), but .* \(4,\)'),
    'a wrong shape': (altered(out_shape=(5,)), r'linear .*has the shape \(3, 4\), not \(3, 5\)'),
    'a wrong type': (
        altered(linear=lambda kernel, x: (x @ kernel).astype(jnp.float32)),
        'linear .bfloat16.* has the dtype float32'),
    'a bias that is not zero': (lambda shape: Biased(*dense(4)(shape)), 'init: bias is 1 where 0'),
    'other fans': (altered(fans=(2, 4)), r'fans are \(2, 4\), but a unit has 4 weights'),
    'no fans': (altered(fans=(0, 4)), 'fans must be positive'),
    'a wrong transpose': (
        altered(transpose=lambda kernel, a: a @ kernel), 'transpose is wrong: transpose is'),
    'a transpose of twice the kernel': (
        altered(transpose=lambda kernel, a: 2 * a @ kernel.T), '2 times what is expected'),
    'a batch that is centred': (
        altered(linear=lambda kernel, x: (x - jnp.mean(x, 0, keepdims=True)) @ kernel),
        'an example changes with the others'),
    'a wrong slope': (altered(slope=lambda h: 1 - h), 'slope is not the derivative'),
    'a wrong integral': (altered(integral=lambda h: h), 'slope is not the derivative of integral'),
    'units that know of each other': (altered(activation=jax.nn.softmax), 'must be elementwise'),
    'a kernel of one sign': (
        altered(linear=lambda kernel, x: x @ jnp.abs(kernel)), 'linear is not linear in kernel'),
    'a rectified input': (
        altered(linear=lambda kernel, x: jax.nn.relu(x) @ kernel), 'linear is not linear in x'),
    'a wrong gradient': (altered(linear=half_trained), 'gradient of linear, kernel is .*0.5 times'),
    'an update that is a sum': (lambda shape: Doubled(*dense(4)(shape)), 'update is wrong.* 2 ti'),
    'a result of its own under jit': (
        altered(activation=lambda a: a * 2 if isinstance(a, jax.core.Tracer) else jnp.tanh(a)),
        'under jit it differs'),
}  # fmt: skip


@pytest.mark.parametrize('name', FAULTY)
def test_a_planted_fault_of_a_layer_is_named(name):
    describe, words = FAULTY[name]
    with pytest.raises(Fault, match=words):
        check_layer(describe, (4,))


def test_a_large_layer_is_refused():
    with pytest.raises(ValueError, match='on a smaller input'):
        check_layer(dense(1000), (1000,))
