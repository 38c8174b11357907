"""The page of all rules: what each is, what it costs, what was published of it and what we have."""

import inspect
import itertools
import json
import sys
from pathlib import Path

import tabulate

from bioprop import rules
from bioprop.rules import CATALOGUE, Entry
from bioprop.rules.base import PHASES
from bioprop.rules.catalogue import MISSING
from bioprop.settings.published import has_layers
from experiments.analysis.rows import weak_feedback
from experiments.benchmarks.nets import paper_net
from experiments.benchmarks.step import work_in_bp

NET, SCORE = 'mnist_fc', 'test_error_at_best_validation'
COLUMNS = {
    ('mnist', 'fc'): 'fc', ('mnist', 'lc'): 'lc', ('mnist', 'conv'): 'conv',
    ('fashion_mnist', 'fc'): 'Fashion fc',
}  # fmt: skip
TRANSPORT = {'none': 'nothing', 'top': 'W_L', 'signs': 'signs of W', 'all': 'W'}
INTRODUCTION = """# The rules

Made by `python -m experiments.rules` from `bioprop/rules/catalogue.py`, the docstrings of the rules
and `{results}`.

*transports* says which forward weights the signals of hidden layers use, for given activities, as
`check_rule` finds; *products* the work of a training step on MNIST's 5 x 256 net, in those of
backpropagation; *published* an error that was read in its source, on the net named there; *fc*,
*lc* and *conv* our test error on MNIST, and *Fashion fc* on Fashion-MNIST, at the best validation
epoch, of one seed, and in brackets the epochs that it was trained for and the hidden layers where
they are not the paper's, by the commands below.
"""

STRENGTHS = ('gamma', 'beta', 'eta', 'mix')
RELAXED = """
*gamma* is the strength of what comes from above: below 1, that of the sources, feedback is called
weak. *residual* is the largest change of a unit by one sweep more, on validation images after the
last epoch; *read* says which states the prediction is read from. A machine that is
solved exactly has no residual.
"""

SPIKING = """
*steps* are those of a phase, of which the first, *settle*, do not count: of a millisecond under SD
and 0.25 ms under BA. Rates are means over the units of a layer, on validation images after the last
epoch.
"""


def page(results: Path) -> str:
    """The page, in Markdown; results is a file of `experiments.collect`, or none yet."""
    runs = json.loads(results.read_text()) if results.exists() else []
    told = [_row(name, entry, runs) for name, entry in CATALOGUE.items()]
    described = itertools.groupby(
        sorted(CATALOGUE, key=_first_of_file), lambda name: sys.modules[_file(name)]
    )
    parts = [_section(module, list(names)) for module, names in described]
    commands = [f'    {run["command"]}' for run in runs]
    introduction = INTRODUCTION.format(results=f'results/{results.name}')
    missing = '\n'.join(f'* {name}: {reason}.' for name, reason in MISSING.items())
    parts += [*_relaxing(runs), *_spiking(runs)]
    parts += ['## Rules that are not here', missing]
    return '\n\n'.join([introduction.strip(), _table(told), *parts, *_commands(commands)]) + '\n'


def _row(name: str, entry: Entry, runs: list[dict]) -> dict[str, str]:
    own = sorted((run for run in runs if run['summary']['rule'] == name), key=_apart, reverse=True)
    ours = {(run['summary']['dataset'], run['summary']['net']): _score(run) for run in own}
    published = [f'{each.error} ({each.task}; {each.source})' for each in entry.published]
    return {
        'rule': entry.label,
        '`rule=`': f'`{name}`',
        'family': entry.family,
        'transports': TRANSPORT.get(entry.claims.get('transport'), ''),
        'products': f'{work_in_bp(name, paper_net(NET)):.2f}',
        'published (%)': '; '.join(published),
        **{f'{words} (%)': ours.get(place, '') for place, words in COLUMNS.items()},
    }


def _apart(run: dict) -> tuple[bool, bool]:
    """Whether a run is of another net than the paper's, and of other options than the rule's."""
    return bool(_layers(run)), run['options'] != rules.options(run['summary']['rule'])


def _layers(run: dict) -> str:
    """Hidden layers where they are not the paper's: '3 x 1000'."""
    told, hidden = run['summary'], run['hidden']
    if has_layers(hidden, 'mnist', told['net']):
        return ''
    each = {json.dumps(layer) for layer in hidden}
    many = f'{len(hidden)} x ' if len(hidden) > 1 else ''
    return many + each.pop() if len(each) == 1 else '-'.join(map(str, hidden))


def _score(run: dict) -> str:
    told, layers = run['summary'], _layers(run)
    return f'{told[SCORE]:.2f} ({told["epochs"]}{layers and "; " + layers})'


def _file(name: str) -> str:
    """The module that a rule is in."""
    return CATALOGUE[name].make.__module__


def equations(name: str) -> str:
    """The docstring of that module."""
    return inspect.cleandoc(sys.modules[_file(name)].__doc__)


def _first_of_file(name: str) -> int:
    """Files come in the order of their first rules."""
    return next(place for place, other in enumerate(CATALOGUE) if _file(other) == _file(name))


def _section(module, names: list[str]) -> str:
    title, _, text = inspect.cleandoc(module.__doc__).partition('\n\n')
    lines = [f'* `{name}`: {" ".join(said(name).split())}' for name in names]
    sources = sorted({source for name in names for source in CATALOGUE[name].sources})
    block = f'```\n{text}\n```\n\n' if text.strip() else ''
    return f'## {title}\n\n{block}' + '\n'.join(lines) + f'\n\nSources: {"; ".join(sources)}.'


def said(name: str) -> str:
    """A constructor's docstring, with its options."""
    options = ', '.join(f'{key}={value!r}' for key, value in rules.options(name).items())
    doc = inspect.getdoc(CATALOGUE[name].make)
    return f'{doc} Options: `{options}`.' if options else doc


def _relaxing(runs: list[dict]) -> list[str]:
    """How our runs of rules that relax did so."""
    rows = [_relaxed(run) for run in runs if rules.get(run['summary']['rule']).phases]
    return _told('How rules relax in our runs', RELAXED, rows)


def _told(title: str, words: str, rows: list[dict[str, str]]) -> list[str]:
    """A section with a table; none without rows."""
    return [f'## {title}', words.strip(), _table(rows)] if rows else []


def _table(rows: list[dict[str, str]]) -> str:
    return tabulate.tabulate(rows, headers='keys', tablefmt='github', disable_numparse=True)


def _relaxed(run: dict) -> dict[str, str]:
    told, own = run['summary'], run['hparams']
    rule = rules.get(told['rule'])
    weak = ', weak feedback' if weak_feedback(told['rule'], own) else ''
    found = {name: f'{value:.0e}' for name, value in run['residual'].items()}
    return {
        'rule': CATALOGUE[told['rule']].label + weak,
        'net': told['net'],
        'error (%)': _score(run),
        **{name: f'{own[name]:g}' if name in own else '' for name in STRENGTHS},
        'options': _listed(run['options']),
        **{f'residual, {phase}': found.get(phase, '') for phase in PHASES},
        'read': 'relaxed' if rule.infer else 'passed forward',
    }


def _listed(options: dict) -> str:
    return ', '.join(f'{name} {value}' for name, value in options.items())


def _spiking(runs: list[dict]) -> list[str]:
    """How our runs of nets that spike did so."""
    rows = [_spiked(run) for run in runs if run['spike_rate']]
    return _told('How rules spike in our runs', SPIKING, rows)


def _spiked(run: dict) -> dict[str, str]:
    return {
        'rule': CATALOGUE[run['summary']['rule']].label,
        'net': run['summary']['net'],
        'error (%)': _score(run),
        'options': _listed(run['options']),
        'images a second': f'{run["summary"]["examples_per_second"]:,.0f}',
        **{
            f'spikes a second, {place.replace("_", " ")}': f'{rate:.0f}'
            for place, rate in run['spike_rate'].items()
        },
    }


def _commands(lines: list[str]) -> list[str]:
    return ['## Commands of our numbers', '\n'.join(lines)] if lines else []
