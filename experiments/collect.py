"""Gathers finished runs into one small file: their summaries, settings and provenance.

python -m experiments.collect --out=results/mnist_fc.json runs/RUN ...
"""

import json
from pathlib import Path

from absl import app, flags

from bioprop.errors import UserError, fail
from bioprop.records.earlier import by_todays_names
from bioprop.records.frames import lines
from bioprop.records.paths import local
from bioprop.records.writers import write_json
from bioprop.running.report import evaluations
from bioprop.settings.resolve import hparams, options

MEASURED = ('residual', 'spike_rate')  # diagnostics that a table of runs shows

OUT = flags.DEFINE_string('out', None, 'File to write.', required=True)


def collect(workdir: Path) -> dict:
    """What is worth keeping of a run. Raises UserError if it has not ended."""
    path = workdir / 'summary.json'
    if not path.exists():
        raise UserError(
            f'{workdir} holds no finished run: it has no summary.json. Leave it out, or wait.'
        )
    run = json.loads((workdir / 'config.json').read_text())
    records = lines(workdir)
    last = [{}, *evaluations(records)][-1]  # one that diverged early has none
    config = by_todays_names(run['config'])
    here = ('--workdir', '--config.data_dir')
    given = ' '.join(flag for flag in run['overrides'] if not flag.startswith(here))
    return {
        'command': f'python -m bioprop.main {given}',
        'summary': json.loads(path.read_text()),
        **{f'last_{name}': last.get(name) for name in ('validation_error', 'test_error')},
        'batch_size': config['batch_size'],
        'hparams': hparams(config),
        'options': options(config),
        'hidden': config['hidden'],
        **{name: measured(records, name) for name in MEASURED},
        **{key: run[key] for key in ('commit', 'versions', 'hardware')},
    }


def measured(records: list[dict], name: str) -> dict[str, float]:
    """The last means of a diagnostic on validation images, by place."""
    kept = [each for each in records if each['kind'] == 'diagnostics']
    kept = [{}, *(each for each in kept if each['part'] == 'validation')][-1]
    places = [key.split('/')[1:] for key in kept if key.startswith(f'{name}/')]
    return {each[0]: kept[f'{name}/{each[0]}'] for each in places if len(each) == 1}


def main(argv: list[str]) -> None:
    """Collects the named workdirs."""
    if len(argv) < 2:
        raise app.UsageError('name the workdirs of finished runs')
    try:
        write_json(local(OUT.value, '--out'), [collect(Path(name)) for name in argv[1:]])
    except UserError as error:
        fail(error)


if __name__ == '__main__':
    app.run(main)
