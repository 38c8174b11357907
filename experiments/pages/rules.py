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
epoch, of one seed, and in brackets the epochs that it was trained for, by the commands below.
"""

STRENGTHS = ('gamma', 'beta', 'eta', 'mix')
RELAXED = """
*gamma* is the strength of what comes from above: below 1, that of the sources, feedback is called
weak. *residual* is the largest change of a unit by one sweep more, on validation images after the
last epoch; *read* says which states the prediction is read from. A run without these was made
before they were kept.
"""


def page(results: Path) -> str:
    """The page, in Markdown; results is a file of `experiments.collect`, or none yet."""
    runs = json.loads(results.read_text()) if results.exists() else []
    told = [_row(name, entry, runs) for name, entry in CATALOGUE.items()]
    table = tabulate.tabulate(told, headers='keys', tablefmt='github', disable_numparse=True)
    described = itertools.groupby(
        sorted(CATALOGUE, key=_first_of_file), lambda name: sys.modules[_file(name)]
    )
    parts = [_section(module, list(names)) for module, names in described]
    commands = [f'    {run["command"]}' for run in runs]
    introduction = INTRODUCTION.format(results=f'results/{results.name}')
    missing = '\n'.join(f'* {name}: {reason}.' for name, reason in MISSING.items())
    parts += _relaxing(runs)
    parts += ['## Rules that are not here', missing]
    return '\n\n'.join([introduction.strip(), table, *parts, *_commands(commands)]) + '\n'


def _row(name: str, entry: Entry, runs: list[dict]) -> dict[str, str]:
    told = [run['summary'] for run in runs if run['summary']['rule'] == name]
    ours = {(x['dataset'], x['net']): f'{x[SCORE]:.2f} ({x["epochs"]})' for x in told}
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


def _file(name: str) -> str:
    """The module that a rule is in."""
    return CATALOGUE[name].make.__module__


def _first_of_file(name: str) -> int:
    """Files come in the order of their first rules."""
    return next(place for place, other in enumerate(CATALOGUE) if _file(other) == _file(name))


def _section(module, names: list[str]) -> str:
    title, _, text = inspect.cleandoc(module.__doc__).partition('\n\n')
    lines = [f'* `{name}`: {" ".join(_said(name).split())}' for name in names]
    sources = sorted({source for name in names for source in CATALOGUE[name].sources})
    block = f'```\n{text}\n```\n\n' if text.strip() else ''
    return f'## {title}\n\n{block}' + '\n'.join(lines) + f'\n\nSources: {"; ".join(sources)}.'


def _said(name: str) -> str:
    """A constructor's docstring, with its options."""
    options = ', '.join(f'{key}={value!r}' for key, value in rules.options(name).items())
    doc = inspect.getdoc(CATALOGUE[name].make)
    return f'{doc} Options: `{options}`.' if options else doc


def _relaxing(runs: list[dict]) -> list[str]:
    """How our runs of rules that relax did so."""
    rows = [_relaxed(run) for run in runs if rules.get(run['summary']['rule']).phases]
    if not rows:
        return []
    table = tabulate.tabulate(rows, headers='keys', tablefmt='github', disable_numparse=True)
    return ['## How rules relax in our runs', RELAXED.strip(), table]


def _relaxed(run: dict) -> dict[str, str]:
    told, own = run['summary'], run['hparams']
    rule = rules.get(told['rule'])
    weak = ', weak feedback' if weak_feedback(told['rule'], own) else ''
    found = {name: f'{value:.0e}' for name, value in run.get('residual', {}).items()}
    options = run.get('options', {}).items()
    return {
        'rule': CATALOGUE[told['rule']].label + weak,
        'net': told['net'],
        'error (%)': f'{told[SCORE]:.2f} ({told["epochs"]})',
        **{name: f'{own[name]:g}' if name in own else '' for name in STRENGTHS},
        'options': ', '.join(f'{name} {value}' for name, value in options),
        **{f'residual, {phase}': found.get(phase, '') for phase in PHASES},
        'read': 'relaxed' if rule.infer else 'passed forward',
    }


def _commands(lines: list[str]) -> list[str]:
    return ['## Commands of our numbers', '\n'.join(lines)] if lines else []
