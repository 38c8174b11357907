"""The page of a study: its rows, figures and settings through report.html.jinja."""

import base64
import io
import json
import time
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bioprop.errors import UserError
from bioprop.records.writers import clock
from bioprop.settings import resolve
from bioprop.studies.search import search_of
from bioprop.studies.study import purpose_of
from experiments.analysis.origins import origins
from experiments.analysis.overview import Entry, overview
from experiments.analysis.rows import Method, load, panels, winners
from experiments.analysis.spreads import Spread, shown
from experiments.drawing import gallery, style

NOTHING = '\N{EN DASH}'


def spread_text(value: Spread | None, measure: str) -> str:
    """Mean, standard deviation where there are several seeds, and their number."""
    if value is None:
        return NOTHING
    return f'{shown(value, 5 if measure == "loss" else 2)} ({value["seeds"]})'


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
    """Those of all winners as text, a row each, by the labels of their rows."""
    found = {each['label']: resolve.hparams(each['winner']) for each in entries if each['winner']}
    frame = pd.DataFrame({label: pd.Series(each, dtype=object) for label, each in found.items()})
    names = list(dict.fromkeys(name for each in found.values() for name in each))
    return frame.reindex(names).T.map(_short)


def _short(value: Any) -> str:
    numbers = [f'{number:.4g}' for number in np.ravel(value) if not pd.isna(number)]
    return ', '.join(numbers) or NOTHING


def figures(runs: pd.DataFrame) -> dict[str, Figure]:
    """All kinds that there is something to draw of."""
    found = {}
    for draw, _ in gallery.KINDS.values():
        found |= draw(runs)
    if runs.auxiliary_units[runs.auxiliary_units > 0].nunique() < 2:
        found.pop('auxiliary', None)  # one width makes no curve
    return found | gallery.draw_digits(with_weights(runs))


def with_weights(runs: pd.DataFrame) -> pd.DataFrame:
    """A run of each row of autoencoders of one data set that still has its checkpoints."""
    kept = runs.folder.map(lambda folder: (folder / 'checkpoints').exists())
    for _, members in panels(runs[runs.finished & kept], 'loss'):
        return winners(members).drop_duplicates('row')
    return runs[:0]


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
    return [
        each | {'label': _label(each['method'], alike.count(one) > 1)}
        for each, one in zip(found, alike, strict=True)
    ]


def _label(method: Method, several_widths: bool) -> str:
    widths = several_widths and method.units is not None
    return f'{method.label}, {method.units} units' if widths else method.label


def render(template: str, **content: Any) -> str:
    """A page by one of the templates that lie here, whose macros are in shared.html.jinja."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {'spread': spread_text, 'embedded': embedded, 'json': _indented}
    return environment.get_template(template).render(**content)


def page(name: str, told: dict[str, Any], runs: pd.DataFrame, now: str) -> str:
    """The whole page. Raises UserError where there is nothing to report."""
    if runs.empty:
        raise UserError(f'study {name} has no runs yet')
    return render(
        'report.html.jinja',
        name=name,
        now=now,
        purpose=told,
        runs=runs,
        panels=[(p, settings_text(found), labelled(found)) for p, found in panels(runs)],
        figures=figures(runs),
        origins=origins(runs),
        clock=clock,
        told=search_text(told),
        counted=counted,
        hyperparameters=hyperparameters,
        nothing=NOTHING,
    )


def _indented(value: Any) -> str:
    return json.dumps(value, indent=2)


def page_of(study: Path) -> str:
    """The page of what a study's folder holds now. Raises UserError where there is nothing yet."""
    now = time.strftime('%Y-%m-%d %H:%M')
    return page(study.resolve().name, purpose_of(study), load(study), now)
