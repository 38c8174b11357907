"""Figures show the numbers of a study written by hand, each computed here again."""

import json
import statistics
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import studies
from PIL import Image
from problems import PAPERS

from bioprop.errors import UserError
from bioprop.running.train import train
from bioprop.settings import paper
from bioprop.settings.resolve import resolve
from bioprop.studies.roles import longest
from bioprop.studies.search import search_of
from bioprop.studies.study import purpose_of, run_name
from bioprop.training.schedules import SCHEDULES
from experiments.analysis import series
from experiments.analysis.reconstruct import reconstructions
from experiments.analysis.rows import Method, load, read
from experiments.drawing import digits, gallery, histograms, inverses, panes, style
from experiments.drawing.panes import ERRORS, Pane, Trace

ADAM = {'beta1': 0.9, 'beta2': 0.999, 'eps': 1e-8}
BP, DTP = Method('bp', 'parallel', 'fc'), Method('dtp', 'alternating', 'fc')


def means_of(axis):
    return [line for line in axis.get_lines() if line.get_gid() == 'mean']


def role(runs, name, rule='bp'):
    return runs[(runs.role == name) & (runs.rule == rule)]


def test_a_winner_is_told_from_the_trials_of_its_search(tmp_path):
    runs = load(studies.searched(tmp_path))
    assert runs.panel.nunique() == 1
    assert role(runs, 'winner').seed.tolist() == [1, 2, 3]  # its seed 0 is a trial
    assert sorted(role(runs, 'trial').lr) == [0.1, 0.5, 0.9]
    assert role(runs, 'winner', 'dtp').seed.tolist() == [1, 2, 3]
    assert role(runs, 'trial', 'dtp').empty


def test_a_search_in_progress_has_no_winner_yet(tmp_path):
    studies.write(tmp_path, studies.config(seed=0), [9, 5], [8, 6])
    assert load(tmp_path).role.tolist() == ['winner']
    for told in ({'rungs': [[3, 2]]}, {'bp': {'rungs': [[3, 2]]}}):
        (tmp_path / 'study.json').write_text(json.dumps(told))
        assert search_of(purpose_of(tmp_path))
    assert load(tmp_path).role.tolist() == ['trial']


def test_the_winner_has_the_most_epochs_then_seeds_then_the_lowest_validation_error(tmp_path):
    for lr, epochs, seeds, test in ((1, 1, 3, 1), (2, 2, 2, 9), (3, 2, 3, 8), (4, 2, 3, 7)):
        for seed in range(seeds):
            config = studies.config(lr=lr, epochs=epochs, seed=seed)
            studies.write(tmp_path, config, [test], [test])
    runs = load(tmp_path)
    winner = role(runs, 'winner')
    assert list(zip(winner.lr, winner.seed, strict=True)) == [(4, 0), (4, 1), (4, 2)]
    assert role(runs, 'trial').empty


def test_of_each_configuration_the_last_rung_counts(tmp_path):
    for lr, epochs in ((1, 1), (1, 3), (2, 1)):
        studies.write(tmp_path, studies.config(lr=lr, epochs=epochs), [5], [5])
    kept = longest(load(tmp_path))
    assert sorted(zip(kept.lr, kept.epochs, strict=True)) == [(1, 3), (2, 1)]


def test_calls_of_an_epoch_count_by_their_images():
    calls = pd.DataFrame([
        {'epoch': 1, 'error': 10.0, 'seconds': 1.0, 'examples_per_second': 300.0},
        {'epoch': 1, 'error': 20.0, 'seconds': 2.0, 'examples_per_second': 50.0},
        {'epoch': 2, 'feedback_loss': 1.0, 'seconds': 1.0, 'examples_per_second': 1.0},
    ])  # fmt: skip
    found = series.training_scores(calls.assign(name='run'), 'error')
    assert found.to_dict('records') == [{'name': 'run', 'x': 1, 'value': 12.5}]


def test_curves_draw_means_and_bands_over_the_seeds_of_winners(tmp_path):
    figure = gallery.draw_curves(load(studies.searched(tmp_path)))['curves_mnist']
    train, test = figure.axes
    assert (train.get_ylabel(), test.get_ylabel()) == ('train error (%)', 'test error (%)')
    expected = {
        train: ([[10, 11, 15], [4, 5, 9]], [[20, 21, 25], [10, 10, 10]]),
        test: ([[9, 10, 14], [7, 8, 12]], [[25, 25, 25], [11, 12, 16]]),
    }
    for axis, methods in expected.items():
        lines = means_of(axis)
        assert len(lines) == len(axis.collections) == 2
        for line, band, seeds, method in zip(
            lines, axis.collections, methods, (BP, DTP), strict=True
        ):
            mean = np.array([statistics.mean(each) for each in seeds])
            deviation = np.array([statistics.stdev(each) for each in seeds])
            np.testing.assert_allclose(line.get_xdata(), [1, 2])
            np.testing.assert_allclose(line.get_ydata(), mean)
            assert line.get_color() == style.look_of(method).colour
            corners = band.get_paths()[0].vertices
            for epoch in (1, 2):
                edge = corners[corners[:, 0] == epoch, 1]
                np.testing.assert_allclose(edge.min(), (mean - deviation)[epoch - 1])
                np.testing.assert_allclose(edge.max(), (mean + deviation)[epoch - 1])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ['BP', 'DTP, alternating']
    assert figure.legends[0].get_title().get_text() == 'mean ± standard deviation over 3 seeds'


def test_nets_have_rows_of_their_own_and_one_legend(tmp_path):
    for net in ('fc', 'lc', 'conv'):
        studies.write(tmp_path, studies.config(net=net), [8, 6], [8, 6])
    (figure,) = gallery.draw_curves(load(tmp_path)).values()
    assert [len(means_of(axis)) for axis in figure.axes] == [1, 1, 2, 2]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ['BP', 'BP ConvNet']


def test_a_seed_that_diverged_ends_its_part_of_the_mean(tmp_path):
    studies.write(tmp_path, studies.config(seed=1), [8, 6], [8, 6])
    studies.write(tmp_path, studies.config(seed=2), [10], [10], diverged=True)
    figure = gallery.draw_curves(load(tmp_path))['curves_mnist']
    np.testing.assert_allclose(means_of(figure.axes[1])[0].get_ydata(), [9, 6])
    assert figure.legends[0].get_texts()[0].get_text() == 'BP (1 of 2 diverged)'


def test_an_error_of_zero_leaves_the_logarithmic_axis_at_the_bottom():
    def limits(*means):
        curve = pd.DataFrame({'mean': means, 'deviation': 0.0})
        return panes.limits([Pane([Trace(curve, {})], 'epoch', '', ERRORS)])

    low, high = limits(80.0, 0.001, 0.0)
    assert low == pytest.approx(0.08)
    assert high > 80
    assert limits(0.0)[0] > 0


def test_histograms_count_every_trial_once(tmp_path):
    (figure,) = gallery.draw_histograms(load(studies.searched(tmp_path))).values()
    (axis,) = figure.axes  # DTP was not searched
    bars = {
        (round(bar.get_x(), 6), round(bar.get_x() + bar.get_width(), 6)): bar.get_height()
        for bar in axis.patches
        if bar.get_height()
    }
    assert sum(bars.values()) == 2
    for accuracy in (70, 94):
        assert sum(low <= accuracy < high for low, high in bars) == 1
    assert axis.get_title(loc='left') == 'BP\n3 trials, 1 diverged'
    assert axis.get_lines()[0].get_xdata()[0] == pytest.approx(82)  # the median


@pytest.mark.parametrize('accuracies', [[], [97.3], [97.31, 97.52], [10.0, 98.2], [0.0, 100.0]])
def test_bins_hold_all_accuracies(accuracies):
    edges = histograms.bins(pd.Series(accuracies, dtype=float))
    assert len(edges) <= histograms.BINS + 2
    assert np.histogram(accuracies, edges)[0].sum() == len(accuracies)


def test_auxiliary_units_start_at_sdtp(tmp_path):
    errors = {None: [9, 11], 64: [7, 8], 256: [5, 5]}
    for units, values in errors.items():
        for seed, value in enumerate(values):
            rule = 'ao_sdtp' if units else 'sdtp'
            config = studies.config(rule, auxiliary_units=units, seed=seed, feedback_lr=0.1)
            studies.write(tmp_path, config, [value], [value])
    (figure,) = gallery.draw_auxiliary(load(tmp_path)).values()
    (bars,) = figure.axes[0].containers
    points, _, (stems,) = bars.lines
    np.testing.assert_allclose(points.get_xdata().astype(int), [0, 64, 256])
    np.testing.assert_allclose(points.get_ydata().astype(float), [10, 7.5, 5])
    lengths = [np.ptp(stem[:, 1]) / 2 for stem in stems.get_segments()]
    np.testing.assert_allclose(lengths, [statistics.stdev(each) for each in errors.values()])


def test_autoencoders_have_a_figure_of_their_own(tmp_path):
    for seed, loss in ((1, 0.03), (2, 0.05)):
        config = studies.config(seed=seed, loss='reconstruction')
        studies.write(tmp_path, config, [0.1], [loss])
    runs = load(tmp_path)
    assert gallery.draw_curves(runs) == {}
    figure = gallery.draw_reconstruction(runs)['autoencoder_losses_mnist']
    validation, test = figure.axes
    np.testing.assert_allclose(means_of(validation)[0].get_ydata(), [1.04])
    np.testing.assert_allclose(means_of(test)[0].get_ydata(), [0.04])


@pytest.mark.full
def test_reconstructions_are_those_of_the_best_weights(tmp_path):
    config = paper(
        'mnist', 'bp', dataset='mnist_mini', loss='reconstruction', hidden=(8,), batch_size=1000,
        epochs=1,
    )  # fmt: skip
    summary = train(resolve(config), tmp_path, [])
    images, made = reconstructions(tmp_path, np.arange(1000))
    assert np.mean((made - images) ** 2) == pytest.approx(summary['best_test_loss'], rel=1e-5)
    (figure,) = gallery.draw_digits(read(tmp_path)).values()
    assert len(figure.axes) == 20


def test_digits_stand_in_rows_under_the_originals():
    images = np.random.default_rng(0).random((2, 3, 4, 4))
    figure = digits.draw({'original': images[0], 'BP': images[1]})
    shown = [axis.get_images()[0].get_array() for axis in figure.axes]
    np.testing.assert_array_equal(shown, images.reshape(6, 4, 4))
    assert [axis.get_ylabel() for axis in figure.axes] == ['original', '', '', 'BP', '', '']


def test_every_rule_and_schedule_looks_different_without_colours():
    methods = [
        Method(rule, schedule, 'fc')
        for rule in PAPERS
        for schedule in SCHEDULES
        if schedule == 'parallel' or 'tp' in rule
    ]
    looks = [style.line(method) | {'color': None} for method in methods]
    shapes = {(str(look['linestyle']), look['marker']) for look in looks}
    assert len(shapes) == len(methods)
    assert len({style.look_of(method).hatch for method in methods}) == len(PAPERS)


def test_files_are_written_and_the_same_each_time(tmp_path):
    study = studies.searched(tmp_path / 'study')
    found = gallery.draw('curves', study) | gallery.draw('histograms', study)
    paths = gallery.save(found, tmp_path / 'figures')
    assert sorted(path.name for path in paths) == [
        'curves_mnist.png', 'curves_mnist.svg',
        'histograms_mnist_fc.png', 'histograms_mnist_fc.svg',
    ]  # fmt: skip
    with Image.open(tmp_path / 'figures' / 'curves_mnist.png') as image:
        assert image.width == style.WIDTH * 200
    again = gallery.save(gallery.draw('curves', study), tmp_path / 'again')
    assert again[1].read_text() == paths[1].read_text()


@pytest.mark.parametrize('kind', list(gallery.KINDS))
def test_a_study_with_nothing_to_draw_says_so(tmp_path, kind):
    with pytest.raises(UserError, match='holds no study'):
        gallery.draw(kind, tmp_path)
    (tmp_path / 'runs').mkdir()
    with pytest.raises(UserError, match=f'nothing to draw {kind} of'):
        gallery.draw(kind, tmp_path)


def test_the_command_takes_one_kind_and_ends_in_one_message(tmp_path):
    (tmp_path / 'runs').mkdir()
    for arguments, status, message in (
        (['curve'], 2, "did you mean 'curves'?"),
        (['curves', f'--study={tmp_path}'], 1, 'nothing to draw curves of'),
    ):
        command = [sys.executable, '-m', 'experiments.figures', *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == status
        assert message in ended.stderr
        assert 'Traceback' not in ended.stderr


@pytest.mark.parametrize(
    ('settings', 'ended', 'message'),
    [
        ({}, True, 'not of an autoencoder'),
        ({'loss': 'reconstruction'}, False, 'no checkpoints'),
        ({'loss': 'reconstruction', **ADAM}, True, 'no checkpoints'),
    ],
)
def test_digits_need_an_autoencoder_with_checkpoints(tmp_path, settings, ended, message):
    config = studies.config(dataset='mnist_mini', **settings)
    studies.write(tmp_path, config, [1.0], [1.0], ended=ended)
    (folder,) = load(tmp_path).folder
    with pytest.raises(UserError, match=message):
        gallery.draw('autoencoder', None, [folder])


def test_a_damaged_file_is_named(tmp_path):
    study = studies.searched(tmp_path)
    with (study / 'results.jsonl').open('a') as file:
        file.write('{"run": ')
    with pytest.raises(UserError, match=r'results\.jsonl is damaged'):
        load(study)


def test_inverses_are_told_apart_by_inverse_and_start(tmp_path):
    kinds = [
        {'start': start, 'inverse': inverse}
        for start in ('logits', 'penultimate')
        for inverse in ('after', 'matched')
    ]
    for place, kind in enumerate(kinds):
        for seed in (1, 2):
            config = studies.config('dtp', seed=seed, **kind)
            studies.write(tmp_path, config, [9], [8])
            angles = {f'signal_angle/layer_{l}': 10.0 * place + l + seed for l in (1, 2)}
            told = {'kind': 'diagnostics', 'part': 'validation', 'step': 10, 'epoch': 1, **angles}
            with (tmp_path / 'runs' / run_name(config) / 'metrics.jsonl').open('a') as file:
                file.write(json.dumps(told) + '\n')
    studies.write(tmp_path, studies.config('bp'), [9], [8])
    figure = gallery.draw_inverses(load(tmp_path))['inverses_mnist_fc']
    (axis,) = figure.axes  # no Jacobian was measured
    lines = means_of(axis)
    for place, (line, kind) in enumerate(zip(lines, kinds, strict=True)):
        np.testing.assert_allclose(
            line.get_ydata(orig=False), [10 * place + l + 1.5 for l in (1, 2)]
        )
        assert line.get_color() == inverses.COLOURS[kind['inverse']]
        assert (line.get_markerfacecolor() == 'white') == (kind['start'] == 'penultimate')
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        f'DTP, {kind["inverse"]}, {kind["start"]}' for kind in kinds
    ]
