"""Puts the tables of results/ into pages, between the lines that name their files.

python -m experiments.publish README.md RESULTS.md docs/looking_inside.md

A table stands between <!-- results/NAME.json --> and <!-- end -->, and is never typed. A file's
name is that from the page's folder.
"""

import json
import re
from pathlib import Path

from absl import app

from bioprop.records.writers import write_whole
from experiments.analysis import averages, digest, scaling, tables

BLOCK = re.compile(r'<!-- (\S+\.json) -->\n.*?<!-- end -->', re.DOTALL)


def filled(page: str, folder: Path) -> str:
    """The page with the present content of the files that it names, which lie in the folder."""

    def block(match: re.Match) -> str:
        content = json.loads((folder / match[1]).read_text())
        commits = ', '.join(commit[:10] for commit in content['commit'].split(', '))
        match content:
            case {'panels': panels}:
                shown = digest.text(panels, 'github') + '\n'
            case {'averages': records}:
                shown = averages.text(records, 'github') + '\n'
            case {'scaling': records}:
                shown = scaling.text(records, 'github') + '\n'
            case {'rows': records}:
                shown = tables.page(records, 'github')
        made = (
            f'`{content["command"]}`\\\ncommit {commits}, '
            f'JAX {content["versions"]["jax"]}, {content["hardware"]}'
        )
        return f'<!-- {match[1]} -->\n{shown}\n{made}\n<!-- end -->'

    return BLOCK.sub(block, page)


def main(argv: list[str]) -> None:
    """Fills the pages."""
    for path in map(Path, argv[1:]):
        write_whole(path, filled(path.read_text(), path.parent))


if __name__ == '__main__':
    app.run(main)
