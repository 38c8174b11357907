"""What the settings of the catalogue's rules have to be, and where they come from."""

import pytest

from bioprop import rules
from bioprop.errors import UserError
from bioprop.settings import paper
from bioprop.settings.resolve import resolve
from bioprop.settings.tied import STEPS, too_short
from bioprop.studies import search

TIED = [name for name, entry in rules.CATALOGUE.items() if entry.tied]


def config(name, **settings):
    return resolve(paper('mnist', name, dataset='mnist_mini', **settings))


@pytest.mark.parametrize('name', TIED)
def test_the_optimiser_of_tied_feedback_follows_that_of_the_weights(name):
    made = config(name, lr=0.02, weight_decay=0.3, optimizer='sgd', momentum=0.8, decay='coupled')
    assert {f'feedback_{each}': made[each] for each in STEPS}.items() <= made.items()
    assert (made['feedback_lr'], made['feedback_optimizer']) == (0.02, 'sgd')
    same = config(name, lr=0.02, feedback_lr=0.02)
    assert same['feedback_lr'] == 0.02


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'feedback_lr': 0.5}, r'feedback_lr is 0\.5, lr 0\.0'),
        ({'feedback_decay': 'coupled'}, "feedback_decay is 'coupled', decay 'decoupled'"),
        ({'schedule': 'alternating_step'}, "leave schedule at 'parallel'"),
        ({'clip': 1.0}, 'leave clip at None'),
        ({'feedback_clip': 1.0}, 'leave feedback_clip at None'),
        ({'feedback_steps': 2}, 'leave feedback_steps at 1'),
        ({'feedback_passes': 1}, 'leave feedback_passes at 0'),
        ({'feedback_pretraining': 1}, 'leave feedback_pretraining at 0'),
    ],
)
@pytest.mark.parametrize('name', TIED)
def test_what_would_tear_both_sides_apart_is_refused(name, settings, words):
    with pytest.raises(UserError, match=f'(?s)must take the steps of the weights.*{words}'):
        config(name, **settings)


def test_other_feedback_is_free():
    assert config('weight_mirror', feedback_lr=0.5, schedule='alternating')['feedback_lr'] == 0.5


@pytest.mark.parametrize('name', TIED)
def test_a_search_draws_one_optimiser_for_both(name):
    drawn = search.draw(config(name), search.wide(rules.get(name)), 1, 0)
    assert drawn['lr'] != config(name)['lr']
    assert all(drawn[f'feedback_{each}'] == drawn[each] for each in STEPS)


def test_runs_in_which_feedback_hardly_aligns_are_told():
    """The time is 1 / (lr x weight_decay) steps, of which five would do."""
    made = {'lr': 1e-3, 'weight_decay': 0.1}
    assert too_short(made, 50_000) is None
    assert 'lr x weight_decay x steps is 4.9, 5 would do' in too_short(made, 49_000)
    assert 'steps is 0,' in too_short(made | {'weight_decay': None}, 49_000)
    assert too_short(made | {'lr': (1e-3, 1e-4)}, 10) is None


def test_what_a_rule_cannot_do_without_is_demanded():
    assert config('forward_forward')['activation'] == 'relu'
    with pytest.raises(
        UserError, match="'forward_forward' is made for activation=relu, not 'tanh'"
    ):
        config('forward_forward', activation='tanh')


def test_rates_of_the_catalogue_are_those_of_its_optimiser():
    """Under another one they say nothing; what the rule decays stays."""
    adam, sgd = config('drtp'), config('drtp', optimizer='sgd', lr=0.1)
    assert (adam['lr'], adam['beta1'], adam['eps']) == (1e-3, 0.9, 1e-8)
    assert (sgd['lr'], sgd['beta1'], sgd['eps'], sgd['momentum']) == (0.1, None, None, None)
    with pytest.raises(UserError, match='no value of lr, beta1, beta2, eps for this'):
        config('product_fa', optimizer='adam')
    rates = {'lr': 1e-3, 'beta1': 0.9, 'beta2': 0.999, 'eps': 1e-8}
    other = config('product_fa', optimizer='adam', **rates)
    assert (other['momentum'], other['weight_decay']) == (None, 1e-3)


def test_a_rate_that_is_given_comes_before_that_of_the_catalogue():
    assert config('drtp', lr=0.5)['lr'] == 0.5
    assert config('kolen_pollack', weight_decay=0.0)['weight_decay'] == 0
