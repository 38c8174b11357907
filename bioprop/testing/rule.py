"""Whether a rule keeps the contract of `bioprop.rules.base`, and what it claims beyond it."""

import math
from collections.abc import Callable, Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bioprop.losses import softmax_cross_entropy
from bioprop.rules import Context, Rule, infer
from bioprop.rules.base import PHASES
from bioprop.testing.faults import Fault, attempt, difference, finite, like, naming, same, shaken
from bioprop.testing.problem import (
    BATCH,
    NETS,
    SHALLOW,
    Problem,
    layers_alone,
    make,
    plain_gradient,
    states_of,
)
from bioprop.training.precision import cast

# The layers whose forward kernels signals may use, for given states, of a net of so many layers.
TRANSPORT: dict[str, Callable[[int], Iterable[int]]] = {
    'none': lambda layers: (),
    'top': lambda layers: (layers,),
    'signs': lambda layers: range(2, layers + 1),
    'all': lambda layers: range(2, layers + 1),
}
PER_EXAMPLE = ('delta', 'displacement', 'states')


def check_rule(
    rule: Rule,
    *,
    transport: str | None = None,
    as_bp: Callable[[Problem], Problem | None] | None = None,
    local_feedback: bool = True,
    from_above: bool = True,
    kinds: Sequence[str] = tuple(NETS),
    hparams: dict[str, float] | None = None,
    seed: int = 0,
) -> None:
    """Raises Fault for the first thing that is wrong with a rule, on small random nets.

    For every rule: `init`, `signals` and `updates` have their structure, shapes and types, in
    float32 and bfloat16, without implicit promotion, and read no hyperparameter that is not
    declared; equal calls give equal numbers, compiled or not, under vmap and on all devices; a
    signal, like what `infer` gives, is the example's own, and an update the mean over the batch,
    however that is ordered or divided; a forward update is the VJP of its layer alone at its
    signal; `displacements`, `inverse`, `phases` and `feedback_kernels`, where there are any, have
    their shapes, and what is a signal too agrees with it.

    What a rule claims beyond that:

    transport: the forward kernels that its signals use, for given states: 'none', 'top' (W_L
        alone), 'signs' (of all, whatever their magnitudes) or 'all'; None claims nothing
    as_bp: problem -> the problem with rule, weights and hparams put so that its updates are
        jax.grad of the loss; None on a net where the rule is never backpropagation
    local_feedback: the feedback update of a layer does not change with another layer's feedback
    from_above: no signal comes from kernels at or below its layer, for given states
    kinds: of the nets that it exists on: 'dense', 'local' (locally connected and convolutional)
    hparams: values of those that cannot lie anywhere in [0.2, 1)

    Numbers are compared in double precision. Raises ValueError for an argument without meaning.
    """
    given = hparams or {}
    if transport is not None and transport not in TRANSPORT:
        raise ValueError(f'transport must be one of {", ".join(TRANSPORT)}, not {transport!r}')
    if not set(given) <= set(rule.names):
        raise ValueError(f'hparams {sorted(given)} must be of those declared: {rule.names}')
    if not kinds or not set(kinds) <= set(NETS):
        raise ValueError(f'kinds must be of {", ".join(NETS)}, not {kinds!r}')
    nets = [NETS[kind] for kind in kinds]
    for network in nets:
        with _on(network):
            with jax.enable_x64(False):
                _check_contract(rule, network, given, seed)
            with jax.enable_x64(True):
                p = make(rule, network, given, seed)
                for check in FIRST_CHECKS if network is nets[0] else CHECKS:
                    check(p)
                _check_transport(p, transport, from_above)
                if local_feedback:
                    _check_local_feedback(p)
    with jax.enable_x64(True):
        if as_bp is not None:
            shallow = [SHALLOW] if 'dense' in kinds else []
            _check_bp(rule, as_bp, [*nets, *shallow], given, seed)
        with _on(nets[0]):
            p, q = (make(rule, nets[0], given, seed + i) for i in range(2))
            for check in TRANSFORMS:
                check(p)
            _check_vmap(p, q)


def _on(network):
    shapes = [network.in_shape, *(layer.out_shape for layer in network.layers)]
    return naming(f'net {" -> ".join(map(str, shapes))}')


# ------------------------------------------------------------------ shapes and types


def _check_contract(rule, network, given, seed):
    """What can be said without a number."""
    if not (rule.signals or rule.updates):
        raise Fault('a rule must have signals or updates')
    _check_init(rule, network, jax.random.key(seed))

    def shapes(precision):
        made = jax.eval_shape(lambda: cast(make(rule, network, given, seed).arguments, precision))
        return Problem(network, rule, softmax_cross_entropy, *made)

    _check_shapes(shapes('float32'), 'float32')
    _check_inside(shapes('float32'))
    for precision in ('float32', 'bfloat16'):
        p = shapes(precision)
        with jax.numpy_dtype_promotion('strict'), jax.numpy_rank_promotion('raise'):
            _check_shapes(p, f'{precision}, nothing promoted')


def _check_init(rule, network, key):
    forward, layers = network.init(key), len(network.layers)
    made, again = (attempt('init', rule.init, key, network, forward) for _ in range(2))
    if not (isinstance(made, tuple) and len(made) == 2):
        raise Fault(f'init must return (feedback, fixed), not {made!r}')
    feedback, fixed = made
    if jax.tree.leaves(feedback) and not (isinstance(feedback, tuple) and len(feedback) == layers):
        raise Fault(
            f'init: feedback must be () or a tuple of {layers}, an entry for each layer and None '
            f'where it has none, not {jax.tree.structure(feedback)}'
        )
    for name, tree in (('feedback', feedback), ('fixed', fixed)):
        for leaf in jax.tree.leaves(tree):
            number = not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            if number and leaf.dtype != jnp.float32:
                raise Fault(f'init: {name} weights have the type {leaf.dtype}, not float32')
    data = jax.tree.map(_data, (made, again))
    same('init gives other weights when it is called again', *data, 'Draw from its key alone')


def _data(leaf):
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if is_key else leaf


def _trace(what, function, p):
    """The shapes of function(network, weights, states, context)."""

    def traced(weights, states, batch, key, hparams):
        return function(p.network, weights, states, Context(p.loss, batch, key, hparams))

    return attempt(what, jax.eval_shape, traced, *p.arguments)


def _check_shapes(p, words):
    rule = p.rule
    if rule.infer:
        what = f'infer ({words})'
        expected = jax.eval_shape(p.network.states, p.weights['forward'], p.batch['image'])
        found = _trace(what, lambda n, w, _, context: infer(n, rule, w, context), p)
        like(what, tuple(found), expected)
    if rule.signals:
        what = f'signals ({words})'
        like(what, _trace(what, rule.signals, p), p.states[1:])
    if rule.feedback_loss:
        what = f'feedback_loss ({words})'
        loss = _trace(what, rule.feedback_loss, p)
        if jnp.shape(loss):
            raise Fault(f'{what} must be a scalar, not of shape {loss.shape}: sum over units')
    if rule.updates:
        what = f'updates ({words})'
        updates = _trace(what, rule.updates, p)
        if 'fixed' in updates:
            raise Fault(f'{what} changes fixed weights: make what is trained feedback')
        like(what, updates, {side: p.weights[side] for side in ('forward', 'feedback')})


def _check_inside(p):
    """What diagnostics use."""
    rule, forward, feedback = p.rule, p.weights['forward'], p.weights['feedback']
    if rule.displacements:
        found = _trace('displacements', rule.displacements, p)
        like('displacements', tuple(found), p.states[1:-1])
    inverted = [l for l, own in enumerate(feedback, start=1) if own] if rule.inverse else []
    for l in inverted:

        def inverse(network, weights, states, context, l=l):
            return rule.inverse(network, weights, context, l, states[l - 1], states[l])

        what = f'inverse of layer {l}'
        like(what, _trace(what, inverse, p), p.states[l - 1])
    if rule.phases:
        for name, (before, after) in _trace('phases', rule.phases, p).items():
            if name not in PHASES:
                raise Fault(f'phases: {name!r} is none of {", ".join(PHASES)}')
            like(f'the {name} phase, one sweep later', after, before)
    if rule.feedback_kernels:

        def kernels(network, weights, states, context):
            return rule.feedback_kernels(network, weights)

        found = tuple(_trace('feedback_kernels', kernels, p))
        if len(found) != len(forward):
            raise Fault(f'feedback_kernels gives {len(found)} of {len(forward)} layers')
        expected = [own and params['kernel'] for own, params in zip(found, forward, strict=True)]
        like('feedback_kernels', found, tuple(expected))


# ------------------------------------------------------------------ every rule


def _check_repeats(p):
    """The same, called and compiled; a second call tells whether it is the compiler."""
    first = attempt('the rule', p.look, *p.arguments)
    finite('the rule', first)
    compiled = attempt('the rule under jit', p.run)
    try:
        same('under jit it differs', compiled, first, 'Depend on arguments alone, and on no global')
    except Fault:
        again = attempt('the rule', p.look, *p.arguments)
        same('equal calls differ', again, first, 'Draw from context.key, and keep no state between')
        raise


def _check_hparams(p):
    """A value for each layer, all equal, is the scalar; nothing may be broadcast over units."""
    vectors = jax.tree.map(lambda value: jnp.full(len(p.network.layers), value), p.hparams)
    what = 'hparams with a value for each layer'
    with jax.numpy_rank_promotion('raise'):
        found = attempt(f'the rule, given {what},', p._replace(hparams=vectors).run)
    same(f'{what}, all equal, differ from scalars', found, p.run(), 'Use context.hparam(name, l)')


def _check_examples(p):
    """The signal of an example does not change with the others."""
    half, batch = BATCH // 2, p.batch
    image = batch['image'].at[half:].multiply(-2)
    label = batch['label'].at[half:].set(0)
    batch = batch | {'image': image, 'label': label}
    states = states_of(p.network, p.rule)(p.weights, batch, p.key, p.hparams)
    others = p._replace(states=states, batch=batch)
    found, expected = (
        {name: tuple(delta[:half] for delta in q.run().get(name, ())) for name in PER_EXAMPLE}
        for q in (others, p)
    )
    same(
        'what an example is told changes with the others of the batch', found, expected,
        'Signals are those of each example alone; only updates average',
    )  # fmt: skip


def _check_order(p):
    """Examples in another order, each with its index, are told and teach the same."""
    order = np.roll(np.arange(BATCH)[::-1], 3)
    expected = p.run()
    expected |= {n: tuple(d[order] for d in expected[n]) for n in PER_EXAMPLE if n in expected}
    same(
        'examples in another order change the rule', p.at(order).run(), expected,
        "What is drawn for an example must follow its batch['index']: use context.noise(l, h)",
    )  # fmt: skip


def _check_parts(p):
    """A batch in parts, as it lies on several devices: vmap's axis takes their place."""
    found = attempt(
        'the rule on half a batch', _spread, p, lambda f, **axes: jax.jit(jax.vmap(f, **axes)), 2
    )
    same(
        'the halves of a batch, put together, differ from the whole', found, p.run(),
        'Average over the batch; draw nothing in its shape, but by context.noise(l, h)',
    )  # fmt: skip


def _check_devices(p):
    """As many devices as there are, and divide the batch."""
    devices = math.gcd(BATCH, jax.local_device_count())
    found = attempt('under pmap the rule', _spread, p, jax.pmap, devices)
    same(
        f'under pmap on {devices} devices it differs', found, p.run(),
        'Depend on arguments alone',
    )  # fmt: skip


def _spread(p, transform, parts):
    """What the rule says of parts of the batch, side by side, with the mean of their updates."""
    states, batch = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), (p.states, p.batch))

    def part(*arguments):
        found = p.look(*arguments)
        return found | {'update': lax.pmean(found['update'], 'parts')}

    found = transform(part, axis_name='parts', in_axes=(None, 0, 0, None, None))(
        p.weights, states, batch, p.key, p.hparams
    )
    update = jax.tree.map(lambda x: x[0], found.pop('update'))
    whole = jax.tree.map(lambda x: x.reshape(BATCH, *x.shape[2:]), found)
    return whole | {'update': update}


def _check_layers_alone(p):
    found = p.run()
    if 'delta' not in found:
        return
    alone = layers_alone(p.network)(p.weights['forward'], p.states, found['delta'])
    same(
        'a forward update is not the VJP of its layer alone at its signal',
        {'forward': found['update']['forward']}, {'forward': alone},
        'Stop gradients between layers, and divide by the size of the batch once',
    )  # fmt: skip


def _check_displacements(p):
    """They point where the signals do."""
    found = p.run()
    for l, (displacement, delta) in enumerate(
        zip(found.get('displacement', ()), found.get('delta', ()), strict=False), start=1
    ):
        factor = jnp.vdot(displacement, delta) / jnp.vdot(displacement, displacement)
        words = difference(factor * displacement, delta)
        if not factor > 0 or words:
            raise Fault(
                f'delta of layer {l} is not a positive multiple of the displacement h - t there'
            )


def _check_vmap(*members):
    """Several weights, keys and hparams as one program, as searches train them."""
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(p.arguments for p in members))
    found = attempt('under vmap the rule', jax.jit(jax.vmap(members[0].look)), *stacked)
    for place, p in enumerate(members):
        one = jax.tree.map(lambda x, place=place: x[place], found)
        same('under vmap it differs', one, p.run(), 'Depend on arguments alone')


CHECKS = (_check_examples, _check_order, _check_layers_alone, _check_displacements)
# What compiles a program of its own, or an operation at a time, is seen on the first net alone.
FIRST_CHECKS = (_check_repeats, *CHECKS)
TRANSFORMS = (_check_hparams, _check_parts, _check_devices)


# ------------------------------------------------------------------ claims


def _check_transport(p, claim, from_above):
    """Which deltas change with W_k, while the states stay."""
    if not p.rule.signals:
        if claim is not None:
            raise Fault('transport is a claim about signals, and the rule has none')
        return
    random, used = np.random.default_rng(1), set()
    for k, params in enumerate(p.weights['forward'], start=1):
        changed = _changed(p, k, shaken(-params['kernel'], random))
        if from_above and changed and max(changed) >= k:
            raise Fault(
                f'delta of layer {max(changed)} changes with the kernel of layer {k}, for given '
                'states: signals come from above; take from below the states alone'
            )
        used |= {k} if changed else set()
        same_signs = params['kernel'] * random.uniform(0.5, 2, size=params['kernel'].shape)
        if claim == 'signs' and (changed := _changed(p, k, same_signs)):
            raise Fault(
                f'delta of layer {min(changed)} changes with the magnitudes of the kernel of layer '
                f"{k}, though transport='signs' is claimed"
            )
    if claim is not None and used != (claimed := set(TRANSPORT[claim](len(p.network.layers)))):
        raise Fault(
            f'transport={claim!r} claims that signals use the forward kernels of layers '
            f'{sorted(claimed)}, but they change with those of {sorted(used)}'
        )


def _changed(p, k, kernel):
    """The layers whose delta changes when layer k gets that forward kernel."""
    q = p.with_layer('forward', k, p.weights['forward'][k - 1] | {'kernel': kernel})
    pairs = enumerate(zip(q.run()['delta'], p.run()['delta'], strict=True), start=1)
    return {l for l, pair in pairs if difference(*pair)}


def _check_local_feedback(p):
    random, expected = np.random.default_rng(2), p.run()['update']['feedback']
    for k, own in enumerate(p.weights['feedback'], start=1):
        if not jax.tree.leaves(own):
            continue
        found = p.with_layer('feedback', k, shaken(own, random)).run()['update']['feedback']
        others = [
            {'feedback': tuple(None if l == k else tree for l, tree in enumerate(updates, start=1))}
            for updates in (found, expected)
        ]
        same(
            f'the feedback of layer {k} changes the update of that of another layer', *others,
            'Stop the gradient between layers, or say local_feedback=False',
        )  # fmt: skip


def _check_bp(rule, as_bp, nets, given, seed):
    compared = False
    for network in nets:
        with _on(network):
            p = attempt('as_bp', as_bp, make(rule, network, given, seed))
            if p is None:
                continue
            compared = True
            p = p._replace(hparams=jax.tree.map(lambda x: jnp.asarray(x, float), p.hparams))
            found = attempt('the rule that as_bp gives', p.run)
            expected = plain_gradient(network, p.loss)(p.weights['forward'], p.batch)
            same(
                'the rule that as_bp gives is not the gradient of the loss',
                {'forward': found['update']['forward']},
                {'forward': expected},
                'Look for a transpose, a slope or a factor, from the top layer down',
            )
    if not compared:
        raise Fault('as_bp gives None on every net, so nothing was compared with the gradient')
