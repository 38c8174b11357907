"""Numbers that stand once: those of Bartunov et al. 2018, and our own settings beside them."""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bioprop.errors import UserError

FOLDER = Path(__file__).parent


@functools.cache
def tables() -> dict:
    """Tables 1 to 5 of the paper."""
    return json.loads((FOLDER / 'bartunov2018.json').read_text())


@functools.cache
def _tuned() -> dict:
    return json.loads((FOLDER / 'tuned.json').read_text())


def row_name(net: str, rule: str, schedule: str) -> str:
    """The name of a row in the paper's tables: 'bp', 'bp_conv', 'dtp_alternating', ..."""
    if rule in ('dtp', 'sdtp', 'ao_sdtp'):
        return f'{rule}_{schedule.removesuffix("_step")}'
    return 'bp_conv' if (rule, net) == ('bp', 'conv') else rule


def architecture(dataset: str, net: str) -> dict:
    """An entry of table 3; the convolutional net is the locally connected one, weights shared.

    Raises UserError for a data set that the paper has no such net for, and for a net of the user's
    own.
    """
    if ':' in net:
        raise UserError(f'the paper has no net={net}: set --config.hidden=(LAYERS)')
    try:
        return tables()['table3_architectures'][_shape_of_net(dataset, net)]
    except KeyError:
        raise UserError(
            f'the paper has no net={net} for {dataset!r}: set --config.hidden=(LAYERS), or '
            '--config.paper_dataset=mnist, cifar10 or imagenet to take the net and settings of that'
            ' set'
        ) from None


def hidden_layers(dataset: str, net: str) -> tuple:
    """Hidden layers of a net of table 3, as `bioprop.feedforward` takes them.

    Raises UserError as `architecture` does.
    """
    found = architecture(dataset, net)
    if net == 'fc':
        return tuple(found['hidden'])
    return (*map(tuple, found['local']), *found['dense'])


def has_layers(hidden: Sequence, dataset: str, net: str) -> bool:
    """Whether hidden layers, in tuples or lists, are those of a net of table 3.

    Raises UserError as `architecture` does.
    """
    return _listed(hidden) == _listed(hidden_layers(dataset, net))


def options(dataset: str, rule: str) -> dict:
    """A rule's options where the paper gives them: AO-SDTP's width on CIFAR-10."""
    wide = rule == 'ao_sdtp' and dataset in ('cifar10', 'imagenet')
    return {'auxiliary_units': 512} if wide else {}


def figures(config: dict) -> dict[str, float] | None:
    """The errors in percent of table 1, 'train' and 'test', for a resolved configuration.

    None where it has none, or a net of other layers is trained. The paper alternates by epoch. Its
    auxiliary units are known for CIFAR-10; elsewhere ours count.
    """
    names = ('dataset', 'net', 'rule', 'schedule')
    dataset, net, rule, schedule = (config[name] for name in names)
    rows = tables()['table1'].get(dataset, {}).get('lc' if net == 'conv' else net, {})
    found = rows.get(row_name(net, rule, schedule))
    units = options(dataset, rule).get('auxiliary_units', 256)
    same = (
        found
        and config['loss'] == 'softmax_cross_entropy'
        and schedule != 'alternating_step'
        and has_layers(config['hidden'], dataset, net)
        and config.get('auxiliary_units') in (None, units)
    )
    return found if same else None


def _listed(layers: Any) -> Any:
    return list(map(_listed, layers)) if isinstance(layers, list | tuple) else layers


def hyperparameters(source: str, dataset: str, net: str, rule: str, schedule: str) -> dict:
    """Hyperparameters from 'tuned' (ours) where there are any, else 'published'; {} if neither.

    The paper gives none for AO-SDTP: it gets those of SDTP. The two alternating schedules share
    a row. Of the convolutional net it gives BP's alone: other rules get those of the locally
    connected net, and so does every rule on a net of the user's own.
    """
    name = _shape_of_net(dataset, net)
    tuned = _tuned().get(name, {}).get(row_name(net, rule, schedule))
    if source == 'tuned' and tuned:
        return tuned
    rows = tables()['table5_best_hyperparameters'].get(name, {})
    return rows.get(row_name(net, 'sdtp' if rule == 'ao_sdtp' else rule, schedule), {})


def _shape_of_net(dataset: str, net: str) -> str:
    return f'{dataset}_{"fc" if net == "fc" else "lc"}'
