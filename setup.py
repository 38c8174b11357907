"""The package, its dependencies (lower bounds only) and extras."""

from setuptools import find_packages, setup

EXPERIMENTS = [
    'jinja2>=3.1',
    'matplotlib>=3.9',
    'pandas>=2.2',
    'scipy>=1.13',
    'tabulate>=0.9',
]  # of experiments/, but for benchmark
IMAGENET = ['grain>=0.2.18']
DOCS = ['pdoc>=15']
WANDB = ['wandb>=0.31']

setup(
    name='bioprop',
    version='0.1.0',
    description='A JAX benchmark of biologically motivated learning rules',
    license='Apache-2.0',
    python_requires='>=3.11',
    packages=find_packages(include=['bioprop', 'bioprop.*']),
    package_data={
        'bioprop.data': ['mnist_mini.npz', 'mnist_mini.md'],
        'bioprop.settings': ['*.json'],
    },
    install_requires=[
        'absl-py>=2.1',
        'array_record>=0.8.1',
        'chex>=0.1.90',
        'crc32c>=2.7',  # tensorboardX is slow without it
        'etils[epath]>=1.12',
        'flax>=0.12',
        'importlib_resources>=6.4',  # tensorflow-datasets needs it without saying so
        'jax>=0.10',
        'ml-collections>=1.1',
        'numpy>=2.0',
        'opencv-python-headless>=4.10',
        'optax>=0.2.6',
        'orbax-checkpoint>=0.11.30',
        'tensorboardX>=2.6.4',
        'tensorflow-datasets>=4.9.9',
    ],
    extras_require={
        'test': [
            *EXPERIMENTS,
            *IMAGENET,
            *DOCS,
            *WANDB,
            'hypothesis>=6.100',
            'ipykernel>=7.0',
            'nbclient>=0.10',
            'nbformat>=5.10',
            'pillow>=10.0',
            'pytest>=8.0',
            'pytest-xdist>=3.6',
            'ruff>=0.15',
            'selenium>=4.20',
        ],
        'experiments': EXPERIMENTS,
        'imagenet': IMAGENET,
        'docs': DOCS,
        'wandb': WANDB,
        'prepare': ['tensorflow>=2.20'],
    },
)
