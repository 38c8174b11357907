"""The keys of a configuration, with their defaults.

A config file calls `paper(dataset, rule, arguments)` and names what it wants otherwise. A key left
at None is filled in by `bioprop.settings.resolve` after all overrides are parsed.
"""

import ast
import copy
import os
import re
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict, config_dict

from bioprop import rules
from bioprop.errors import UserError, unknown

# The two trained sides, and the prefix of their keys.
SIDES = {'forward': '', 'feedback': 'feedback_'}
# Options of optimisers, as optax names them.
OPTIONS = {'beta1': 'b1', 'beta2': 'b2', 'eps': 'eps', 'momentum': 'momentum'}

# What a data set needs otherwise: ImageNet is read from disk, and 10,000 of its training images are
# held out. The paper does not state its batch.
OF_SETS = {
    'imagenet2012': {
        'net': 'lc',
        'image_size': 224,
        'validation_fraction': 10 / 1281,
        'batch_size': 256,
        'eval_batch_size': 256,
        'steps_per_call': 20,
        'checkpoint_seconds': 600.0,
        'hyperparameters': 'tuned',
    },
}


def _defaults() -> ConfigDict:
    """Every key with its default; an open one is None, and has its kind."""
    config = ConfigDict(type_safe=False)
    config.dataset = ''  # mnist_mini, or any image classification set of TFDS
    config.data_dir = config_dict.placeholder(str)  # folder of prepared sets; None: TFDS's own
    config.validation_fraction = 0.1  # of the training set, its last part, for every selection
    config.augment = config_dict.placeholder(bool)  # random crops and flips; None: as in the paper
    config.image_size = config_dict.placeholder(int)  # of crops read from disk as they are needed;
    # None: the whole set is held in memory, its images as they are
    # standardised (grey: in [0, 1], as the paper's), unit (all in [0, 1]), or on_off: the positive
    # and the negative part of the standardised pixels, in channels of their own
    config.inputs = 'standardised'
    # Whose settings: mnist, mnist_autoencoder, cifar10 or imagenet.
    config.paper_dataset = config_dict.placeholder(str)
    config.hyperparameters = 'published'  # or 'tuned' (ours, where there are): for those at None

    # fc, lc (locally connected), conv (the same with shared weights), or a local layer of your own
    # as 'module:function'.
    config.net = 'fc'
    # Hidden layers, bottom first: a width, or (kernel size, channels, stride) in lc and conv.
    config.hidden = config_dict.placeholder(tuple)
    config.activation = 'tanh'
    config.signs = config_dict.placeholder(float)  # Dale's law: share of excitatory inputs
    config.loss = 'softmax_cross_entropy'  # or squared_error; reconstruction: of its grey input

    # A name of bioprop.rules.CATALOGUE, or your own as 'module:function'. Its options and
    # hyperparameters (a number, or a tuple with one for each layer) are keys as well.
    config.rule = ''
    config.schedule = 'parallel'  # or alternating (by epoch), alternating_step
    config.feedback_steps = 1  # turns of the feedback weights on each minibatch, with fresh noise
    config.feedback_pretraining = 0  # passes of the feedback weights alone, before the first epoch
    config.feedback_passes = 0  # of the feedback weights alone, after each epoch

    config.epochs = 500
    config.batch_size = 100
    config.seed = 0

    for side in SIDES.values():
        config[f'{side}optimizer'] = 'adam'  # an optimiser of optax
        for name in ('lr', *OPTIONS, 'clip', 'weight_decay'):  # clip: global norm of the gradient
            config[side + name] = config_dict.placeholder(float)
        config[f'{side}decay'] = 'decoupled'  # or coupled: of the weights, in the gradient

    config.parallel = 'pmap'  # over devices, or shard_map
    config.precision = 'float32'  # or bfloat16: of what a step computes; weights are float32
    config.accumulate = 1  # parts of each device's share of a batch that are taken one by one

    config.eval_every = 1  # epochs
    config.eval_batch_size = 1000
    config.steps_per_call = config_dict.placeholder(int)  # of one scan; None: a pass over the set
    # What is measured of the rule at work: names of bioprop.diagnostics divided by commas, cheap or
    # all; how many steps apart. Every evaluation measures on validation images, too.
    config.diagnostics = ''
    config.diagnostics_every = 100
    config.checkpoint_seconds = 30.0  # at least this long between saves; a new best is saved always
    # Project of Weights & Biases that is told what TensorBoard is; None: not told.
    config.wandb_project = config_dict.placeholder(str)

    return config


DEFAULTS = _defaults()
KINDS = {key: DEFAULTS.get_type(key) for key in DEFAULTS}
OPEN = {key for key, value in DEFAULTS.items() if value is None}


class Config(ConfigDict):
    """A configuration: each value is taken as the kind of its key asks, wherever it is set.

    A key that is not bioprop's takes anything, since `resolve` alone knows what the rule reads.
    Raises UserError for a value of another kind, and for another rule, whose keys would lack.
    """

    def __setitem__(self, key, value):
        key = str(key)
        if '.' in key:
            raise unknown('config key', key, self)
        value = value if isinstance(value, config_dict.FieldReference) else taken(key, value)
        if key == 'rule' and self.get('rule') and value != self['rule']:
            raise UserError(
                'the keys of a rule come with it: name it after the colon, '
                f'--config=FILE.py:rule={value}, or by bioprop.settings.paper(DATASET, {value!r})'
            )
        super().__setitem__(key, value)

    def update(self, *others, **settings):
        """Sets each key; those of a nested dictionary are added to what is there."""
        for key, value in (pair for other in (*others, settings) for pair in other.items()):
            nested = key in self and isinstance(self[key], ConfigDict)
            added = nested and isinstance(value, dict | ConfigDict)
            self[key] = self[key].to_dict() | dict(value) if added else value


def paper(dataset: str, rule: str, arguments: str = '', /, **settings: Any) -> Config:
    """The paper's experiment with `rule` on `dataset`, changed by settings, ready for overrides.

    arguments is the part after the colon of --config=FILE:ARGUMENTS, 'key=value,key=value'; it
    sets the same keys as --config.key=value, and a rule in it takes the place of `rule`. The keys
    of the rule are there, open, like its rates. Raises UserError for a value that is not of its
    kind, and for a rule that is nowhere.
    """
    split = re.split(r',(?=[\w.]+=)', arguments) if arguments else ()
    given = [argument.partition('=')[::2] for argument in split]
    rule = dict(given).get('rule') or settings.pop('rule', rule)
    if not rule:
        raise UserError(
            f'name the rule after the colon, rule=NAME; known: {", ".join(rules.RULES)}, or your '
            "own as 'module:function'"
        )
    config = Config(_defaults())
    config.update(dict.fromkeys(keys_of(rule)) | {'dataset': dataset, 'rule': rule})
    own = rules.entry(rule).settings
    made_for = {key: value for key, value in own.items() if key in KINDS and key not in OPEN}
    config.update(OF_SETS.get(dataset, {}) | made_for | settings)
    for key, text in given:
        override(config, key, text)
    return config


def keys_of(rule: str) -> tuple[str, ...]:
    """The options of a rule, and its hyperparameters as they are without any option."""
    options = rules.options(rule)
    try:
        return (*options, *rules.get(rule).names)
    except UserError:  # it cannot be made without an option, or at all: `resolve` says it
        return tuple(options)


def with_rule(config: Config, rule: str) -> Config:
    """A copy, with another rule: what was changed is kept, but for the settings of the old rule."""
    if rule == config.rule:
        return copy.deepcopy(config)
    old, new = paper(config.dataset, config.rule), paper(config.dataset, rule)
    kept = {key: value for key, value in config.to_dict().items() if key in KINDS}
    new.update({key: value for key, value in kept.items() if value != old[key]} | {'rule': rule})
    return new


def override(config: Config, key: str, text: str) -> None:
    """config.key = text, as it stands on the command line or after the colon of the file."""
    as_it_stands = KINDS.get(key) is str and not (text == 'None' and key in OPEN)
    config[key] = text if as_it_stands else literal(text)


def whole(found: Mapping[str, Any] | ConfigDict) -> Config:
    """A configuration with every key, each value looked at, from one that may lack some.

    Raises UserError for a wrong value, or if there is no data set or no rule.
    """
    given = found.to_dict() if isinstance(found, ConfigDict) else dict(found)
    for key in ('dataset', 'rule'):
        if key not in given:
            raise UserError(f'the configuration has no {key}: begin with bioprop.settings.paper()')
    config = paper(given['dataset'], given['rule'])
    config.update(given)
    return config


def completed(old: dict[str, Any]) -> dict[str, Any]:
    """A configuration that was written before some keys were there, with their defaults."""
    return paper(old['dataset'], old['rule']).to_dict() | old


def plain(value: Any) -> Any:
    """Numbers and arrays of NumPy and JAX as Python's, and paths as text."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return (list if isinstance(value, list) else tuple)(map(plain, value))
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.tolist() if hasattr(value, 'tolist') else value


def taken(key: str, value: Any) -> Any:
    """The value as config[key] holds it. Raises UserError if it is of another kind."""
    kind = KINDS.get(key, object)
    value = _as_kind(kind, plain(value))
    if kind is object or type(value) is kind or (value is None and key in OPEN):
        return value
    name = 'dict' if kind is ConfigDict else kind.__name__
    raise UserError(f'config.{key} takes {name}, not {value!r}')


def _as_kind(kind: type, value: Any) -> Any:
    """The value in that kind, where it means the same."""
    if kind in (tuple, object) and type(value) is list:
        return tuple(value)
    if kind is tuple and type(value) is int:
        return (value,)
    if kind is ConfigDict and type(value) is dict:
        return ConfigDict(value, type_safe=False)
    if kind is float and type(value) is int:
        return float(value) if abs(value) < 1e300 else value
    return value


def literal(text: str) -> Any:
    """What the text means in Python, or the text itself if it means nothing."""
    try:
        return ast.literal_eval({'true': 'True', 'false': 'False'}.get(text, text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
