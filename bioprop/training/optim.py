"""The optimiser of one side, forward or feedback: any optax optimiser, by name.

Hyperparameters may be traced values: the transformation is made anew inside the step, so that a
population of configurations can share one compiled program.
"""

import inspect

import jax
import optax

from bioprop.errors import UserError, unknown

# lbfgs and polyak_sgd need more than a gradient.
OPTIMIZERS = tuple(
    name
    for name, make in inspect.getmembers(optax, inspect.isfunction)
    if 'learning_rate' in inspect.signature(make).parameters
    and name not in ('scale_by_learning_rate', 'lbfgs', 'polyak_sgd')
)


def optimizer(
    name: str, learning_rate, *, clip=None, weight_decay=None, coupled=False, **options
) -> optax.GradientTransformation:
    """optax's optimiser `name` behind gradient clipping, with weight decay.

    clip bounds the global norm of the gradient. weight_decay is added to the optimiser's direction
    before the scaling by -learning_rate (Loshchilov and Hutter 2019) or, coupled, to the gradient
    that the optimiser sees, as that of weight_decay / 2 |w|^2. None leaves either out.
    Raises UserError for a name or an option that optax does not know.
    """
    if name not in OPTIMIZERS:
        raise unknown('optimizer', name, OPTIMIZERS)
    try:
        direction = getattr(optax, name)(learning_rate=1.0, **options)
    except TypeError as error:
        raise UserError(
            f'optax has no optimizer {name!r} with {sorted(options)}: {error}'
        ) from error
    none = optax.identity()
    decay = none if weight_decay is None else optax.add_decayed_weights(weight_decay)
    chain = optax.chain(
        none if clip is None else optax.clip_by_global_norm(clip),
        decay if coupled else none,
        direction,
        optax.scale(-1.0),
        none if coupled else decay,
        optax.scale_by_learning_rate(learning_rate),
    )
    # optax mixes types, also where JAX is told to refuse it in a rule.
    return chain._replace(update=jax.numpy_dtype_promotion('standard')(chain.update))
