"""The page of a study: its rows, figures and settings through report.html.jinja."""

import base64
import io
import json
import re
import time
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import numpy as np
from matplotlib.figure import Figure

from bioprop.errors import UserError
from bioprop.records.writers import clock
from bioprop.settings import resolve
from experiments.analysis.origins import origins
from experiments.analysis.overview import Entry, entry
from experiments.analysis.results import Run, load, purpose, search_of
from experiments.analysis.rows import Method, Panel, table, winners
from experiments.analysis.tables import Spread
from experiments.analysis.words import label, several_widths, title
from experiments.drawing import gallery, style
from experiments.drawing.themes import THEMES

NOTHING = '\N{EN DASH}'
CAPTIONS = {
    'curves': 'Training error (running, over the minibatches as they were trained) and test error '
    'over epochs. Lines: mean over the seeds of the winner of each row; bands: one standard '
    'deviation. The axes of errors are logarithmic.',
    'histograms': 'Test accuracies, at the best validation epoch, of the configurations that each '
    'search tried, each where it was trained longest.',
    'auxiliary': 'Test error at the best validation epoch by the number of auxiliary units of '
    'AO-SDTP. Bars: one standard deviation over seeds.',
    'autoencoder_losses': 'Reconstruction loss over epochs, the mean over pixels.',
    'autoencoder_digits': 'The first test image of each class, and what the weights of the best '
    'validation epoch make of it.',
    **{f'diagnostics_{name}_': theme.caption for name, theme in THEMES.items()},
}


def spread_text(value: Spread | None, measure: str) -> str:
    """Mean, standard deviation where there are several seeds, and their number."""
    if value is None:
        return NOTHING
    digits = 5 if measure == 'loss' else 2
    deviation = f' \N{PLUS-MINUS SIGN} {value.deviation:.{digits}f}' if value.seeds > 1 else ''
    return f'{value.mean:.{digits}f}{deviation} ({value.seeds})'


def counted(count: int, diverged: int) -> str:
    """'60, 7 diverged'"""
    return f'{count}, {diverged} diverged' if diverged else str(count)


def search_text(purpose: dict[str, Any]) -> str:
    """How the rows were searched, as far as the launcher tells; '' if it does not."""
    search = search_of(purpose)
    if not search:
        return ''
    rungs = [f'{number} configurations for {epochs} epochs' for number, epochs in search['rungs']]
    named = isinstance(search.get('domain'), str)
    domain = f' of the domain {search["domain"]}' if named else ''
    seeds = f', then {search["seeds"]} seeds of the winner' if 'seeds' in search else ''
    return f'Random search in each row{domain}: {", then ".join(rungs)}{seeds}.'


def settings_text(runs: list[Run]) -> str:
    """What the runs of a table have in common, or where they differ."""
    texts = []
    for name in ('hidden', 'activation', 'optimizer', 'batch_size', 'augment'):
        values = dict.fromkeys(json.dumps(run.config[name]) for run in runs if name in run.config)
        if values:
            texts.append(f'{name} {" or ".join(values)}'.replace('"', ''))
    fractions = sorted({run.config['validation_fraction'] for run in runs})
    held_out = ' or '.join(f'{100 * fraction:g} %' for fraction in fractions)
    return ', '.join([*texts, f'{held_out} of the training images held out'])


def hyperparameters(entries: list[Entry]) -> tuple[list[str], list[tuple[Entry, list[str]]]]:
    """The names of those of all winners, and what each winner has."""
    values = [(each, resolve.hparams(each.winner)) for each in entries if each.winner]
    names = list(dict.fromkeys(name for _, found in values for name in found))
    return names, [(each, [_short(found.get(name)) for name in names]) for each, found in values]


def _short(value: Any) -> str:
    if value is None:
        return NOTHING
    return ', '.join(f'{number:.4g}' for number in np.ravel(value))


def figures(runs: list[Run], searched: bool) -> dict[str, Figure]:
    """All kinds that there is something to draw of."""
    found = {}
    for draw, _ in gallery.KINDS.values():
        found |= draw(runs, searched)
    widths = {run.config.get('auxiliary_units') for run in runs} - {None, 0}
    if len(widths) < 2:
        found.pop('auxiliary', None)  # one width makes no curve
    return found | gallery.draw_digits(with_weights(runs, searched))


def with_weights(runs: list[Run], searched: bool) -> list[Run]:
    """A run of each row of autoencoders of one data set that still has its checkpoints."""
    kept = [run for run in runs if run.summary and (run.folder / 'checkpoints').exists()]
    for panel, methods in table(kept).items():
        if panel.measure == 'loss':
            return [found[0] for found in winners(methods, searched).values()]
    return []


@style.look
def embedded(figure: Figure) -> str:
    """The figure as the address of an image that holds it."""
    stream = io.BytesIO()
    figure.savefig(stream, format='svg', metadata={'Date': None})
    return 'data:image/svg+xml;base64,' + base64.b64encode(stream.getvalue()).decode()


def caption(name: str) -> str:
    """Of a figure, by the name of its file."""
    return next(text for kind, text in CAPTIONS.items() if name.startswith(kind))


def panels(runs: list[Run], searched: bool) -> dict[Panel, list[Entry]]:
    """The rows of all tables."""
    return {
        panel: [entry(panel, method, members, searched) for method, members in methods.items()]
        for panel, methods in table(runs).items()
    }


def template(name: str) -> jinja2.Template:
    """One of those that lie here. All pages look like the report."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {'spread': spread_text, 'panel': title, 'json': _indented}
    report, _, _ = environment.loader.get_source(environment, 'report.html.jinja')
    style = re.search('<style>.*</style>', report, re.DOTALL)[0]
    return environment.get_template(name, globals={'style': markupsafe.Markup(style)})


def page(name: str, told: dict[str, Any], runs: list[Run], now: str) -> str:
    """The whole page. Raises UserError where there is nothing to report."""
    if not runs:
        raise UserError(f'study {name} has no runs yet')
    searched = bool(search_of(told))
    rows = panels(runs, searched)
    return template('report.html.jinja').render(
        name=name,
        now=now,
        purpose=told,
        runs=runs,
        panels=rows,
        widths={panel: several_widths(each.method for each in rows[panel]) for panel in rows},
        figures=[
            (key, embedded(each), caption(key)) for key, each in figures(runs, searched).items()
        ],
        origins=origins(runs),
        hours=sum(each.hours for entries in rows.values() for each in entries),
        label=label,
        clock=clock,
        told=search_text(told),
        settings={
            panel: settings_text(_members(methods)) for panel, methods in table(runs).items()
        },
        counted=counted,
        hyperparameters=hyperparameters,
        nothing=NOTHING,
    )


def _members(methods: dict[Method, list[Run]]) -> list[Run]:
    return [run for runs in methods.values() for run in runs]


def _indented(value: Any) -> str:
    return json.dumps(value, indent=2)


def page_of(study: Path) -> str:
    """The page of what a study's folder holds now. Raises UserError where there is nothing yet."""
    runs = load(study)
    now = time.strftime('%Y-%m-%d %H:%M')
    return page(study.resolve().name, purpose(study), runs, now)
