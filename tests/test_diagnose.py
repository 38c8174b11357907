"""What diagnostics found: figures and tables show the numbers of records written by hand."""

import json
import math
import re
import shutil
import statistics
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import studies
from scipy import stats
from test_report import Reader
from test_stream import write_photos

from bioprop.errors import UserError
from bioprop.records import numbers
from bioprop.records.checkpoint import Checkpoints, read_all
from bioprop.running import looks as looks_at
from bioprop.running.run import make_run
from bioprop.running.train import train
from bioprop.settings import paper
from bioprop.settings.resolve import resolve
from bioprop.studies.study import run_name
from experiments.analysis import insights
from experiments.analysis.rows import load, read
from experiments.drawing import gallery, panes
from experiments.drawing.panes import Pane, Trace
from experiments.drawing.themes import ANGLE, METRICS, RATIO, THEMES, metrics_of
from experiments.pages import run_page

SHIFTS = (0.0, 1.0, 5.0)  # of the seeds


def record(part, step, epoch, **numbers):
    return {'kind': 'diagnostics', 'part': part, 'step': step, 'epoch': epoch, **numbers}


def angles(value):
    """The angle of each of two layers and of both, with a spread over images of one."""
    return {
        'signal_angle/layer_1': value, 'signal_angle/layer_1/spread': 2.0,
        'signal_angle/layer_2': value / 2, 'signal_angle/total': value + 1, 'target_rank': value,
    }  # fmt: skip


def write(study, config, shift=0.0, **told):
    """A run of two epochs with records before steps 1, 6 and 11, 16, and after each epoch."""
    studies.write(study, config, [10, 5], [9, 6], **told)
    path = study / 'runs' / run_name(config) / 'metrics.jsonl'
    found = [
        record('train', 1, 1, **angles(90 + shift)), record('train', 6, 1, **angles(80 + shift)),
        record('validation', 10, 1, **angles(70 + shift), seconds=0.1),
        record('train', 11, 2, **angles(60 + shift)), record('train', 16, 2, **angles(50 + shift)),
        record('validation', 20, 2, **angles(40 + shift), saturation=math.nan),
    ]  # fmt: skip
    with path.open('a') as file:
        file.writelines(json.dumps(each) + '\n' for each in found)
    return path.parent


@pytest.fixture
def study(tmp_path):
    """SDTP and AO-SDTP, parallel, three seeds each; BP without diagnostics."""
    for seed, shift in enumerate(SHIFTS, 1):
        write(tmp_path, studies.config('sdtp', seed=seed, feedback_lr=0.1), shift)
        config = studies.config('ao_sdtp', seed=seed, feedback_lr=0.1, auxiliary_units=8)
        write(tmp_path, config, shift - 10)
    studies.write(tmp_path, studies.config(), [9], [9])
    return tmp_path


def lines_of(axis):
    """The x and y of each line of means, also of those with bars."""
    lines = [line for line in axis.get_lines() if line.get_gid() == 'mean']
    return [np.array([line.get_xdata(), line.get_ydata()], float) for line in lines]


def test_names_are_taken_apart():
    names = {
        'update_angle/kernel/layer_12': ('update_angle/kernel', 'layer_12', 12),
        'signal_angle/total': ('signal_angle', 'total', None),
        'target_rank': ('target_rank', '', None),
    }
    found = numbers.apart(pd.DataFrame([dict.fromkeys(names, 1.0) | {'step': 3}]), ['step'])
    found = found.astype({'layer': object}).replace({np.nan: None})
    told = zip(found.metric, found.place, found.layer, strict=True)
    assert list(told) == list(names.values())
    assert set(found.value) == {1.0}
    beside = pd.DataFrame([{'step': 3, 'a/layer_1': 1.0, 'a/layer_1/spread': 2.0, 'b': math.inf}])
    (only,) = numbers.apart(beside, ['step']).itertuples()
    assert (only.metric, only.layer, only.value, only.over_images) == ('a', 1, 1.0, 2.0)


def test_figures_show_means_and_deviations_over_seeds(study):
    figures = gallery.draw('diagnostics', study)
    assert list(figures) == ['diagnostics_signal_mnist_fc', 'diagnostics_diversity_mnist_fc']
    layers, epochs = figures['diagnostics_signal_mnist_fc'].axes
    mean, deviation = statistics.mean(SHIFTS), statistics.stdev(SHIFTS)
    for number, lower in enumerate((0, 10)):
        last = 40 + mean - lower
        x, y = lines_of(layers)[number]
        np.testing.assert_allclose(y, [last, last / 2])
        np.testing.assert_allclose(x, [1, 2], atol=panes.APART)
        np.testing.assert_allclose(lines_of(epochs)[number], [[1, 2], [last + 31, last + 1]])
        (stems,) = layers.containers[number].lines[2]
        lengths = [np.ptp(stem[:, 1]) / 2 for stem in stems.get_segments()]
        np.testing.assert_allclose(lengths, [deviation, deviation / 2])
        corners = epochs.collections[number].get_paths()[0].vertices
        np.testing.assert_allclose(np.ptp(corners[corners[:, 0] == 2, 1]), 2 * deviation)
    (ranks,) = figures['diagnostics_diversity_mnist_fc'].axes
    np.testing.assert_allclose(lines_of(ranks)[0][1], [72, 42])
    labels = [each.get_text() for each in figures['diagnostics_signal_mnist_fc'].legends[0].texts]
    assert labels == ['SDTP, parallel', 'AO-SDTP, parallel']


def test_a_seed_that_ended_early_does_not_count_at_the_end(study):
    path = study / 'runs' / run_name(studies.config('sdtp', seed=3, feedback_lr=0.1))
    lines = (path / 'metrics.jsonl').read_text().splitlines(keepends=True)
    (path / 'metrics.jsonl').write_text(''.join(line for line in lines if '"epoch": 1' in line))
    (layers, _) = gallery.draw('diagnostics', study)['diagnostics_signal_mnist_fc'].axes
    np.testing.assert_allclose(lines_of(layers)[0][1], [40.5, 20.25])
    (stem, _) = layers.containers[0].lines[2][0].get_segments()
    assert np.ptp(stem[:, 1]) / 2 == pytest.approx(math.sqrt(0.5))
    (panel,) = insights.insight(load(study))
    assert panel['rows'][0]['validation']['last']['target_rank']['whole']['seeds'] == 2


def test_autoencoders_have_figures_of_their_own(tmp_path):
    write(tmp_path, studies.config(loss='reconstruction'))
    assert 'diagnostics_signal_mnist_fc_autoencoder' in gallery.draw('diagnostics', tmp_path)


def test_every_theme_has_words_for_its_metrics():
    for theme in THEMES.values():
        assert METRICS.keys() >= set(metrics_of(theme))


def test_axes_on_one_scale_hold_all_of_their_bars():
    def curve(mean, off):
        return pd.DataFrame({'x': [1], 'mean': [mean], 'deviation': [off]})

    def pane(scale, *values):
        return Pane([Trace(curve(*each), {}) for each in values], '', '', scale)

    low, high = panes.limits([pane(ANGLE, (10, 5)), pane(ANGLE, (100, 20))])
    assert low < 0
    assert high > 120
    low, high = panes.limits([pane(RATIO, (0.01, 0.05), (0.0, 0.0))])
    assert 0 < low < 0.01
    assert high > 1  # the reference
    assert panes.limits([pane(METRICS['reconstruction/clean'][1], (0.0, 0.0))])[0] > 0


def test_the_table_has_both_ends_of_training_and_differences(study):
    (panel,) = insights.insight(load(study))
    assert panel['panel'] == 'MNIST, fully connected'
    sdtp, ao_sdtp = panel['rows']
    assert (sdtp['row'], ao_sdtp['row'], ao_sdtp['units']) == (
        'sdtp_parallel',
        'ao_sdtp_parallel',
        8,
    )
    assert (sdtp['epochs'], sdtp['seeds'], sdtp['diverged']) == (2, 3, 0)
    assert sdtp['error']['test'] == {'mean': 6, 'deviation': 0, 'seeds': 3}
    deviation = statistics.stdev(SHIFTS)
    for part, moment, value in (
        ('train', 'first', 92), ('train', 'last', 57),
        ('validation', 'first', 72), ('validation', 'last', 42),
    ):  # fmt: skip
        found = sdtp[part][moment]
        expected = {'mean': pytest.approx(value), 'deviation': pytest.approx(deviation), 'seeds': 3}
        assert found['signal_angle']['layer_1'] == expected | {'over_images': 2}
        assert found['target_rank'] == {'whole': expected}
        assert 'saturation' not in found  # it is not finite
    (found,) = panel['differences']
    assert found['name'] == 'parallel: sdtp - ao_sdtp'
    error = math.sqrt(2 * deviation**2 / 3)
    reach = stats.t.ppf(0.975, 4) * error
    expected = {
        'difference': pytest.approx(10), 'standard_error': pytest.approx(error),
        'low': pytest.approx(10 - reach), 'high': pytest.approx(10 + reach),
    }  # fmt: skip
    assert found['differences']['signal_angle']['total'] == expected
    assert found['differences']['target_rank'] == {'whole': expected}


def test_the_table_says_what_it_was_made_with(study, tmp_path):
    out = tmp_path / 'out' / 'table.json'
    out.parent.mkdir()
    command = ('-m', 'experiments.insight', f'--study={study}', f'--out={out}')
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    content = json.loads(out.read_text())
    assert content['commit'] == studies.PROVENANCE['commit']
    assert content['origins'] == [studies.PROVENANCE | {'runs': 7}]
    assert content['versions'].keys() > {'jax'}
    assert str(tmp_path) not in out.read_text()
    assert len(content['panels']) == 1


def test_a_run_shows_its_records_over_epochs(tmp_path):
    run = read(write(tmp_path, studies.config('sdtp', feedback_lr=0.1)))
    figures = run_page.figures_of_training(run)
    assert list(figures) == ['recorded_signal', 'recorded_diversity']
    (axis,) = figures['recorded_signal'].axes
    assert axis.get_xlabel() == 'epoch'
    first, second, total, *validation = lines_of(axis)
    np.testing.assert_allclose(first, [[0.1, 0.6, 1.1, 1.6], [90, 80, 60, 50]])
    np.testing.assert_allclose(second[1], first[1] / 2)
    np.testing.assert_allclose(total[1], first[1] + 1)
    np.testing.assert_allclose(validation[0], [[1, 2], [70, 40]])


def test_a_run_without_checkpoints_shows_what_was_recorded(tmp_path, capsys):
    workdir = write(tmp_path, studies.config('sdtp', feedback_lr=0.1))
    paths = run_page.write(workdir, ('signal',), 10, tmp_path / 'out')
    assert sorted(path.name for path in paths if path.suffix != '.svg') == [
        'recorded_diversity.png', 'recorded_signal.png', 'report.html',
    ]  # fmt: skip
    assert capsys.readouterr().out == ''


def test_before_the_first_evaluation_the_axis_counts_steps(tmp_path):
    folder = write(tmp_path, studies.config('sdtp', feedback_lr=0.1))
    (folder / 'metrics.jsonl').write_text(json.dumps(record('train', 1, 1, **angles(90))) + '\n')
    (axis,) = run_page.figures_of_training(read(folder))['recorded_signal'].axes
    assert axis.get_xlabel() == 'step'


# -- A real run


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Two epochs of DTP, without diagnostics."""
    workdir = tmp_path_factory.mktemp('runs') / 'dtp'
    config = paper(
        'mnist', 'dtp', dataset='mnist_mini', hidden=(6, 5), batch_size=1000, epochs=2,
        checkpoint_seconds=0.0,
    )  # fmt: skip
    train(resolve(config), workdir, [])
    return workdir


def files(folder):
    """Every file with its content."""
    return {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_a_run_is_measured_at_its_checkpoints_and_left_as_it_is(trained, tmp_path):
    unfinished = trained / 'checkpoints' / '99.orbax-checkpoint-tmp-0'
    unfinished.mkdir()
    (unfinished / 'part').write_text('being written')
    before = files(trained)
    command = (
        '-m', 'experiments.diagnose', f'--workdir={trained}', '--names=signal,reconstruction',
        '--images=60', f'--out={tmp_path}',
    )  # fmt: skip
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert files(trained) == before
    unfinished.joinpath('part').unlink()
    unfinished.rmdir()

    looks = json.loads((tmp_path / 'measured.json').read_text())['looks']
    assert [(look['step'], look['epoch'], look['part'], look['images']) for look in looks] == [
        (step, step / 4, part, 60) for step in (4, 8) for part in ('train', 'validation')
    ]
    assert sum(look['best'] for look in looks) == 2
    numbers = looks[0]['numbers']
    assert numbers['signal_angle/layer_3'] < 1e-3  # the top layer of DTP has the gradient
    assert 1 < numbers['signal_angle/layer_1'] < 180
    assert numbers != looks[1]['numbers']

    text = (tmp_path / 'report.html').read_text()
    page = Reader(text)
    assert 'epoch 1, train: 60 images' in done.stdout + text
    (row, *_) = [row for row in page.rows if row[0] == 'signal_angle']
    mean, spread = (numbers[f'signal_angle/layer_1{end}'] for end in ('', '/spread'))
    assert row[1] == f'{mean:.1f} ± {spread:.1f}'
    assert row[1] in done.stdout
    assert len(page.addresses) == 2  # over layers: signal, reconstruction
    assert all(address.startswith('data:image/svg+xml;base64,') for address in page.addresses)
    assert not page.tags & {'script', 'link', 'iframe', 'object'}
    assert not re.search(r'@import|url\(|https?:', text)


def test_the_numbers_are_those_of_the_images_that_are_named(trained):
    looks = list(looks_at.examine(trained, ('saturation',), 10**6))
    assert [look.images for look in looks] == [4500, 500] * 2


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((), 'name the run'),
        (('--workdir=nowhere',), 'holds no run'),
        (('--workdir=RUN', '--names=signals'), "did you mean 'signal'?"),
    ],
)
def test_a_wrong_command_ends_in_one_message(trained, arguments, message):
    arguments = [each.replace('RUN', str(trained)) for each in arguments]
    command = [sys.executable, '-m', 'experiments.diagnose', *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert 'Traceback' not in done.stderr


def test_of_a_stream_the_images_that_can_be_decoded_are_measured(tmp_path):
    write_photos(tmp_path / 'data', 'array_record', damaged=[('train', 2)])
    config = paper(
        'imagenet2012', 'bp', dataset='photos', data_dir=str(tmp_path / 'data'), image_size=16,
        paper_dataset='imagenet', hidden=((3, 4, 2),), batch_size=16, validation_fraction=0.1,
    )  # fmt: skip
    run = make_run(resolve(config))
    images = looks_at.first_images(run, 'train', 10)
    assert images.label.tolist() == [0, 1, *range(3, 10)]
    assert 0.1 < images.batch()['image'].std() < 10
    assert len(looks_at.first_images(run, 'validation', 10).image) == 2


def test_a_run_with_nothing_yet_says_so(tmp_path):
    studies.write(tmp_path, studies.config(dataset='mnist_mini'), [1.0], [1.0], ended=False)
    (folder,) = load(tmp_path).folder
    with pytest.raises(UserError, match='nothing to look at'):
        run_page.write(folder, ('signal',), 10, tmp_path / 'out')


def test_a_data_set_that_is_not_here_is_the_usual_message(trained, tmp_path):
    shutil.copytree(trained, tmp_path / 'run')
    path = tmp_path / 'run' / 'config.json'
    told = json.loads(path.read_text())
    told['config'] |= {'dataset': 'mnist', 'data_dir': str(tmp_path)}
    path.write_text(json.dumps(told))
    with pytest.raises(UserError, match='mnist'):
        list(looks_at.examine(tmp_path / 'run', ('signal',), 10))


@pytest.fixture
def checkpoints(tmp_path):
    """Those of steps 1 to 3; the first is the best."""
    saved = Checkpoints(tmp_path / 'checkpoints')
    for step in (1, 2, 3):
        saved.save(step, {'w': np.full(3, step)}, rank=float(step))
    saved.wait()
    saved.close()
    return tmp_path / 'checkpoints'


def test_reading_passes_over_what_vanishes_and_names_what_is_damaged(checkpoints, monkeypatch):
    monkeypatch.setattr('bioprop.records.checkpoint.DELETING', 0.0)
    like = {'w': np.zeros(3, int)}
    found = read_all(checkpoints, like)
    assert next(found)[0] == 1
    for path in sorted((checkpoints / '2').rglob('*'), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (checkpoints / '2').rmdir()
    step, state = next(found)
    assert step == 3
    np.testing.assert_array_equal(state['w'], [3, 3, 3])
    for path in (checkpoints / '3').rglob('*'):
        if path.is_file():
            path.write_bytes(b'')
    with pytest.raises(UserError, match=r'checkpoint .*3 is damaged'):
        list(read_all(checkpoints, like))
