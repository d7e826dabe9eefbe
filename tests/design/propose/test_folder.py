from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import layerlink as ll
from layerlink.design.propose import Proposal
from layerlink.design.propose.folder import ProposalFolder, links_yaml
from layerlink.design.propose.page import similarity_map, write_proposal_page
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.recipe.schema import Recipe
from nets import blocks, images


@pytest.fixture
def proposal() -> Proposal:
    torch.manual_seed(0)
    return ll.propose(blocks(4), blocks(2), [images(8, 8)])


RECIPE = load_recipe(
    "a", text="{student: vgg7, teacher: {model: vgg16, weights: own}, data: {name: digits}, soft: {}}"
).recipe


def write(folder: ProposalFolder, proposal: Proposal, recipe: Recipe = RECIPE) -> None:
    folder.check()
    folder.write(proposal, recipe, "layerlink propose a b", "rows: {}\n")


def test_recipe_and_links_read_back(tmp_path: Path, proposal: Proposal) -> None:
    folder = ProposalFolder(tmp_path / "new")
    write(folder, proposal)
    assert list(load_recipe(str(folder.recipe)).recipe.links) == proposal.links
    assert folder.links.read_text().splitlines()[:2] == ["# layerlink propose a b", "links:"]
    text = "student: vgg7\nteacher: {model: vgg16, weights: own}\n" + folder.links.read_text()
    assert list(load_recipe("b", text=text).recipe.links) == proposal.links
    data = json.loads(folder.data.read_text())
    assert data["links"] == proposal.links
    assert [len(data["similarity"]), len(data["similarity"][0])] == [6, 4]
    assert data["chosen"][0]["why"].startswith("both 8x8, CKA ")
    assert links_yaml([]) == "links: []\n"


def test_what_was_changed_since_is_never_replaced(tmp_path: Path, proposal: Proposal) -> None:
    folder = ProposalFolder(tmp_path)
    write(folder, proposal)
    folder.add_probes({"answer": "none"})
    write(folder, proposal)  # again, over its own
    folder.recipe.write_text(folder.recipe.read_text() + "# mine\n")
    with pytest.raises(ll.UsageError, match=r"recipe.yaml was changed since propose wrote it and would be lost"):
        folder.check()
    folder.recipe.unlink()
    folder.check()


def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("student: vgg7\n")
    with pytest.raises(ll.UsageError, match=r"recipe.yaml is there and propose did not write it"):
        ProposalFolder(tmp_path).check()
    (tmp_path / "proposal.json").write_text("[1]")
    with pytest.raises(ll.UsageError, match=r"recipe.yaml is there and propose did not write it"):
        ProposalFolder(tmp_path).check()


def test_the_map_has_every_pair_and_frames_the_links(proposal: Proposal) -> None:
    spec = similarity_map(proposal).to_dict()
    cells = next(iter(spec["datasets"].values())) if "datasets" in spec else spec["data"]["values"]
    assert len(cells) == 6 * 4
    linked = {(cell["down"], cell["across"]) for cell in cells if cell["linked"] == "yes"}
    assert linked == {("1.1   8x8", "1.0   8x8"), ("1   8x8", "1   8x8")}
    for cell in cells:
        assert cell["text"] == "-" or float(cell["text"]) == pytest.approx(cell["cka"], abs=0.005)


def test_the_page_says_the_links_first(tmp_path: Path, proposal: Proposal) -> None:
    path = tmp_path / "index.html"
    write_proposal_page(
        path, proposal, models=("big", "<small>"), machine={"command": "layerlink propose", "device": "cpu"}
    )
    text = path.read_text()
    assert "Which layers of big teach which of &lt;small&gt;" in text
    assert "2 links: 1.1 -&gt; 1.0, 1. Together about " in text
    assert "redundant with the next layer" in text or "same stage as a better one" in text
    assert text.index("2 links: ") < text.index("Similarity of all pairs") < text.index("Left out")


def test_a_recipe_that_became_no_text_is_kept_as_any_other_change(tmp_path: Path, proposal: Proposal) -> None:
    folder = ProposalFolder(tmp_path / "new")
    write(folder, proposal)
    folder.recipe.write_bytes(b"\x80\x81")
    with pytest.raises(ll.UsageError, match="was changed since propose wrote it and would be lost"):
        folder.check()
    assert folder.recipe.read_bytes() == b"\x80\x81"
