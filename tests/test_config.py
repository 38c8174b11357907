"""Configurations: how keys are set, and what one left open means once every override is known."""

import copy
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from command_lines import configured
from ml_collections import ConfigDict

from bioprop.errors import UserError
from bioprop.settings import published
from bioprop.settings.config_file import declare, load
from bioprop.settings.keys import completed, paper, with_rule
from bioprop.settings.resolve import hparams, make_rule, resolve
from bioprop.studies.study import run_name
from experiments.sweep import changed, entries

CONFIGS = Path(__file__).parent.parent / 'configs'
SWEEPS = sorted(path for path in CONFIGS.glob('*.py') if 'def sweep(' in path.read_text())
ADAM = {'lr': 0.1, 'beta1': 0.9, 'beta2': 0.9, 'eps': 1e-8}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes a file that can be imported and named by --config."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source, name='mine.py'):
        path = tmp_path / name
        path.write_text(source)
        return path

    return write


def all_ways(key, text):
    """The configuration of a command line with that text, in each place where it may stand."""
    file = CONFIGS / 'mnist_dtp.py'
    yield lambda: configured(f'--config={file}', f'--config.{key}={text}')
    yield lambda: configured(f'--config={file}:{key}={text}')
    yield lambda: paper('mnist', 'dtp', f'{key}={text}')


def test_published_values_follow_the_overrides():
    """Whatever the file was made for: data set, rule and schedule as they are in the end."""
    config = paper('mnist', 'dtp')
    config.update(dataset='cifar10', schedule='alternating')
    resolved = resolve(config)
    assert (resolved['lr'], resolved['alpha']) == (1.3e-05, 0.172085)
    assert resolved['hidden'] == (1024, 1024, 1024)
    config.update(dataset='fashion_mnist', schedule='parallel')
    resolved = resolve(with_rule(config, 'fa'))
    assert resolved['lr'] == 0.000168
    assert resolved['hidden'] == (256,) * 5


def test_auxiliary_units_follow_the_rule_and_the_set():
    resolved = [resolve(paper(name, 'ao_sdtp')) for name in ('mnist', 'cifar10')]
    assert [r['auxiliary_units'] for r in resolved] == [256, 512]
    assert resolve(with_rule(paper('cifar10', 'bp'), 'ao_sdtp'))['auxiliary_units'] == 512
    changed_back = with_rule(paper('mnist', 'ao_sdtp', 'auxiliary_units=3,epochs=7'), 'bp')
    assert 'auxiliary_units' not in (resolved := resolve(changed_back))
    assert resolved['epochs'] == 7


def test_another_rule_brings_the_settings_that_it_was_made_for():
    """What was changed stays changed; what the old rule was made for goes."""
    pepita = resolve(with_rule(paper('mnist', 'bp', epochs=7), 'pepita'))
    names = ('optimizer', 'lr', 'momentum', 'activation', 'inputs', 'epochs')
    assert [pepita[name] for name in names] == ['sgd', 0.1, 0.9, 'relu', 'unit', 7]
    back = resolve(with_rule(paper('mnist', 'pepita', inputs='on_off'), 'bp'))
    assert (back['optimizer'], back['activation'], back['inputs']) == ('adam', 'tanh', 'on_off')


@pytest.mark.parametrize('path', SWEEPS, ids=lambda path: path.stem)
def test_every_sweep_of_the_package_has_entries_that_resolve(path):
    base = load(str(path))['get_config']('')
    made = [changed(base, entry) for entry in entries(path)]
    assert len({run_name(config) for config in made}) == len(made) > 1


@pytest.mark.parametrize(
    ('rule', 'key', 'owner'),
    [
        ('bp', 'auxiliary_units=3', 'ao_sdtp'),
        ('fa', 'feedback=stored', 'dfa'),
        ('bp', 'sigma=1', 'dtp, sdtp'),
    ],
)
def test_a_key_of_another_rule_says_whose_it_is(rule, key, owner):
    with pytest.raises(UserError, match=f'belongs to {owner}.*, not to rule {rule!r}'):
        resolve(paper('mnist', rule, key))


def test_the_rule_is_named_before_its_keys():
    file = CONFIGS / 'mnist_bp.py'
    for late in (
        lambda: configured(f'--config={file}', '--config.rule=fa'),
        lambda: setattr(paper('mnist', 'bp'), 'rule', 'fa'),
    ):
        with pytest.raises(UserError, match=r'name it after the colon.*rule=fa'):
            late()
    assert configured(f'--config={file}', '--config.rule=bp').rule == 'bp'
    assert configured(f'--config={file}:rule=fa').rule == 'fa'


def test_a_key_of_bioprop_is_no_name_for_one_of_a_rule(own):
    own('from bioprop.rules import bp\ndef f(clip=1.0): return bp()\n', 'own_clip.py')
    with pytest.raises(UserError, match="rule 'own_clip:f': clip is a key of bioprop"):
        resolve(paper('mnist', 'own_clip:f', **ADAM))


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
    assert published['feedback_lr'] == 0.009572
    assert tuned['feedback_lr'] != published['feedback_lr']
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
        ('rule=bioprop.rules:bp', 'rule', 'bioprop.rules:bp'),
    ],
)
def test_argument_strings(arguments, key, value):
    config = paper('mnist', 'dtp', arguments)
    assert config[key] == value
    assert type(config[key]) is type(value)


def test_a_rule_of_ones_own_reads_its_own_hyperparameter(tmp_path, monkeypatch):
    (tmp_path / 'own_rule.py').write_text(
        'from bioprop import Hyperparameter, Rule\n'
        'from bioprop.rules import bp\n'
        'def tempered(times=1):\n'
        '    def signals(*arguments):\n'
        '        scale = times * arguments[-1].hparam("temper", 1)\n'
        '        return tuple(scale * delta for delta in plain.signals(*arguments))\n'
        '    plain = bp()\n'
        '    return Rule(plain.init, signals, hparams=(Hyperparameter("temper"),))\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = paper('mnist', 'own_rule:tempered', lr=0.1, beta1=0.9, beta2=0.9, eps=1e-8)
    with pytest.raises(UserError, match='temper'):
        resolve(config)
    settings = {'lr': 0.1, 'beta1': 0.9, 'beta2': 0.9, 'eps': 1e-8}
    config = paper('mnist', 'own_rule:tempered', temper=0.5, **settings)
    config.times = 2
    resolved = resolve(config)
    assert hparams(resolved)['temper'] == 0.5
    assert make_rule(resolved).names == ('temper',)
    config.temper = (-1, 2.5)  # what is its range, the rule alone knows
    assert hparams(resolve(config))['temper'] == (-1, 2.5)
    with pytest.raises(UserError, match="no config key 'tempr'; did you mean 'temper'"):
        resolve(paper('mnist', 'own_rule:tempered', tempr=0.5, **settings))
    with pytest.raises(UserError, match="no config key 'temper'"):
        resolve(paper('mnist', 'bp', temper=0.5))
    for value in ('much', True, (0.1, None)):
        with pytest.raises(UserError, match=r'config\.temper must be a number'):
            resolve(paper('mnist', 'own_rule:tempered', temper=value, **settings))
    file = CONFIGS / 'mnist_bp.py'
    words = ('--config.temper=0.5', '--config.times=3')
    rates = (f'--config.{key}={value}' for key, value in ADAM.items())
    resolved = resolve(configured(f'--config={file}:rule=own_rule:tempered', *words, *rates))
    assert (resolved['temper'], resolved['times']) == (0.5, 3)


def misspelt_after_paper(config):
    config.epoch = 1


def misspelt_field(config):
    config.epoch = ConfigDict({'epochs': 1})


def misspelt_item(config):
    config.update({'epoch': 1})


@pytest.mark.parametrize('misspell', [misspelt_after_paper, misspelt_field, misspelt_item])
def test_a_key_that_nothing_reads_is_refused_with_the_near_one(misspell):
    config = paper('mnist', 'bp')
    misspell(config)
    with pytest.raises(UserError, match="no config key 'epoch'; did you mean 'epochs'"):
        resolve(config)


def test_it_is_refused_wherever_it_stands(own):
    path = own(
        'from bioprop.settings import paper\n'
        "def get_config(a=''): return paper('mnist', 'bp', a, epoch=1)\n"
        "def sweep(): return [{'lr': 0.1}]\n"
    )
    for make in (
        lambda: resolve(paper('mnist', 'bp', epoch=1)),
        lambda: resolve(configured(f'--config={path}')),
        lambda: resolve(configured(f'--config={path}:lr=0.1')),
        lambda: changed(paper('mnist', 'bp'), {'epoch': 1}),
        lambda: changed(configured(f'--config={path}'), *entries(path)),
        *(lambda way=way: resolve(way()) for way in all_ways('epoch', '1')),
        *(lambda way=way: resolve(way()) for way in all_ways('epoch', 'one')),
    ):
        with pytest.raises(UserError, match="no config key 'epoch'; did you mean 'epochs'"):
            make()


@pytest.mark.parametrize(('key', 'text', 'value'), [
    ('epochs', '3', 3), ('lr', '1', 1.0), ('lr', '2e-3', 2e-3), ('sigma', '(0.1,0.2)', (0.1, 0.2)),
    ('hidden', '(32,16)', (32, 16)), ('hidden', '[32, 16]', (32, 16)), ('hidden', '32', (32,)),
    ('augment', 'True', True), ('augment', 'false', False), ('data_dir', '/a=b,c', '/a=b,c'),
    ('diagnostics', 'cheap,signal', 'cheap,signal'), ('rule', 'dtp', 'dtp'),
    ('lr', 'None', None), ('hidden', 'None', None),
    ('data_dir', 'None', None), ('augment', 'None', None), ('sigma', 'None', None),
])  # fmt: skip
def test_a_text_means_the_same_wherever_it_stands(key, text, value):
    for way in all_ways(key, text):
        config = way()
        assert config[key] == value
        assert type(config[key]) is type(value)


@pytest.mark.parametrize(('key', 'text', 'words'), [
    ('epochs', 'three', "takes int, not 'three'"), ('epochs', '2.5', 'takes int, not 2.5'),
    ('epochs', 'True', 'takes int, not True'), ('epochs', 'None', 'takes int, not None'),
    ('epochs', '', "takes int, not ''"), ('lr', 'True', 'takes float, not True'),
    ('lr', 'nan', "takes float, not 'nan'"), ('lr', '1e999', 'below inf, not inf'),
    ('lr', 400 * '9', 'takes float'), ('augment', '1', 'takes bool, not 1'),
    ('hidden', '(True,)', 'must be numbers'),
    ('hidden', '((3,True,1),6)', 'must be numbers'), ('hidden', '((3,4', 'takes tuple'),
    ('sigma', 'True', 'must be a number'), ('sigma', '(0.1,None)', 'must be a number'),
    ('sigma', "(0.1,'a')", 'must be a number'), ('lr.a', '1', 'no config key'),
    ('auxiliary_units', '3', 'auxiliary_units belongs to ao_sdtp'),
])  # fmt: skip
def test_a_mistake_has_one_message_wherever_it_stands(key, text, words):
    messages = set()
    for way in all_ways(key, text):
        with pytest.raises(UserError) as raised:
            resolve(way())
        messages.add(str(raised.value))
    (message,) = messages
    assert words in message
    assert '\n' not in message


def test_of_a_key_given_twice_the_last_holds():
    file = CONFIGS / 'mnist_dtp.py'
    once = '--config.hidden=(32,)'
    config = configured(f'--config={file}', once, '--config.lr=1', '--config.hidden=(16,)')
    assert config.hidden == (16,)
    config = configured(f'--config={file}:hidden=(64,),hidden=(32,)', '--config.lr', '0.5')
    assert (config.hidden, config.lr) == ((32,), 0.5)
    assert configured(f'--config={file}:hidden=(64,)', once).hidden == (32,)


def test_a_program_without_a_config_file_has_no_keys():
    values, argv = flags.FlagValues(), ['program', '--config.lr=1']
    declare(argv, values)
    with pytest.raises(flags.UnrecognizedFlagError):
        values(argv)


def test_none_opens_a_key_again():
    """It is then looked up as if nobody had set it, though the file does."""
    lines = ('--config.image_size=None', '--config.hidden=None', '--config.net=lc')
    config = configured(f'--config={CONFIGS / "imagenet_bp.py"}:lr=0.5,lr=None', *lines)
    resolved = resolve(config)
    assert resolved['image_size'] is None
    assert resolved == resolve(paper('imagenet2012', 'bp')) | {'image_size': None}


def test_numbers_of_numpy_and_jax_and_paths_are_taken_as_pythons(own):
    given = {
        'lr': np.float32(0.5), 'epochs': np.int64(3), 'hidden': [np.int32(8), np.uint8(4)],
        'sigma': np.array([0.25, 0.5]), 'alpha': jnp.float32(0.25), 'data_dir': Path('/a/b'),
        'augment': np.bool_(True), 'rule': np.str_('dtp'), 'beta1': np.zeros(()),
    }  # fmt: skip
    expected = {
        'lr': 0.5, 'epochs': 3, 'hidden': (8, 4), 'sigma': (0.25, 0.5), 'alpha': 0.25,
        'data_dir': '/a/b', 'augment': True, 'rule': 'dtp', 'beta1': 0.0,
    }  # fmt: skip
    at_once, one_by_one = paper('mnist', 'bp', **given), paper('mnist', 'dtp')
    for key, value in given.items():
        setattr(one_by_one, key, value)
    for config in (at_once, one_by_one):
        resolved = resolve(config)
        assert {key: resolved[key] for key in expected} == expected
        assert {type(resolved[key]) for key in expected} == set(map(type, expected.values()))
    path = own('def sweep():\n    import numpy as np\n    return ({"lr": x} for x in np.ones(1))\n')
    (entry,) = entries(path)
    assert type(entry['lr']) is float


@pytest.mark.parametrize(('key', 'value'), [
    ('lr', True), ('lr', '0.1'), ('lr', [0.1]), ('epochs', 3.0), ('epochs', np.float32(3)),
    ('epochs', True), ('epochs', None), ('dataset', 3), ('augment', 1), ('hidden', 'abc'),
    ('seed', np.arange(2)),
])  # fmt: skip
def test_a_value_of_another_kind_is_refused_where_it_is_set(key, value):
    config = paper('mnist', 'bp')
    for put in (
        lambda: paper('mnist', 'bp', **{key: value}),
        lambda: setattr(config, key, value),
        lambda: config.update({key: value}),
        lambda: changed(config, {key: value}),
    ):
        with pytest.raises(UserError, match=f'config.{key} takes'):
            put()


def test_a_reference_to_another_key_follows_it(own):
    path = own(
        'from bioprop.settings import paper\n'
        "def get_config(a=''):\n"
        "    config = paper('mnist', 'dtp', a, hidden=(8,))\n"
        '    config.lr = 0.5\n'
        "    config.feedback_lr = config.get_ref('lr')\n"
        '    return config.lock()\n'
    )
    config = configured(f'--config={path}', '--config.lr=0.1')
    assert resolve(config)['feedback_lr'] == 0.1
    assert changed(config, {'lr': 0.2})['feedback_lr'] == 0.2
    assert (config.lr, config.feedback_lr) == (0.1, 0.1)
    with pytest.raises(UserError, match="no config key 'temper'"):  # though it is locked
        resolve(configured(f'--config={path}', '--config.temper=1'))
    assert resolve(copy.deepcopy(config)) == resolve(config)


@pytest.mark.parametrize('made', ['dict', 'ConfigDict', 'FrozenConfigDict'])
def test_a_config_file_may_return_a_dictionary_of_some_keys(own, made):
    path = own(
        'from ml_collections import ConfigDict, FrozenConfigDict\n'
        'def get_config():\n'
        f"    return {made}(dict(dataset='mnist', rule='dtp', lr=1, hidden=[8]))\n"
    )
    config = configured(f'--config={path}', '--config.epochs=2')
    assert resolve(config) == resolve(paper('mnist', 'dtp', lr=1.0, hidden=(8,), epochs=2))


def test_old_configurations_get_the_keys_that_have_come_since():
    old = resolve(paper('mnist', 'dtp'))
    assert completed({key: old[key] for key in old if key != 'precision'}) == old


FILES = {
    'x = 1': 'has no function get_config()',
    'get_config = 3': 'has no function get_config()',
    'def get_config(a=""): pass': 'must return bioprop.settings.paper(...)',
    'def get_config(a=""): return [1]': 'not [1]',
    'def get_config(a=""): return {"rule": "bp"}': 'no dataset',
    'def get_config(a=""): return {"rule": "bp", "dataset": "mnist", 3: 1}': "no config key '3'",
    'def get_config(a=""): return {"rule": "bp", "dataset": "mnist", None: 1}': 'no config key',
    'def get_config(a): pass': "missing a required argument: 'a'",
    '\ndef get_config(:': 'mine.py, line 2: SyntaxError',
    'import numpy as np\ndef get_config(a=""):\n    return np.zeros(3).reshape(7)\n':
        'mine.py, line 3: ValueError: cannot reshape',
    'def deeper():\n    return {}["lr"]\ndef get_config(a=""): deeper()':
        "mine.py, line 2: KeyError: 'lr'",
    'import no_module_of_this_name': 'mine.py, line 1: ModuleNotFoundError',
    '\n\nopen("/no/file")': 'mine.py, line 3: FileNotFoundError',
    'import sys\nsys.exit(0)': 'mine.py, line 2: SystemExit',
    'from bioprop.settings import paper\ndef get_config(a=""): return paper("mnist")':
        'mine.py, line 2: TypeError',
    'raise ValueError': 'mine.py, line 1: ValueError',
    '\0': 'null byte',
}  # fmt: skip


@pytest.mark.parametrize('source', FILES)
def test_a_config_file_that_fails_is_told_in_one_message(own, source):
    with pytest.raises(UserError) as raised:
        resolve(configured(f'--config={own(source)}'))
    assert FILES[source] in str(raised.value)
    assert '\n' not in str(raised.value)


def test_what_follows_the_colon_needs_somebody_to_read_it(own):
    path = own(
        'from bioprop.settings import paper\ndef get_config(): return paper("mnist", "bp")\n'
    )
    assert configured(f'--config={path}').rule == 'bp'
    with pytest.raises(UserError, match=r"'epochs=2'.*get_config\(arguments=''\)"):
        configured(f'--config={path}:epochs=2')


def test_a_config_file_is_found_at_home(own, monkeypatch):
    path = own(
        'from bioprop.settings import paper\ndef get_config(): return paper("mnist", "fa")\n'
    )
    monkeypatch.setenv('HOME', str(path.parent))
    assert configured('--config=~/mine.py').rule == 'fa'


def test_a_config_file_that_is_none_is_named(tmp_path):
    for name, words in (
        ('', 'name a config file, such as --config=configs/'),
        (tmp_path, 'is a folder'),
        (CONFIGS / 'mnist_pb.py', 'did you mean .*/configs/mnist_bp.py'),
        (tmp_path / 'none.py', 'no config file .*/none.py'),
        (tmp_path / 'none' / 'none.py', 'no config file .*/none/none.py'),
    ):
        with pytest.raises(UserError, match=words):
            configured(f'--config={name}')
    with pytest.raises(UserError, match='name a config file'):
        configured()


@pytest.mark.parametrize('name', [
    './misc.py:R', 'misc.py:R', 'misc:', '.:R', '..misc:R', 'misc:R:S', 'misc:R.S', 'a b:R', '/a:R',
    'misc:R()',
])  # fmt: skip
@pytest.mark.parametrize('key', ['rule', 'net'])
def test_a_malformed_name_of_a_function_is_told_how_it_is_written(key, name):
    with pytest.raises(UserError, match=f"is not 'module:function': my_file:{key} is"):
        resolve(paper('mnist', 'bp', hidden=(8,), **{key: name}))


def test_a_rule_of_ones_own_that_fails_is_told_in_one_message(own):
    own('def bad():\n    return 1 / 0\n', 'own_bad.py')
    own('\nimport no_module_of_this_name\n', 'own_import.py')
    own('def f(:\n', 'own_syntax.py')
    for name, words in (
        ('own_bad:bad', 'own_bad.py, line 2: ZeroDivisionError'),
        ('own_import:f', 'own_import.py, line 2: ModuleNotFoundError'),
        ('own_syntax:f', 'own_syntax.py, line 1: SyntaxError'),
        ('no_module_of_this_name:f', 'loaded: No module named'),
        ('builtins:int', "rule 'builtins:int'"),
    ):
        with pytest.raises(UserError, match=words):
            resolve(paper('mnist', name))


def test_options_of_a_rule_are_of_the_kinds_of_their_defaults(own):
    own(
        'from bioprop.rules import bp\n'
        'def f(width=1.0, name="x", depth=0, given=None, function=print): return bp()\n',
        'own_options.py',
    )
    config = paper('mnist', 'own_options:f', 'name=y', **ADAM)
    config.update(width=np.float32(0.5), depth=2)
    found = {name: resolve(config)[name] for name in ('width', 'name', 'depth', 'given')}
    assert found == {'width': 0.5, 'name': 'y', 'depth': 2, 'given': None}
    for key, value in (('width', 'x'), ('depth', 0.5), ('name', 3), ('given', {})):
        with pytest.raises(UserError, match=f'config.{key} takes'):
            resolve(paper('mnist', 'own_options:f', **ADAM, **{key: value}))
    with pytest.raises(UserError, match="no config key 'function'"):
        resolve(paper('mnist', 'own_options:f', 'function=len', **ADAM))


def test_reference_numbers_are_the_papers():
    """A few of each table, copied here by hand from the paper."""
    tables = published.tables()
    assert tables['table1']['mnist']['fc']['ao_sdtp_alternating'] == {'train': 0, 'test': 1.86}
    assert tables['table2_imagenet_lc']['bp'] == {'top1': 71.43, 'top5': 49.07}
    assert tables['table4_search_space']['sigma'] == [0.01, 0.3]
    assert published.hyperparameters('published', 'mnist', 'fc', 'fa', 'parallel')['eps'] == 1e-4


def test_a_row_comes_before_the_catalogue_and_that_before_the_rules_defaults():
    """Meulemans et al.'s rates of each set on the dense net, and ours elsewhere."""
    sets = {('mnist', 'fc'): 3.34e-4, ('fashion_mnist', 'fc'): 5.05e-4, ('mnist', 'lc'): 1e-3}
    for (dataset, net), rate in sets.items():
        assert resolve(paper(dataset, 'ddtp_linear', net=net))['lr'] == rate
    found = resolve(paper('mnist', 'ddtp_linear'))
    assert (found['feedback_weight_decay'], found['feedback_decay']) == (5.8e-7, 'coupled')
    assert (found['feedback_pretraining'], found['feedback_passes']) == (6, 1)
    assert resolve(paper('mnist', 'ddtp_linear', lr=0.1))['lr'] == 0.1
    of_catalogue, of_rule = (
        resolve(paper('mnist', name)) for name in ('target_propagation', 'dfc')
    )
    assert (of_catalogue['alpha'], of_catalogue['scale']) == (5.0, 1.0)
    assert (of_rule['leak'], of_rule['target']) == (0.0014, 0.1)
