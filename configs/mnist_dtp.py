from bioprop.config import paper


def get_config(arguments=''):
    return paper('mnist', 'dtp', arguments)
