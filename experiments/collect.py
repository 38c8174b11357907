"""Gathers finished runs into one small file: their summaries, settings and provenance.

python -m experiments.collect --out=results/mnist_fc.json runs/RUN ...
"""

import json
from pathlib import Path

from absl import app, flags

from bioprop.errors import UserError, fail
from bioprop.records.paths import local
from bioprop.records.writers import write_json
from bioprop.settings.resolve import hparams

OUT = flags.DEFINE_string('out', None, 'File to write.', required=True)


def collect(workdir: Path) -> dict:
    """What is worth keeping of a run that has a summary. Raises OSError if it has none."""
    summary = json.loads((workdir / 'summary.json').read_text())
    records = map(json.loads, (workdir / 'metrics.jsonl').read_text().splitlines())
    evaluated = [record for record in records if record['kind'] == 'eval']
    run = json.loads((workdir / 'config.json').read_text())
    config = run['config']
    places = ('--workdir', '--config.data_dir')
    flags_given = [flag for flag in run['overrides'] if not flag.startswith(places)]
    return {
        'command': ' '.join(('python -m bioprop.main', *flags_given)),
        'summary': summary,
        'last_validation_error': evaluated[-1].get('validation_error'),
        'last_test_error': evaluated[-1].get('test_error'),
        'batch_size': config['batch_size'],
        'hparams': hparams(config),
        **{key: run[key] for key in ('commit', 'versions', 'hardware')},
    }


def main(argv: list[str]) -> None:
    """Collects the named workdirs."""
    if len(argv) < 2:
        raise app.UsageError('name the workdirs of finished runs')
    workdirs = [Path(name) for name in argv[1:]]
    for workdir in workdirs:
        if not (workdir / 'summary.json').exists():
            fail(f'{workdir} holds no finished run: it has no summary.json. Leave it out, or wait.')
    try:
        write_json(local(OUT.value, '--out'), [collect(workdir) for workdir in workdirs])
    except UserError as error:
        fail(error)


if __name__ == '__main__':
    app.run(main)
