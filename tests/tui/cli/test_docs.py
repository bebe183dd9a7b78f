"""The pages made from the code are the ones in the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.settings_doc import descriptions, markdown
from tui import cli_doc

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize(("name", "make"), [("settings.md", markdown), ("cli.md", cli_doc.markdown)])
def test_the_page_is_up_to_date(name, make):
    assert (DOCS / name).read_text(encoding="utf-8") == make(), "run `make docs`"


def test_every_setting_is_described():
    assert all(len(text) > 10 for text in descriptions().values())
