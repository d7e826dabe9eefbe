from __future__ import annotations

from layerlink.design.propose.layers import Layer
from layerlink.design.propose.proposal import LeftOut, Proposal, ProposedLink
from layerlink.taps import Tap


def layer(name: str, order: int, *shape: int) -> Layer:
    return Layer(Tap.parse(name), shape, order, block=False, weighs=True)


LINKS = (
    ProposedLink(
        "layer3 -> group3 : mse, scale=teacher, adapter=auto",
        layer("layer3", 1, 256, 8, 8),
        layer("group3", 0, 512, 8, 8),
        0.7125,
        "conv1x1 512 -> 256",
        131_328,
        0.31,
        32_768,
        "end of the same stage",
    ),
    ProposedLink("fc : mse", layer("fc", 2, 16), layer("fc", 1, 16), None, "", 0, 0.04, 32, "end of the same stage"),
)


def proposal(*left_out: LeftOut, links: tuple[ProposedLink, ...] = LINKS) -> Proposal:
    return Proposal(links, left_out, (), (), (), 7, 64, 32, ("one more thing",))


def test_each_link_is_explained_in_a_line() -> None:
    assert LINKS[0].line == "both 8x8, CKA 0.71, conv1x1 512 -> 256, +0.3 ms, end of the same stage"
    assert LINKS[1].line == "both vector, CKA -, no adapter, +0.0 ms, end of the same stage"


def test_it_prints_as_links_and_a_table() -> None:
    lines = str(proposal()).splitlines()
    assert lines[0] == 'links: ["layer3 -> group3 : mse, scale=teacher, adapter=auto",'
    assert lines[1] == '        "fc : mse"]'
    assert lines[2].split() == ["teacher", "student", "size", "similar", "adapter", "costs", "stored", "why"]
    assert lines[3].startswith("layer3    group3    8x8      0.71      conv1x1 512 -> 256, 131,328 parameters   0.3 ms")
    assert lines[3].endswith("32.0 KiB   end of the same stage")
    assert lines[-2:] == ["left out: 7 modules inside of blocks, or giving what another gives", "note: one more thing"]


def test_left_out_layers_stand_together_by_reason() -> None:
    many = [LeftOut("teacher", layer(f"l{place}", place, 4, 8, 8), "same stage as a better one") for place in range(9)]
    dead = LeftOut("student", layer("relu", 3, 4, 8, 8), "dead", "99 % of its values are always 0")
    told = proposal(*many, dead).told_left_out()
    assert told[0] == "left out: 9 of the teacher, same stage as a better one: l0, l1, l2, l3 and 5 more"
    assert told[1] == "left out: 1 of the student, dead: relu (99 % of its values are always 0)"


def test_nothing_to_link_prints_too() -> None:
    assert str(proposal(links=())).startswith("links: []\nleft out:")
