"""What a configuration means once every override is known: nothing open, nothing out of range."""

import math
from typing import Any

from ml_collections import ConfigDict

from bioprop import diagnostics, networks, reference, rules
from bioprop.config import OF_RULES, OPTIONS, SIDES
from bioprop.errors import UserError, unknown
from bioprop.layers import ACTIVATIONS
from bioprop.losses import LOSSES
from bioprop.optim import OPTIMIZERS
from bioprop.parallel import MODES
from bioprop.precision import PRECISIONS
from bioprop.step import SCHEDULES

SOURCES = ('published', 'tuned')
FEEDBACK = ('stored', 'regenerated')  # of dfa
# Sets that use the published settings of another name.
PAPER_SETS = {'mnist_mini': 'mnist', 'fashion_mnist': 'mnist', 'imagenet2012': 'imagenet'}
ADAM = ('beta1', 'beta2', 'eps')
# Local losses are squared distances summed over units; random feedback is Glorot's.
DEFAULTS = {'scale': 1.0, 'inverse_scale': 1.0, 'feedback_scale': 1.0}
COUNTS = (
    'epochs', 'batch_size', 'accumulate', 'eval_every', 'eval_batch_size', 'steps_per_call',
    'image_size', 'diagnostics_every',
)  # fmt: skip
# [least, bound) of numbers; those not named here lie in [0, infinity).
RANGES = {
    **dict.fromkeys(COUNTS, (1, math.inf)),
    **{side + name: (0, 1) for side in SIDES.values() for name in ('beta1', 'beta2', 'momentum')},
    'seed': (0, 2**32),
    'validation_fraction': (0, 1),
}


def resolve(config: ConfigDict) -> dict[str, Any]:
    """The configuration with nothing left open, as a plain dictionary.

    Raises UserError for a value that is out of range or of no known name, and for a hyperparameter
    that the rule needs and that neither the config nor the chosen source gives.
    """
    resolved = config.to_dict()
    _check(resolved)
    dataset = resolved['dataset']
    if resolved['paper_dataset'] is None:
        resolved['paper_dataset'] = PAPER_SETS.get(dataset, dataset)
    if resolved['augment'] is None:
        resolved['augment'] = resolved['paper_dataset'] in ('cifar10', 'imagenet')
    if resolved['hidden'] is None:
        resolved['hidden'] = reference.hidden_layers(resolved['paper_dataset'], resolved['net'])
    if resolved['rule'] == 'ao_sdtp':
        units = resolved['auxiliary_units']
        default = reference.auxiliary_units(resolved['paper_dataset'])
        resolved['auxiliary_units'] = default if units is None else units
    elif resolved['auxiliary_units'] is not None:
        raise UserError(f'auxiliary_units belong to ao_sdtp, not to rule {resolved["rule"]!r}')
    if resolved['rule'] == 'dfa':
        resolved['feedback'] = resolved['feedback'] or 'stored'
        if resolved['feedback'] not in FEEDBACK:
            raise unknown('feedback', resolved['feedback'], FEEDBACK)
    elif resolved['feedback'] is not None:
        raise UserError(f'feedback belongs to dfa, not to rule {resolved["rule"]!r}')
    _check_schedule(resolved)
    return _fill(resolved)


def make_rule(resolved: dict[str, Any]) -> rules.Rule:
    """The rule that a resolved configuration names."""
    options = dict(resolved['rule_options'])
    if resolved['rule'] == 'ao_sdtp':
        options['auxiliary_units'] = resolved['auxiliary_units']
    if resolved.get('feedback') == 'regenerated':
        options['stored'] = False
    return rules.get(resolved['rule'], **options)


def hparams(resolved: dict[str, Any]) -> dict[str, Any]:
    """The continuous hyperparameters of a resolved configuration: those a program may trace."""
    optimizers = ('lr', *OPTIONS, 'clip', 'weight_decay')
    names = [*make_rule(resolved).hparams]
    names += [side + name for side in SIDES.values() for name in optimizers]
    return {name: resolved[name] for name in names if resolved[name] is not None}


def _fill(resolved: dict[str, Any]) -> dict[str, Any]:
    """Looks up the hyperparameters that the rule and its optimisers cannot do without."""
    names = ('hyperparameters', 'paper_dataset', 'net', 'rule', 'schedule')
    known = DEFAULTS | reference.hyperparameters(*(resolved[name] for name in names))
    rule, missing = make_rule(resolved), []
    needed = dict.fromkeys(rule.hparams, True)  # name -> whether the source may give it
    for side in rule.sides:
        adam = resolved[f'{SIDES[side]}optimizer'] == 'adam'  # the paper's only optimiser
        needed |= {SIDES[side] + name: adam for name in ('lr', *(ADAM if adam else ()))}
    for name, given in needed.items():
        if resolved.get(name) is None:
            resolved[name] = known.get(name) if given else None
        if resolved[name] is None:
            missing.append(name)
    if missing:
        place = ', '.join(f'{name}={resolved[name]!r}' for name in names)
        raise UserError(
            f'{place}: there is no value of {", ".join(missing)} for this. Set '
            + ' '.join(f'--config.{name}=VALUE' for name in missing)
            + ' (in the config file where the key is your own), or --config.paper_dataset=mnist or '
            'cifar10 to take the settings of that set.'
        )
    return resolved


def _check_schedule(resolved: dict[str, Any]) -> None:
    if resolved['schedule'] != 'parallel' and 'feedback' not in make_rule(resolved).sides:
        raise UserError(
            f'rule {resolved["rule"]!r} trains no feedback weights, so it has nothing to '
            'alternate: use schedule=parallel'
        )


def _check(config: dict[str, Any]) -> None:
    for kind, known in (
        ('schedule', SCHEDULES), ('loss', LOSSES), ('activation', ACTIVATIONS),
        ('hyperparameters', SOURCES), ('optimizer', OPTIMIZERS), ('inverse_optimizer', OPTIMIZERS),
        ('parallel', MODES), ('precision', PRECISIONS),
    ):  # fmt: skip
        if config[kind] not in known:
            raise unknown(kind, config[kind], known)
    networks.local_layer(config['net'])
    diagnostics.named(config['diagnostics'])
    for name, value in config.items():
        values = value if name in OF_RULES and isinstance(value, tuple) else (value,)
        if name in OF_RULES and not all(x is None or isinstance(x, int | float) for x in values):
            raise UserError(f'config.{name} must be a number or one for each layer, not {value!r}')
        least, bound = RANGES.get(name, (0, math.inf))
        for x in values:
            if isinstance(x, int | float) and not least <= x < bound:
                raise UserError(
                    f'config.{name} must be at least {least} and below {bound}, not {x}'
                )
