"""The keys of a configuration, with their defaults.

A config file calls `paper(dataset, rule, arguments)` and names what it wants otherwise. A key left
at None is filled in by `bioprop.resolve` after all overrides are parsed.
"""

import ast
import re
from typing import Any

from ml_collections import ConfigDict, config_dict

from bioprop.errors import UserError, unknown

# The two trained sides, and the prefix of their keys.
SIDES = {'forward': '', 'feedback': 'inverse_'}
# Options of optimisers, as optax names them.
OPTIONS = {'beta1': 'b1', 'beta2': 'b2', 'eps': 'eps', 'momentum': 'momentum'}
# Hyperparameters of rules: a number, or a tuple with one for each layer.
OF_RULES = ('alpha', 'sigma', 'scale', 'inverse_scale', 'feedback_scale')

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


def paper(dataset: str, rule: str, arguments: str = '', /, **settings: Any) -> ConfigDict:
    """The paper's experiment with `rule` on `dataset`, changed by settings, ready for overrides.

    arguments is the part after the colon of --config=FILE:ARGUMENTS, 'key=value,key=value'; it
    sets the same keys as --config.key=value. Raises UserError if it cannot be read.
    """
    config = ConfigDict()
    config.dataset = dataset  # mnist_mini, or any image classification set of TFDS
    config.data_dir = config_dict.placeholder(str)  # folder of prepared sets; None: TFDS's own
    config.validation_fraction = 0.1  # of the training set, its last part, for every selection
    config.augment = config_dict.placeholder(bool)  # random crops and flips; None: as in the paper
    config.image_size = config_dict.placeholder(int)  # of crops read from disk as they are needed;
    # None: the whole set is held in memory, its images as they are
    # Whose settings: mnist, mnist_autoencoder, cifar10 or imagenet.
    config.paper_dataset = config_dict.placeholder(str)
    config.hyperparameters = 'published'  # or 'tuned' (ours, where there are): for those at None

    # fc, lc (locally connected), conv (the same with shared weights), or a local layer of your own
    # as 'module:function'.
    config.net = 'fc'
    # Hidden layers, bottom first: a width, or (kernel size, channels, stride) in lc and conv.
    config.hidden = config_dict.placeholder(tuple)
    config.activation = 'tanh'
    config.loss = 'softmax_cross_entropy'  # or squared_error: reconstructs its grey input

    config.rule = rule  # bp, fa, dfa, dtp, sdtp, ao_sdtp, or your own as 'module:function'
    config.rule_options = ConfigDict()  # keyword arguments for your own rule's function
    config.auxiliary_units = config_dict.placeholder(int)  # of ao_sdtp
    config.feedback = config_dict.placeholder(str)  # of dfa: stored, or regenerated in every step
    config.schedule = 'parallel'  # or alternating (by epoch), alternating_step

    config.epochs = 500
    config.batch_size = 100
    config.seed = 0

    for side in SIDES.values():
        config[f'{side}optimizer'] = 'adam'  # an optimiser of optax
        for name in ('lr', *OPTIONS, 'clip', 'weight_decay'):  # clip: global norm of the gradient
            config[side + name] = config_dict.placeholder(float)
    for name in OF_RULES:
        config[name] = config_dict.placeholder(object)

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

    config.update(OF_SETS.get(dataset, {}) | settings)
    for argument in re.split(r',(?=\w+=)', arguments) if arguments else ():
        _set(config, *argument.partition('=')[::2])
    return config


def completed(old: dict[str, Any]) -> dict[str, Any]:
    """A configuration that was written before some keys were there, with their defaults."""
    return paper(old['dataset'], old['rule']).to_dict() | old


def _set(config: ConfigDict, key: str, text: str) -> None:
    """config.key = text, read as the command line reads it."""
    if key not in config:
        raise unknown('config key', key, config.keys())
    kind = config.get_type(key)
    try:
        value = text if kind is str else ast.literal_eval(text)
        if kind is float and type(value) is int:
            value = float(value)
        if kind in (int, float) and type(value) is not kind:
            raise TypeError
        config[key] = value
    except (ValueError, SyntaxError, TypeError):
        raise UserError(f'config.{key} takes {kind.__name__}, not {text!r}') from None
