"""The nets of table 3 and the configurations that name them."""

import importlib.util
import math
from pathlib import Path

import jax
import numpy as np
import pytest
from command_lines import configured

from bioprop import feedforward, rules
from bioprop.data.sets import Dataset, Part
from bioprop.errors import UserError
from bioprop.networks import parameter_count
from bioprop.running.run import make_learner
from bioprop.settings import paper, published
from bioprop.settings.resolve import resolve

CONFIGS = Path(__file__).parent.parent / 'configs'
INPUTS = {'mnist': (28, 28, 1), 'cifar10': (32, 32, 3), 'imagenet': (224, 224, 3)}


# ------------------------------------------------------------------ table 3


def dense(inputs, outputs):
    return inputs * outputs + outputs


def local(size, channels, features, side):
    """A patch, and a bias, for each of side x side x features units."""
    return side**2 * features * (size**2 * channels + 1)


def shared(size, channels, features, side):
    """The same weights at every place."""
    return features * (size**2 * channels + 1)


COUNTS = {
    ('mnist', 'fc'): dense(784, 256) + 4 * dense(256, 256) + dense(256, 10),
    ('cifar10', 'fc'): dense(3072, 1024) + 2 * dense(1024, 1024) + dense(1024, 10),
}
for net, layer in (('lc', local), ('conv', shared)):
    COUNTS['mnist', net] = (
        layer(3, 1, 32, 14) + layer(3, 32, 64, 7) + dense(7 * 7 * 64, 1024) + dense(1024, 10)
    )
    COUNTS['cifar10', net] = (
        layer(5, 3, 64, 16) + layer(5, 64, 128, 8) + layer(3, 128, 256, 8)
        + dense(8 * 8 * 256, 1024) + dense(1024, 10)
    )  # fmt: skip
    COUNTS['imagenet', net] = (
        layer(9, 3, 48, 56) + layer(3, 48, 48, 28) + layer(5, 48, 96, 28) + layer(3, 96, 96, 14)
        + layer(3, 96, 192, 14) + layer(3, 192, 192, 7) + layer(3, 192, 384, 7)
        + dense(7 * 7 * 384, 1000)
    )  # fmt: skip
PUBLISHED = {  # table 3: in full, or in millions
    ('mnist', 'fc'): 466_698, ('cifar10', 'fc'): 5_256_202,
    ('mnist', 'lc'): 4.2, ('cifar10', 'lc'): 50.0, ('imagenet', 'lc'): 259.9,
}  # fmt: skip
SHAPES = {
    'mnist': [(14, 14, 32), (7, 7, 64), (1024,), (10,)],
    'cifar10': [(16, 16, 64), (8, 8, 128), (8, 8, 256), (1024,), (10,)],
    'imagenet': [(56, 56, 48), (28, 28, 48), (28, 28, 96), (14, 14, 96), (14, 14, 192),
                 (7, 7, 192), (7, 7, 384), (1000,)],
}  # fmt: skip
HIDDEN = {
    'mnist_lc': ((3, 32, 2), (3, 64, 2), 1024),
    'cifar10_lc': ((5, 64, 2), (5, 128, 2), (3, 256, 1), 1024),
    'imagenet_lc': (
        (9, 48, 4), (3, 48, 2), (5, 96, 1), (3, 96, 2), (3, 192, 1), (3, 192, 2), (3, 384, 1),
    ),
}  # fmt: skip


def papers_net(dataset, net):
    hidden, classes = published.hidden_layers(dataset, net), 1000 if dataset == 'imagenet' else 10
    return feedforward(INPUTS[dataset], hidden, classes, net=net)


def test_published_counts_are_those_of_the_formulas():
    for key, count in PUBLISHED.items():
        found = COUNTS[key]
        assert count == (found if isinstance(count, int) else round(found / 1e6, 1)), key


@pytest.mark.parametrize(('dataset', 'net'), COUNTS)
def test_net_of_table_3_has_its_parameters(dataset, net):
    weights = jax.eval_shape(papers_net(dataset, net).init, jax.random.key(0))
    assert parameter_count(weights) == COUNTS[dataset, net]


@pytest.mark.parametrize('net', ['lc', 'conv'])
@pytest.mark.parametrize('dataset', SHAPES)
def test_layers_of_table_3_have_its_shapes(dataset, net):
    network = papers_net(dataset, net)
    assert [layer.out_shape for layer in network.layers] == SHAPES[dataset]
    assert [layer.in_shape for layer in network.layers] == [INPUTS[dataset], *SHAPES[dataset][:-1]]


def test_direct_feedback_of_the_imagenet_net_reaches_every_unit():
    weights = jax.eval_shape(
        lambda key: rules.init_weights(key, papers_net('imagenet', 'lc'), rules.dfa()),
        jax.random.key(0),
    )
    units = sum(math.prod(shape) for shape in SHAPES['imagenet'][:-1])
    assert units == 348_096
    assert parameter_count(weights['fixed']) == 348_096 * 1000


def test_hidden_layers_are_tanh_and_the_logits_linear():
    *hidden, top = papers_net('mnist', 'lc').layers
    a = np.array([-2.0, 0.5], np.float32)
    for layer in hidden:
        np.testing.assert_allclose(layer.activation(a), np.tanh(a), rtol=1e-6)
    np.testing.assert_array_equal(top.activation(a), a)


# ------------------------------------------------------------------ the notation


@pytest.mark.parametrize('net', ['lc', 'conv'])
def test_kernels_strides_and_padding_may_be_given_for_each_axis(net):
    """12 x 10 to 5 x 5 at strides 2, 2 without padding, then 3 x 4 with 1, and (0, 1) on top."""
    hidden = (((3, 2), 4, 2, 'VALID'), [3, 5, (2, 1), (1, (0, 1))], 7)
    network = feedforward((12, 10, 1), hidden, 3, net=net)
    assert [layer.out_shape for layer in network.layers] == [(5, 5, 4), (3, 4, 5), (7,), (3,)]


@pytest.mark.parametrize('hidden', [(16, (3, 4, 1)), (16, (3, 4, 1), 8)])
def test_an_image_is_needed_below_a_local_layer(hidden):
    with pytest.raises(ValueError, match=r'kernel of 3.*spatial'):
        feedforward((8, 8, 1), hidden, 3, net='lc')


def test_a_net_of_dense_layers_refuses_a_kernel():
    with pytest.raises(ValueError, match=r'net=fc.*dense.*\(3, 32, 2\)'):
        feedforward((8, 8, 1), ((3, 32, 2), 16), 3)


@pytest.mark.parametrize('net', ['fc', 'lc', 'conv'])
@pytest.mark.parametrize('numbers', [
    0, -3, 2.5, 'wide', None, (), (3,), (3, 32), (3, 0, 2), (3, 2.5, 1), (3, 4, 1, 'SAME', 1),
], ids=repr)  # fmt: skip
def test_what_is_no_layer_is_refused_by_name(numbers, net):
    with pytest.raises(ValueError, match=r'\(kernel size, channels, stride\)') as raised:
        feedforward((8, 8, 1), (numbers,), 3, net=net)
    assert repr(numbers) in str(raised.value)


# ------------------------------------------------------------------ configurations


def load(path, arguments):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(arguments)


@pytest.mark.parametrize('net', ['lc', 'conv'])
@pytest.mark.parametrize(
    'path',
    sorted({*CONFIGS.glob('*_*.py')} - {CONFIGS / 'fashion_mnist.py'}),
    ids=lambda path: path.stem,
)
def test_every_config_takes_the_net_and_its_row_of_table_5(path, net):
    dataset = path.stem.partition('_')[0]
    of_net = f'{dataset if dataset in ("cifar10", "imagenet") else "mnist"}_lc'
    table = published.tables()['table5_best_hyperparameters'][of_net]
    schedules = ('parallel', 'alternating', 'alternating_step')
    for schedule in schedules if path.stem.endswith('dtp') else schedules[:1]:
        config = load(path, f'net={net},schedule={schedule},hyperparameters=published')
        rule, half = config.rule, schedule.removesuffix('_step')
        row = {'bp': 'bp_conv' if net == 'conv' else 'bp', 'dtp': f'dtp_{half}',
               'sdtp': f'sdtp_{half}', 'ao_sdtp': f'sdtp_{half}'}.get(rule, rule)  # fmt: skip
        if row not in table:  # of ImageNet: settings of ours take its place
            assert resolve(load(path, f'net={net},schedule={schedule}'))['lr'] > 0
            with pytest.raises(UserError, match='there is no value of'):
                resolve(config)
            continue
        expected, resolved = table[row], resolve(config)
        assert {name: resolved[name] for name in expected} == expected
        assert resolved['hidden'] == HIDDEN[of_net]


@pytest.mark.parametrize(('dataset', 'rule', 'net', 'lr'), [
    ('mnist', 'bp', 'lc', 0.000133), ('mnist', 'bp', 'conv', 0.000297),
    ('mnist', 'dfa', 'conv', 0.002462), ('cifar10', 'bp', 'conv', 0.000133),
    ('cifar10', 'dtp', 'lc', 3.2e-5), ('cifar10', 'ao_sdtp', 'conv', 2e-5),
])  # fmt: skip
def test_rates_of_table_5(dataset, rule, net, lr):
    """Copied here by hand from the paper."""
    assert resolve(paper(dataset, rule, net=net))['lr'] == lr


def test_hidden_layers_of_the_command_line():
    file, expected = CONFIGS / 'mnist_dtp.py', ((3, 32, 2), 1024)
    after_colon = configured(f'--config={file}:net=lc,hidden=((3,32,2),1024),epochs=3')
    as_flags = configured(f'--config={file}:net=lc', '--config.hidden=((3,32,2),1024)')
    for config in (after_colon, as_flags):
        assert resolve(config)['hidden'] == expected
    assert after_colon.epochs == 3
    with pytest.raises(UserError, match='hidden takes tuple'):
        configured(f'--config={file}:net=lc,hidden=((3,32,2),1024')


def test_a_data_set_without_a_published_net_needs_layers_or_a_model():
    with pytest.raises(UserError, match=r"net=lc for 'svhn_cropped'.*--config.hidden"):
        resolve(paper('svhn_cropped', 'bp', net='lc'))
    resolved = resolve(paper('svhn_cropped', 'bp', net='lc', paper_dataset='cifar10'))
    assert resolved['hidden'][0] == (5, 64, 2)


def learner_of(arguments):
    part = Part(np.zeros((5, 8, 8, 1), np.uint8), np.zeros(5, np.int32))
    dataset = Dataset(part, part, part, 10, np.zeros(1), np.ones(1))
    return make_learner(resolve(paper('mnist', 'bp', arguments)), dataset)


def test_a_learner_has_the_net_of_the_config():
    learner = learner_of('net=lc,hidden=((3,4,2),6)')
    assert [layer.out_shape for layer in learner.network.layers] == [(4, 4, 4), (6,), (10,)]
    assert learner.network.layers[0].kernel_shape == (4, 4, 9, 4)
    assert learner_of('net=conv,hidden=((3,4,2),6)').network.layers[0].kernel_shape == (3, 3, 1, 4)


@pytest.mark.parametrize(('arguments', 'words'), [
    ("net=lc,hidden=((9,4,1,'VALID'),6)", ['(9, 9)', '(8, 8)']),
    ("net=conv,hidden=((5,4,2),(5,4,1,'VALID'))", ['(5, 5)', '(4, 4)']),
    ('net=lc,hidden=((3,4,0),6)', ['strides 0']),
    ("net=lc,hidden=(('a',4,1),6)", ['kernel_size', "'a'"]),
    ("net=lc,hidden=((3,4,1,'FULL'),6)", ['padding', "'FULL'"]),
    ('net=lc,hidden=((3,4),6)', ['(3, 4)']),
    ('net=lc,hidden=(6,(3,4,1))', ['kernel of 3', 'spatial']),
    ('net=fc,hidden=((3,4,1),6)', ['net=fc', '(3, 4, 1)']),
    ('net=lc,hidden=((3,4,1),0)', ['not 0']),
])  # fmt: skip
def test_layers_that_do_not_fit_end_in_one_message(arguments, words):
    with pytest.raises(UserError) as raised:
        learner_of(arguments)
    message = str(raised.value)
    for word in ('hidden', '(8, 8, 1)', *words):
        assert word in message
    assert '\n' not in message


def test_an_unknown_net_is_refused_by_name():
    with pytest.raises(UserError, match="no net 'cnn'"):
        resolve(paper('mnist', 'bp', net='cnn'))
