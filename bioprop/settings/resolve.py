"""What a configuration means once every override is known: nothing open, nothing out of range."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from bioprop import dale, diagnostics, networks, rules
from bioprop.data import tfds_arrays
from bioprop.errors import UserError, unknown
from bioprop.layers import ACTIVATIONS
from bioprop.layers.base import COMPETING
from bioprop.losses import LOSSES
from bioprop.settings import published
from bioprop.settings.keys import KINDS, OPTIONS, SIDES, Config, keys_of, whole
from bioprop.settings.tied import tie
from bioprop.training.images import INPUTS
from bioprop.training.optim import OPTIMIZERS
from bioprop.training.parallel import MODES
from bioprop.training.precision import PRECISIONS
from bioprop.training.schedules import SCHEDULES

DECAYS = ('decoupled', 'coupled')
SOURCES = ('published', 'tuned')
# Sets that use the published settings of another name.
PAPER_SETS = {'mnist_mini': 'mnist', 'fashion_mnist': 'mnist', 'imagenet2012': 'imagenet'}
ADAM = ('beta1', 'beta2', 'eps')
# What published hyperparameters are looked up by.
PLACE = ('hyperparameters', 'paper_dataset', 'net', 'rule', 'schedule')
COUNTS = (
    'epochs', 'batch_size', 'accumulate', 'feedback_steps', 'eval_every', 'eval_batch_size',
    'steps_per_call', 'image_size', 'diagnostics_every',
)  # fmt: skip
# [least, bound) of numbers; a rule's own may be any.
RANGES = {
    **dict.fromkeys(KINDS, (0, math.inf)),
    **dict.fromkeys(COUNTS, (1, math.inf)),
    **{side + name: (0, 1) for side in SIDES.values() for name in ('beta1', 'beta2', 'momentum')},
    'seed': (0, 2**32),
    'validation_fraction': (0, 1),
    'signs': (0, 1 + 1e-9),
}


def resolve(config: Config) -> dict[str, Any]:
    """The configuration with nothing left open, as a plain dictionary.

    Raises UserError for a key that neither bioprop nor the rule reads, for a value that is out of
    range or of no known name, for a data set that is nowhere, and for a hyperparameter that the
    rule needs and that neither the config nor the chosen source gives.
    """
    resolved = whole(config).to_dict()
    _check_keys(resolved)
    _check(resolved)
    dataset = resolved['dataset']
    if dataset not in tfds_arrays.USUAL:
        tfds_arrays.find(dataset, resolved['data_dir'])
    if resolved['paper_dataset'] is None:
        resolved['paper_dataset'] = PAPER_SETS.get(dataset, dataset)
    if resolved['augment'] is None:
        resolved['augment'] = resolved['paper_dataset'] in ('cifar10', 'imagenet')
    if resolved['hidden'] is None:
        resolved['hidden'] = published.hidden_layers(resolved['paper_dataset'], resolved['net'])
    given = published.options(resolved['paper_dataset'], resolved['rule'])
    for name, default in (rules.options(resolved['rule']) | given).items():
        resolved[name] = default if resolved.get(name) is None else resolved[name]
    rule = make_rule(resolved)
    _fill(resolved, rule)
    entry = rules.entry(resolved['rule'])
    for key, asked in entry.demands.items():
        values = asked if isinstance(asked, tuple) else (asked,)
        if resolved[key] not in values:
            told = ' or '.join(map(str, values))
            raise UserError(
                f'rule {resolved["rule"]!r} is made for {key}={told}, not {resolved[key]!r}'
            )
    if resolved['activation'] in COMPETING and 'activation' not in entry.demands:
        raise UserError(
            f'activation={resolved["activation"]} is for rules whose units compete (soft_hebb, '
            f'competitive), not for rule {resolved["rule"]!r}'
        )
    if entry.tied:
        tie(resolved)
    if rule.updates:  # the network alone tells whether it has feedback weights: see make_learner
        _require(resolved, rule, ('forward',))
    else:
        check_sides(resolved, rule, rule.sides)
    return resolved


def make_rule(resolved: dict[str, Any]) -> rules.Rule:
    """The rule that a resolved configuration names."""
    return rules.get(resolved['rule'], **options(resolved))


def options(resolved: dict[str, Any]) -> dict[str, Any]:
    """Those of its rule that a resolved configuration has."""
    found = {name: resolved.get(name) for name in rules.options(resolved['rule'])}
    return {name: value for name, value in found.items() if value is not None}


def hparams(resolved: dict[str, Any]) -> dict[str, Any]:
    """The continuous hyperparameters of a resolved configuration: those a program may trace."""
    optimizers = ('lr', *OPTIONS, 'clip', 'weight_decay')
    names = [*make_rule(resolved).names]
    names += [side + name for side in SIDES.values() for name in optimizers]
    return {name: resolved[name] for name in names if resolved[name] is not None}


def check_sides(resolved: dict[str, Any], rule: rules.Rule, sides: Sequence[str]) -> None:
    """Raises UserError if the sides that are trained lack a rate, or are too few to alternate."""
    if resolved['schedule'] != 'parallel' and 'feedback' not in sides:
        raise UserError(
            f'rule {resolved["rule"]!r} trains no feedback weights, so it has nothing to '
            'alternate: use schedule=parallel'
        )
    extra = {'feedback_steps': 1, 'feedback_pretraining': 0, 'feedback_passes': 0}
    asked = [name for name, none in extra.items() if resolved[name] != none]
    if asked and 'feedback' not in sides:
        raise UserError(
            f'rule {resolved["rule"]!r} trains no feedback weights: leave {", ".join(asked)} out'
        )
    _require(resolved, rule, sides)


def _fill(resolved: dict[str, Any], rule: rules.Rule) -> None:
    """Looks up hyperparameters at None.

    A row of the chosen source comes before what the catalogue says, and that before the rule's own
    defaults. Rates are those of an optimiser: a row's of Adam, the catalogue's of the one named
    beside.
    """
    own = rules.entry(resolved['rule']).settings
    adam = [side for side in rule.sides if resolved[f'{SIDES[side]}optimizer'] == 'adam']
    decays = [f'{SIDES[side]}weight_decay' for side in adam]
    _set_open(resolved, (*rule.names, *_rates(resolved, adam), *decays), _row(resolved))
    for side in SIDES.values():
        same = resolved[f'{side}optimizer'] == own.get(f'{side}optimizer', 'adam')
        names = ('weight_decay', 'clip', *(('lr', *OPTIONS) if same else ()))
        _set_open(resolved, [side + name for name in names], own)
    defaults = {each.name: each.default for each in rule.hparams}
    _set_open(resolved, rule.names, defaults | own)


def _row(resolved: dict[str, Any]) -> dict[str, Any]:
    """Of the chosen source; a data set's own come before those of the set that it goes by."""
    source, paper, *place = (resolved[name] for name in PLACE)
    goes_by = paper == PAPER_SETS.get(resolved['dataset'])
    sets = (paper, resolved['dataset']) if goes_by else (paper,)
    rows = [published.hyperparameters(source, each, *place) for each in sets]
    return rows[0] | rows[-1]


def _set_open(resolved: dict[str, Any], names: Sequence[str], known: Mapping[str, Any]) -> None:
    """Gives the names that are open their known values, None where there is none."""
    for name in names:
        if resolved.get(name) is None:
            resolved[name] = known.get(name)


def _rates(resolved: dict[str, Any], sides: Sequence[str]) -> list[str]:
    """What the optimisers of the sides cannot do without."""
    adam = {side: resolved[f'{SIDES[side]}optimizer'] == 'adam' for side in sides}
    return [SIDES[side] + name for side in sides for name in ('lr', *(ADAM if adam[side] else ()))]


def _require(resolved: dict[str, Any], rule: rules.Rule, sides: Sequence[str]) -> None:
    needed = (*rule.names, *_rates(resolved, sides))
    missing = [name for name in needed if resolved[name] is None]
    if missing:
        place = ', '.join(f'{name}={resolved[name]!r}' for name in PLACE)
        raise UserError(
            f'{place}: there is no value of {", ".join(missing)} for this. Set '
            + ' '.join(f'--config.{name}=VALUE' for name in missing)
            + ', or --config.paper_dataset=mnist or cifar10 to take the settings of that set.'
        )


def _check_keys(config: dict[str, Any]) -> None:
    """Whether bioprop or the rule reads every key, and the rule's are of their kinds."""
    options = rules.options(config['rule'])
    for key in options.keys() & config.keys():
        _check_option(key, config[key], options[key])
    hparams = make_rule(config).names
    if twice := sorted(KINDS.keys() & {*options, *hparams}):
        raise UserError(f'rule {config["rule"]!r}: {", ".join(twice)} is a key of bioprop: rename')
    known = {*KINDS, *options, *hparams}
    for key, value in config.items():
        if key not in known:
            raise _of_nobody(key, config['rule'], known)
        values = value if isinstance(value, tuple) else (value,)
        open_or_numbers = value is None or all(type(x) in (int, float) for x in values)
        if key in hparams and not open_or_numbers:
            raise UserError(f'config.{key} must be a number or one for each layer, not {value!r}')


def _check_option(key: str, value: Any, default: Any) -> None:
    """Whether an option is of the kind of its default."""
    kinds = rules.PLAIN if default is None else (type(default), type(None))
    if type(value) not in kinds:
        raise UserError(f'config.{key} takes {kinds[0].__name__}, not {value!r}')


def _of_nobody(key: str, rule: str, known: set[str]) -> UserError:
    """What to say of a key that nothing reads."""
    owners = [name for name in rules.RULES if key in keys_of(name)]
    if owners:
        return UserError(f'{key} belongs to {", ".join(owners)}, not to rule {rule!r}')
    return unknown('config key', key, known)


def _check(config: dict[str, Any]) -> None:
    for kind, known in (
        ('schedule', SCHEDULES), ('loss', LOSSES), ('activation', ACTIVATIONS),
        ('hyperparameters', SOURCES), ('optimizer', OPTIMIZERS), ('feedback_optimizer', OPTIMIZERS),
        ('parallel', MODES), ('precision', PRECISIONS), ('inputs', INPUTS),
        ('decay', DECAYS), ('feedback_decay', DECAYS),
    ):  # fmt: skip
        if config[kind] not in known:
            raise unknown(kind, config[kind], known)
    if config['signs'] is not None and config['activation'] not in dale.NON_NEGATIVE:
        raise UserError(
            f'config.signs needs units that are not negative: activation={dale.NON_NEGATIVE[0]} '
            f'(or {", ".join(dale.NON_NEGATIVE[1:])}), not {config["activation"]!r}'
        )
    networks.local_layer(config['net'])
    diagnostics.named(config['diagnostics'])
    if any(isinstance(x, bool) for x in jax.tree.leaves(config['hidden'])):
        raise UserError(f'config.hidden must be numbers, not {config["hidden"]!r}')
    own = {each.name: (each.least, math.inf) for each in make_rule(config).hparams}
    ranges = RANGES | own
    for name, value in config.items():
        least, bound = ranges.get(name, (-math.inf, math.inf))
        for x in value if isinstance(value, tuple) else (value,):
            if isinstance(x, int | float) and not least <= x < bound:
                raise UserError(
                    f'config.{name} must be at least {least} and below {bound}, not {x}'
                )
