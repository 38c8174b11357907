"""Layers and rules of the user's own: those of `config.net`, and rules by `updates`."""

import functools
import sys

import jax
import numpy as np
import pytest
from problems import PAPERS

from bioprop import feedforward, network, rules
from bioprop.data.sets import Dataset, Part
from bioprop.errors import UserError
from bioprop.layers import dense
from bioprop.running.run import make_learner
from bioprop.settings import paper, published
from bioprop.settings.resolve import resolve
from bioprop.training.learner import init_state
from bioprop.training.step import train_step

SOURCE = """
from bioprop.layers import convolution

number = 3

def twofold(features, kernel_size, strides, padding='SAME', activation='tanh'):
    return convolution(2 * features, kernel_size, strides, padding, activation)

def unpadded(features, kernel_size, strides, activation):
    return convolution(features, kernel_size, strides, 'VALID', activation)

def bound(features, kernel_size, strides, *padding, activation):
    return twofold(features, kernel_size, strides)((8, 8, 1))

def shapeless(features, kernel_size, strides, *padding, activation):
    return lambda shape: shape
"""

RULES = """
import jax.numpy as jnp

from bioprop import Rule
from bioprop.rules.base import forward_updates
from bioprop.rules import bp

def by_updates(feedback=(), fixed=()):
    def updates(network, weights, states, context):
        deltas = bp().signals(network, weights, states, context)
        forward = forward_updates(network, weights['forward'], states, deltas)
        return {'forward': forward, 'feedback': weights['feedback']}
    return Rule(lambda key, network, forward: (feedback, fixed), updates=updates)

def without_feedback():
    return by_updates(feedback=(None, {}), fixed=(jnp.ones(3),))

def with_feedback():
    return by_updates(feedback=(None, jnp.ones(3)))
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / 'users_layers.py').write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'users_layers', raising=False)
    (tmp_path / 'rules_by_updates.py').write_text(RULES)


def learner_of(arguments, rule='bp'):
    part = Part(np.zeros((5, 8, 8, 1), np.uint8), np.zeros(5, np.int32))
    dataset = Dataset(part, part, part, 10, np.zeros(1), np.ones(1))
    return make_learner(resolve(paper('mnist', rule, arguments)), dataset)


def test_it_stands_for_the_kernels_of_hidden():
    network = learner_of("net=users_layers:twofold,hidden=((3,4,2),(3,2,1,'VALID'),6)").network
    assert [layer.out_shape for layer in network.layers] == [(4, 4, 8), (2, 2, 4), (6,), (10,)]


def test_it_may_do_without_padding():
    network = learner_of('net=users_layers:unpadded,hidden=((3,4,2),6)').network
    assert network.layers[0].out_shape == (3, 3, 4)


@pytest.mark.parametrize('rule', ['bp', 'fa', 'dtp'])
def test_it_takes_the_published_row_of_the_locally_connected_net(rule):
    own, local = (
        resolve(paper('mnist', rule, net=net, hidden=((3, 4, 2), 6)))
        for net in ('users_layers:twofold', 'lc')
    )
    assert own | {'net': 'lc'} == local
    row = published.tables()['table5_best_hyperparameters']['mnist_lc']
    assert own['lr'] == row['dtp_parallel' if rule == 'dtp' else rule]['lr']


def test_its_layers_must_be_given():
    with pytest.raises(UserError, match=r'net=users_layers:twofold: set --config.hidden'):
        resolve(paper('mnist', 'bp', net='users_layers:twofold'))


@pytest.mark.parametrize(('net', 'words'), [
    ('users_layers:none', "net 'users_layers:none' cannot be loaded"),
    ('no_module_of_this_name:f', 'cannot be loaded: No module named'),
    ('users_layers:number', 'must be a function, not 3'),
    (':twofold', "no net ':twofold'"),
])  # fmt: skip
def test_what_is_no_function_is_refused_when_the_config_is_read(net, words):
    with pytest.raises(UserError, match=words):
        resolve(paper('mnist', 'bp', net=net, hidden=((3, 4, 2), 6)))


@pytest.mark.parametrize(('arguments', 'words'), [
    ("net=users_layers:unpadded,hidden=((3,4,2,'SAME'),6)", 'takes no layer'),
    ('net=users_layers:bound,hidden=((3,4,2),6)', 'describes no layer'),
    ('net=users_layers:shapeless,hidden=((3,4,2),6)', 'describes no layer'),
    ('net=users_layers:twofold,hidden=((9,4,1,0),6)', 'does not fit'),
])  # fmt: skip
def test_a_function_that_describes_no_layer_ends_in_one_message(arguments, words):
    with pytest.raises(UserError, match=f'config.hidden = .*{words}') as raised:
        learner_of(arguments)
    assert '\n' not in str(raised.value)


def test_feedforward_takes_it_too():
    own = feedforward((8, 8, 1), ((3, 4, 2), 6), 3, net='users_layers:twofold')
    assert [layer.out_shape for layer in own.layers] == [(4, 4, 8), (6,), (3,)]
    with pytest.raises(UserError, match="no net 'cnn'"):
        feedforward((8, 8, 1), ((3, 4, 2), 6), 3, net='cnn')


def test_a_network_is_made_of_descriptions():
    with pytest.raises(ValueError, match='describes no layer'):
        network([dense(3)((4,))], (4,))


RATES = 'lr=0.01,beta1=0.9,beta2=0.99,eps=1e-8'
INVERSE = 'feedback_lr=0.01,feedback_beta1=0.9,feedback_beta2=0.99,feedback_eps=1e-8'


@pytest.mark.parametrize('name', ['by_updates', 'without_feedback'])
def test_a_rule_by_updates_without_feedback_needs_no_rates_of_it(name, quick):
    """It trains as backpropagation does, whose updates it gives."""
    batch = {
        'image': np.linspace(-1, 1, 3 * 64, dtype=np.float32).reshape(3, 8, 8, 1),
        'label': np.arange(3), 'index': np.arange(3),
    }  # fmt: skip
    trained = []
    for rule in (f'rules_by_updates:{name}', 'bp'):
        learner = learner_of(f'hidden=(4,),{RATES}', rule)
        assert list(learner.optimizers) == ['forward']
        hparams = {'lr': 0.01, 'beta1': 0.9, 'beta2': 0.99, 'eps': 1e-8}
        state = init_state(learner, jax.random.key(0), hparams)
        one_step = functools.partial(train_step, learner, (('forward',),))
        trained.append(jax.jit(one_step)(state, batch, hparams)[0])
    ours, theirs = (state.weights['forward'] for state in trained)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_one_with_feedback_does():
    rule = 'rules_by_updates:with_feedback'
    with pytest.raises(UserError, match=r'no value of feedback_lr, .*--config.feedback_lr=VALUE'):
        learner_of(f'hidden=(4,),{RATES}', rule)
    learner = learner_of(f'hidden=(4,),schedule=alternating,{RATES},{INVERSE}', rule)
    assert list(learner.optimizers) == ['forward', 'feedback']


def test_nothing_alternates_without_feedback():
    with pytest.raises(UserError, match='nothing to alternate'):
        learner_of(f'hidden=(4,),schedule=alternating,{RATES}', 'rules_by_updates:by_updates')


def test_its_forward_rates_are_asked_for_when_the_config_is_read():
    with pytest.raises(UserError, match='no value of lr, beta1, beta2, eps for'):
        resolve(paper('mnist', 'rules_by_updates:with_feedback'))


def test_our_rules_train_the_sides_that_they_did():
    network = feedforward((4,), (3, 3), 2)
    trained = {name: rules.trained_sides(network, rules.get(name)) for name in PAPERS}
    both = {name for name, sides in trained.items() if sides == ('forward', 'feedback')}
    assert both == {'dtp', 'sdtp', 'ao_sdtp'}
    assert {sides for name, sides in trained.items() if name not in both} == {('forward',)}
