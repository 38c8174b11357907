"""Configurations: what a key left open means, once every override is known."""

import pytest

from bioprop import reference
from bioprop.config import paper
from bioprop.errors import UserError
from bioprop.resolve import hparams, make_rule, resolve


def test_published_values_follow_the_overrides():
    """Whatever the file was made for: data set, rule and schedule as they are in the end."""
    config = paper('mnist', 'dtp')
    config.update(dataset='cifar10', schedule='alternating')
    resolved = resolve(config)
    assert (resolved['lr'], resolved['alpha']) == (1.3e-05, 0.172085)
    assert resolved['hidden'] == (1024, 1024, 1024)
    config.update(dataset='fashion_mnist', rule='fa', schedule='parallel')
    resolved = resolve(config)
    assert resolved['lr'] == 0.000168
    assert resolved['hidden'] == (256,) * 5


def test_auxiliary_units_follow_the_rule_and_the_set():
    resolved = [resolve(paper(name, 'ao_sdtp')) for name in ('mnist', 'cifar10')]
    assert [r['auxiliary_units'] for r in resolved] == [256, 512]
    config = paper('cifar10', 'bp')
    config.rule = 'ao_sdtp'
    assert resolve(config)['auxiliary_units'] == 512
    config = paper('mnist', 'ao_sdtp')
    config.rule = 'bp'
    assert resolve(config)['auxiliary_units'] is None


def test_augmentation_is_the_papers_unless_the_config_says():
    """CIFAR-10's alone, or that of a set that takes its settings."""
    resolved = {name: resolve(paper(name, 'bp')) for name in ('mnist', 'fashion_mnist', 'cifar10')}
    assert [name for name in resolved if resolved[name]['augment']] == ['cifar10']
    assert resolved['mnist']['augment'] is False
    assert resolve(paper('svhn_cropped', 'bp', paper_dataset='cifar10'))['augment']
    assert resolve(paper('mnist', 'bp', 'augment=True'))['augment'] is True
    assert resolve(paper('cifar10', 'bp', 'augment=False'))['augment'] is False
    with pytest.raises(UserError, match='augment takes bool'):
        paper('cifar10', 'bp', 'augment=2')


def test_tuned_values_take_precedence_only_where_there_are_any():
    tuned = resolve(paper('mnist', 'sdtp', hyperparameters='tuned', schedule='alternating'))
    published = resolve(paper('mnist', 'sdtp', schedule='alternating'))
    assert published['inverse_lr'] == 0.009572
    assert tuned['inverse_lr'] != published['inverse_lr']
    assert resolve(paper('mnist', 'bp', hyperparameters='tuned'))['lr'] == 0.000152


def test_only_adam_takes_adams_published_rate():
    with pytest.raises(UserError, match='lr'):
        resolve(paper('mnist', 'bp', optimizer='sgd'))
    resolved = resolve(paper('mnist', 'bp', optimizer='sgd', lr=0.1))
    assert hparams(resolved) == {'lr': 0.1}


@pytest.mark.parametrize(
    ('arguments', 'key', 'value'),
    [
        ('sigma=0.1', 'sigma', 0.1),
        ('sigma=(0.1,0.2),epochs=3', 'sigma', (0.1, 0.2)),
        ('hidden=(32,16),epochs=3', 'hidden', (32, 16)),
        ('epochs=3,lr=1', 'lr', 1.0),
        ('rule=fa', 'rule', 'fa'),
        ('rule=my_module:my_rule', 'rule', 'my_module:my_rule'),
    ],
)
def test_argument_strings(arguments, key, value):
    config = paper('mnist', 'dtp', arguments)
    assert config[key] == value
    assert type(config[key]) is type(value)


def test_a_rule_of_ones_own_reads_its_own_hyperparameter(tmp_path, monkeypatch):
    (tmp_path / 'own_rule.py').write_text(
        'from bioprop import Rule\n'
        'from bioprop.rules import bp\n'
        'def tempered(times=1):\n'
        '    def signals(*arguments):\n'
        '        scale = times * arguments[-1].hparam("temper", 1)\n'
        '        return tuple(scale * delta for delta in plain.signals(*arguments))\n'
        '    plain = bp()\n'
        '    return Rule(plain.init, signals, hparams=("temper",))\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = paper('mnist', 'own_rule:tempered', lr=0.1, beta1=0.9, beta2=0.9, eps=1e-8)
    with pytest.raises(UserError, match='temper'):
        resolve(config)
    settings = {'lr': 0.1, 'beta1': 0.9, 'beta2': 0.9, 'eps': 1e-8}
    config = paper('mnist', 'own_rule:tempered', temper=0.5, **settings)
    config.rule_options.times = 2
    resolved = resolve(config)
    assert hparams(resolved)['temper'] == 0.5
    assert make_rule(resolved).hparams == ('temper',)


def test_reference_numbers_are_the_papers():
    """A few of each table, copied here by hand from the paper."""
    tables = reference.tables()
    assert tables['table1']['mnist']['fc']['ao_sdtp_alternating'] == {'train': 0, 'test': 1.86}
    assert tables['table2_imagenet_lc']['bp'] == {'top1': 71.43, 'top5': 49.07}
    assert tables['table4_search_space']['sigma'] == [0.01, 0.3]
    assert reference.hyperparameters('published', 'mnist', 'fc', 'fa', 'parallel')['eps'] == 1e-4
