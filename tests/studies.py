"""A study written by hand: a folder with the records that runs would leave."""

import json

from bioprop.studies.study import run_name

PROVENANCE = {'versions': {'python': '3.11', 'jax': '0.10'}, 'commit': 'abc+', 'hardware': '1 cpu'}


def config(rule='bp', **settings):
    """A resolved configuration, as far as figures and reports read it."""
    return {
        'rule': rule, 'schedule': 'parallel', 'net': 'fc', 'dataset': 'mnist',
        'hidden': [256] * 5, 'activation': 'tanh', 'loss': 'softmax_cross_entropy',
        'batch_size': 100, 'augment': False,
        'validation_fraction': 0.1, 'epochs': 2, 'seed': 1, 'optimizer': 'adam', 'lr': 0.1,
        'feedback_lr': None, 'data_dir': None, 'image_size': None, 'precision': 'float32',
        'accumulate': 1,
        **{
            side + name: None
            for side in ('', 'feedback_')
            for name in ('beta1', 'beta2', 'eps', 'momentum', 'clip', 'weight_decay')
        },
        'alpha': 0.1, 'sigma': 0.1, 'scale': 1.0, 'inverse_scale': 1.0, 'feedback_scale': 1.0,
    } | settings  # fmt: skip


def write(study, config, train, test, *, ended=True, diverged=False):
    """A run with these scores at its epochs; validation scores are one above those of the test."""
    measure = 'loss' if config['loss'] == 'reconstruction' else 'error'
    folder = study / 'runs' / run_name(config)
    folder.mkdir(parents=True)
    records = []
    for epoch, (trained, tested) in enumerate(zip(train, test, strict=True), 1):
        if config['schedule'] == 'alternating':
            records.append(_trained(epoch, 'feedback', feedback_loss=1.0))
        records.append(_trained(epoch, 'forward', **{measure: trained, 'feedback_loss': 1.0}))
        scores = {f'validation_{measure}': tested + 1, f'test_{measure}': tested}
        records.append({'kind': 'eval', 'step': 10 * epoch, 'epoch': epoch, **scores, 'seconds': 0})
    (folder / 'metrics.jsonl').write_text(''.join(json.dumps(each) + '\n' for each in records))
    (folder / 'config.json').write_text(json.dumps({'config': config, **PROVENANCE}))
    if ended:
        best = min(test, default=None)
        summary = {
            f'train_{measure}': None if diverged else min(train),
            f'validation_{measure}': None if best is None else best + 1,
            f'test_{measure}_at_best_validation': best,
            f'best_test_{measure}': best,
            'seconds': 360.0,
            'diverged': diverged,
        }
        (folder / 'summary.json').write_text(json.dumps(summary))
        line = {'run': folder.name, 'config': config, 'summary': summary}
        with (study / 'results.jsonl').open('a') as file:
            file.write(json.dumps(line) + '\n')


def _trained(epoch, phase, **values):
    return {
        'kind': 'train', 'step': 10 * epoch, 'epoch': epoch, 'phase': phase, **values,
        'seconds': 2.0, 'examples_per_second': 50.0,
    }  # fmt: skip


def searched(study):
    """A search of BP, of which lr = 0.1 won, and DTP alternating with published settings."""
    study.mkdir(parents=True, exist_ok=True)
    write(study, config(seed=0, lr=0.1), [9, 5], [8, 6])
    write(study, config(seed=0, lr=0.5), [60, 50], [50, 30])
    write(study, config(seed=0, lr=0.9), [], [], diverged=True)
    for seed, shift in ((1, 0), (2, 1), (3, 5)):
        write(study, config(seed=seed, lr=0.1), [10 + shift, 4 + shift], [9 + shift, 7 + shift])
        dtp = config('dtp', schedule='alternating', seed=seed, feedback_lr=0.01)
        write(study, dtp, [20 + shift, 10], [25, 11 + shift])
    return study
