"""What is said of every loss, where it is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from layerlink.cli.main import run_command_line
from layerlink.losses import LOSSES
from layerlink.losses.catalogue import as_markdown, entry_of, published_weight


@pytest.mark.parametrize("name", LOSSES)
def test_everything_is_said_of_every_loss(name: str) -> None:
    entry = entry_of(name, LOSSES[name])
    for part in ("equation", "gives", "weight", "source", "when", "cost"):
        assert getattr(entry, part), part
    assert all(entry.sides)
    assert [option for option, _, text in entry.options if not text] == []
    assert entry.equation.endswith((".", ":")), entry.equation


def test_published_weights_are_numbers() -> None:
    known = {
        "kd": 0.9,
        "at": 1000.0,
        "dkd": 1.0,
        "crd": 0.8,
        "wsld": 2.25,
        "mgd": 0.00007,
        "sp": 3000.0,
        "nowhere": None,
    }
    assert {name: published_weight(name) for name in known} == known
    assert len([name for name in LOSSES if published_weight(name) is None]) <= 3


def test_the_page_is_what_the_losses_say() -> None:
    """Made again by ``layerlink ls losses --markdown > docs/losses.md``."""
    page = Path(__file__).parents[2] / "docs" / "losses.md"
    assert page.read_text() == as_markdown()


def test_the_command_line_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["ls", "losses"]) == 0
    told = capsys.readouterr().out
    assert "    weight    1000 a link." in told
    assert run_command_line(["ls", "--markdown"]) == 0
    assert capsys.readouterr().out == as_markdown()
    assert run_command_line(["ls", "models"]) == 0
    assert "recipe" not in capsys.readouterr().out.split("\n", 1)[1]
    assert run_command_line(["ls", "modells"]) == 2
    assert "Did you mean models?" in capsys.readouterr().err
