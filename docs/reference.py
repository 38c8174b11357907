"""The reference of the package from its docstrings, as HTML in docs/reference (or another folder).

pip install -e '.[docs]' && python docs/reference.py [FOLDER]
"""

import pkgutil
import sys
import warnings
from pathlib import Path

import pdoc

import bioprop

if __name__ == '__main__':
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / 'reference')
    # Each by name, for a package's page leaves out the modules that its __all__ does; pdoc warns
    # of those that it had found by itself, and of types that other libraries do not define.
    warnings.filterwarnings('ignore', 'The module specification|Error parsing type annotation')
    modules = [each.name for each in pkgutil.walk_packages(bioprop.__path__, 'bioprop.')]
    pdoc.pdoc('bioprop', *modules, output_directory=folder)
    print(folder / 'index.html')
