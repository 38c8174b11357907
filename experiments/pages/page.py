"""The page of a study: its rows, figures and settings through report.html.jinja."""

import base64
import functools
import io
import json
import time
from numbers import Real
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bioprop.errors import UserError
from bioprop.records.spreads import Spread
from bioprop.records.writers import clock
from bioprop.settings import resolve
from bioprop.studies.search import search_of
from bioprop.studies.study import purpose_of
from experiments.analysis.origins import origins
from experiments.analysis.overview import Entry, overview
from experiments.analysis.rows import load, panels, winners
from experiments.analysis.text import shown
from experiments.drawing import gallery, style

NOTHING = '\N{EN DASH}'


def spread_text(value: Spread | None, measure: str) -> str:
    """Mean, standard deviation where there are several seeds, and their number."""
    if value is None:
        return NOTHING
    return f'{shown(value, 5 if measure == "loss" else 2)} ({value["seeds"]})'


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


def settings_text(runs: pd.DataFrame) -> str:
    """What the runs of a table have in common, or where they differ."""
    texts = []
    for name in ('hidden', 'activation', 'optimizer', 'batch_size', 'augment'):
        values = {json.dumps(config[name]): name for config in runs.config if name in config}
        if values:
            texts.append(f'{name} {" or ".join(values)}'.replace('"', ''))
    held_out = ' or '.join(f'{100 * part:g} %' for part in sorted(set(runs.validation_fraction)))
    return ', '.join([*texts, f'{held_out} of the training images held out'])


def hyperparameters(entries: list[Entry]) -> pd.DataFrame:
    """Those of all winners as text, and their options, a row each, by the labels of their rows."""
    won = [entry for entry in entries if entry['winner']]
    configs = [entry['winner'] for entry in won]
    found = [resolve.hparams(config) | resolve.options(config) for config in configs]
    return pd.DataFrame(found, dtype=object).set_axis([e['label'] for e in won]).map(short)


def short(value: Any) -> str:
    """A setting, or several of layers, in four digits."""
    parts = [each for each in np.ravel(value) if not pd.isna(each)]
    numbers = [f'{x:.4g}' if isinstance(x, Real) else str(x) for x in parts]
    return ', '.join(numbers) or NOTHING


def figures(runs: pd.DataFrame) -> dict[str, Figure]:
    """All kinds that there is something to draw of."""
    found = {}
    for draw, _ in gallery.KINDS.values():
        found |= draw(runs)
    if len({method.units for method in runs.method} - {None, 0}) < 2:
        found.pop('auxiliary', None)  # one width makes no curve
    return found | gallery.draw_digits(with_weights(runs))


def with_weights(runs: pd.DataFrame) -> pd.DataFrame:
    """A run of each row of autoencoders of one data set that still has its checkpoints."""
    kept = runs[runs.finished & runs.folder.map(lambda folder: (folder / 'checkpoints').exists())]
    return next((winners(found) for _, found in panels(kept, 'loss')), kept[:0]).drop_duplicates(
        'row'
    )


@style.look
def embedded(figure: Figure) -> str:
    """The figure as the address of an image that holds it."""
    stream = io.BytesIO()
    figure.savefig(stream, format='svg', metadata={'Date': None})
    return 'data:image/svg+xml;base64,' + base64.b64encode(stream.getvalue()).decode()


def labelled(runs: pd.DataFrame) -> list[Entry]:
    """The rows of a panel with their labels: those of several auxiliary widths tell them."""
    found = overview(runs)
    alike = [each['method']._replace(units=None) for each in found]
    for each, one in zip(found, alike, strict=True):
        width = f', {each["method"].units} units' if alike.count(one) > 1 else ''
        each['label'] = one.label + width
    return found


def render(template: str, **content: Any) -> str:
    """A page by one of the templates that lie here, whose macros are in shared.html.jinja."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    indented = functools.partial(json.dumps, indent=2)
    environment.filters |= {'spread': spread_text, 'embedded': embedded, 'json': indented}
    return environment.get_template(template).render(**content)


def page_of(study: Path) -> str:
    """The page of what a study's folder holds now. Raises UserError where there is nothing yet."""
    runs, purpose, name = load(study), purpose_of(study), study.resolve().name
    if runs.empty:
        raise UserError(f'study {name} has no runs yet')
    return render(
        'report.html.jinja',
        name=name,
        now=time.strftime('%Y-%m-%d %H:%M'),
        purpose=purpose,
        told=search_text(purpose),
        runs=runs,
        panels=[(p, settings_text(found), labelled(found)) for p, found in panels(runs)],
        figures=figures(runs),
        origins=origins(runs),
        hyperparameters=hyperparameters,
        clock=clock,
        nothing=NOTHING,
    )
