"""What a configuration means: its keys, its file, published and tuned numbers."""

from bioprop.settings.keys import Config, paper

__all__ = ['Config', 'paper']
