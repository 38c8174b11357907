"""The keys of a configuration, and what a key left at None means.

A config file calls `paper(dataset, rule, arguments)` and sets what it wants otherwise. After all
overrides are parsed, `resolve` fills in every key that is still None.
"""

import ast
from typing import Any

from ml_collections import ConfigDict, config_dict

from bioprop import reference, rules
from bioprop.errors import UserError, unknown
from bioprop.layers import ACTIVATIONS
from bioprop.losses import LOSSES
from bioprop.networks import NETS
from bioprop.step import SCHEDULES

SOURCES = ('published', 'tuned')  # where a hyperparameter left at None comes from
# The two trained sides: a prefix of their keys. Then the options of an optimiser, as optax names
# them, and those that Adam needs.
SIDES = {'forward': '', 'feedback': 'inverse_'}
OPTIONS = {'beta1': 'b1', 'beta2': 'b2', 'eps': 'eps', 'momentum': 'momentum'}
ADAM = ('beta1', 'beta2', 'eps')
# Local losses are squared distances summed over units; random feedback is Glorot's.
DEFAULTS = {'scale': 1.0, 'inverse_scale': 1.0, 'feedback_scale': 1.0}


def paper(dataset: str, rule: str, arguments: str = '', /, **settings: Any) -> ConfigDict:
    """The paper's experiment with `rule` on `dataset`, changed by settings, ready for overrides.

    arguments is the part after the colon of --config=FILE:ARGUMENTS, 'key=value,key=value'; it
    sets the same keys as --config.key=value. Raises UserError if it cannot be read.
    """
    config = ConfigDict()
    config.dataset = dataset  # mnist_mini, or any image classification set of TFDS
    config.data_dir = config_dict.placeholder(
        str
    )  # where TFDS keeps its sets; None: TFDS's default
    config.validation_fraction = 0.1  # of the training set, its last part, for every selection
    config.paper_dataset = dataset  # whose published net and hyperparameters to use
    config.hyperparameters = 'published'  # or 'tuned': where those left at None come from

    config.net = 'fc'
    config.hidden = config_dict.placeholder(tuple)  # widths of the fully connected net
    config.activation = 'tanh'
    config.loss = 'softmax_cross_entropy'

    config.rule = rule  # bp, fa, dfa, dtp, sdtp, ao_sdtp, or your own as 'module:function'
    config.rule_options = ConfigDict()  # keyword arguments of the rule's constructor
    if rule == 'ao_sdtp':
        config.rule_options.auxiliary_units = 512 if dataset == 'cifar10' else 256
    config.schedule = 'parallel'  # or alternating (by epoch), alternating_step

    config.epochs = 500
    config.batch_size = 100
    config.seed = 0

    for side in SIDES.values():
        config[f'{side}optimizer'] = 'adam'  # any optimiser of optax
        for name in ('lr', *OPTIONS, 'clip', 'weight_decay'):  # clip: global norm of the gradient
            config[side + name] = config_dict.placeholder(float)
    for name in ('alpha', 'sigma', *DEFAULTS):  # a number, or a tuple with one for each layer
        config[name] = config_dict.placeholder(object)

    config.eval_every = 1  # epochs
    config.eval_batch_size = 1000
    config.steps_per_call = config_dict.placeholder(int)  # of one scan; None: a pass over the set
    config.checkpoint_seconds = 30.0  # at least this long between saves; a new best is saved always

    config.update(settings)
    for argument in filter(None, arguments.split(',')):
        _set(config, *argument.partition('=')[::2])
    return config


def _set(config: ConfigDict, key: str, text: str) -> None:
    """config.key = text, in the type that the key has."""
    if key not in config:
        raise unknown('config key', key, config.keys())
    kind = config.get_type(key)
    try:
        config[key] = text if kind is str else kind(ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError):
        raise UserError(
            f'config.{key} takes a value of type {kind.__name__}, not {text!r}'
        ) from None


def resolve(config: ConfigDict) -> dict[str, Any]:
    """The configuration with nothing left open, as a plain dictionary.

    Raises UserError for a value that is out of range or of no known name, and for a hyperparameter
    that the rule needs and that neither the config nor the chosen source gives.
    """
    resolved = config.to_dict()
    _check_names(resolved)
    _check_ranges(resolved)
    needed = _needed(resolved)
    names = ('hyperparameters', 'paper_dataset', 'net', 'rule', 'schedule')
    known = DEFAULTS | reference.hyperparameters(*(resolved[name] for name in names))
    for name in needed:
        if resolved.get(name) is None:
            resolved[name] = known.get(name)
    missing = [name for name in needed if resolved[name] is None]
    if missing:
        place = ', '.join(f'{name}={resolved[name]!r}' for name in names[1:])
        settings = ' '.join(f'--config.{name}=VALUE' for name in missing)
        raise UserError(
            f'no {resolved["hyperparameters"]} hyperparameters for {place}: set {settings}'
        )
    if resolved['hidden'] is None:
        resolved['hidden'] = reference.hidden_widths(resolved['paper_dataset'])
    return resolved


def hparams(resolved: dict[str, Any]) -> dict[str, Any]:
    """The continuous hyperparameters of a resolved configuration: those a program may trace."""
    rule = rules.get(resolved['rule'], **resolved['rule_options'])
    optimizers = ('lr', *OPTIONS, 'clip', 'weight_decay')
    names = [*rule.hparams, *(side + name for side in SIDES.values() for name in optimizers)]
    return {name: resolved[name] for name in names if resolved[name] is not None}


def _needed(config: dict[str, Any]) -> list[str]:
    """Hyperparameters that the rule and its optimisers cannot do without."""
    rule = rules.get(config['rule'], **config['rule_options'])
    needed = list(rule.hparams)
    for side in ('forward', 'feedback') if rule.trains_feedback else ('forward',):
        prefix = SIDES[side]
        names = ('lr', *ADAM) if config[f'{prefix}optimizer'] == 'adam' else ('lr',)
        needed += [prefix + name for name in names]
    if not rule.trains_feedback and config['schedule'] != 'parallel':
        raise UserError(
            f'rule {config["rule"]!r} trains no feedback weights, so it has nothing to alternate: '
            'use schedule=parallel'
        )
    return needed


def _check_names(config: dict[str, Any]) -> None:
    for kind, known in (
        ('schedule', SCHEDULES), ('loss', LOSSES), ('net', NETS), ('activation', ACTIVATIONS),
        ('hyperparameters', SOURCES),
    ):  # fmt: skip
        if config[kind] not in known:
            raise unknown(kind, config[kind], known)


def _check_ranges(config: dict[str, Any]) -> None:
    for name in ('epochs', 'batch_size', 'eval_every', 'eval_batch_size', 'steps_per_call'):
        if config[name] is not None and config[name] < 1:
            raise UserError(f'config.{name} must be at least 1, not {config[name]}')
    for name in ('alpha', 'sigma', *DEFAULTS):
        values = config[name] if isinstance(config[name], tuple) else (config[name],)
        if not all(value is None or isinstance(value, int | float) for value in values):
            raise UserError(f'config.{name} must be a number or one for each layer, not {values}')
