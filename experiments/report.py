"""One HTML page on a study: what was run, tables, figures, winners, versions and hardware.

python -m experiments.report --study=FOLDER [--out=FILE.html]

The page holds everything itself: no network, no scripts. It works while the study is in progress.
"""

import base64
import io
import json
import time
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from absl import flags
from matplotlib.figure import Figure

from bioprop import resolve
from bioprop.errors import UserError
from bioprop.writers import write_whole
from experiments import gallery
from experiments.drawing import style
from experiments.launch import STUDY, launch
from experiments.overview import Entry, entry, origins
from experiments.results import Run, load, was_searched
from experiments.rows import Panel, table, winners
from experiments.tables import Spread
from experiments.words import label, several_widths, title

OUT = flags.DEFINE_string('out', None, 'File for the page. Default: STUDY/report.html.')

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


def page(name: str, purpose: dict[str, Any], runs: list[Run], searched: bool, now: str) -> str:
    """The whole page. Raises UserError where there is nothing to report."""
    if not runs:
        raise UserError(f'study {name} has no runs yet')
    rows = panels(runs, searched)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {'spread': spread_text, 'panel': title, 'json': _indented}
    return environment.get_template('report.html.jinja').render(
        name=name,
        now=now,
        purpose=purpose,
        runs=runs,
        panels=rows,
        widths={panel: several_widths(each.method for each in rows[panel]) for panel in rows},
        figures=[
            (key, embedded(each), caption(key)) for key, each in figures(runs, searched).items()
        ],
        origins=origins(runs),
        hours=sum(each.hours for entries in rows.values() for each in entries),
        label=label,
        counted=counted,
        hyperparameters=hyperparameters,
        nothing=NOTHING,
    )


def _indented(value: Any) -> str:
    return json.dumps(value, indent=2)


def main(argv: list[str]) -> None:
    """Writes the page."""
    if not STUDY.value:
        raise UserError('name the study: --study=FOLDER')
    study = Path(STUDY.value)
    runs, path = load(study), study / 'study.json'
    purpose = json.loads(path.read_text()) if path.exists() else {}
    now = time.strftime('%Y-%m-%d %H:%M')
    text = page(study.resolve().name, purpose, runs, was_searched(study), now)
    out = Path(OUT.value) if OUT.value else study / 'report.html'
    write_whole(out, text)
    print(out)


if __name__ == '__main__':
    launch(main)
