"""A layer of the user's own, named by `config.net` as a rule is by `config.rule`."""

import sys

import numpy as np
import pytest

from bioprop import feedforward, network, reference
from bioprop.config import paper
from bioprop.data.sets import Dataset, Part
from bioprop.errors import UserError
from bioprop.layers import dense
from bioprop.resolve import resolve
from bioprop.run import make_learner

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


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / 'users_layers.py').write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'users_layers', raising=False)


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
    row = reference.tables()['table5_best_hyperparameters']['mnist_lc']
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
