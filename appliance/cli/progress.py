"""A progress bar on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import click

_STEPS: Final = 1000


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[float, str], None]]:
    """Show a bar on stderr, a terminal; yield what takes the share that is done, 0 to 1, and a text to show."""
    with click.progressbar(
        length=_STEPS,
        label=label,
        show_eta=False,
        item_show_func=lambda text: text,
        fill_char="━",
        empty_char=" ",
        info_sep=" ",
        width=30,
        file=sys.stderr,
    ) as bar:

        def show(share: float, text: str) -> None:
            bar.current_item = text
            bar.make_step(round(min(share, 1.0) * _STEPS) - bar.pos)
            bar.render_progress()

        yield show
