"""Peers: students that learn beside a recipe's own, each from what the others give. What each of them is trained by."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from layerlink.lab.recipe.models import StudentSection, TeacherSection, model_by_name, named
from layerlink.lab.recipe.terms import LinkTexts

if TYPE_CHECKING:
    from layerlink.lab.recipe.schema import Recipe

STUDENT = "student"  # what the recipe's own student is called by its peers


class PeerSection(StudentSection):
    """A student that learns beside the recipe's; `peers: {wide: vgg11}` is short for `peers: {wide: {model: vgg11}}`.

    It learns by the recipe's `hard` and `soft` with its training, from initial weights of its own.
    """

    links: LinkTexts = Field(
        (),
        description="from the others' layers to its own; of several the recipe's student is student/, one has no name",
    )


def _is_free(value: str) -> str:
    if value == STUDENT:
        raise ValueError(f"a peer needs another name than {STUDENT}, which the recipe's own has")
    return named("peer")(value)


PeerName = Annotated[str, AfterValidator(_is_free)]
Peer = Annotated[PeerSection, BeforeValidator(model_by_name)]


def taught_by_peers(peers: dict[str, PeerSection]) -> dict[str, TeacherSection]:
    """What the recipe's student learns from, as teachers: two or more by name; one alone has none."""
    sections = {
        name: TeacherSection.model_validate(
            {"model": peer.model, "arguments": peer.arguments, "logits": peer.logits, "head": peer.head}
        )
        for name, peer in peers.items()
    }
    return sections if len(sections) > 1 else {"": next(iter(sections.values()))}


def recipes_of_peers(recipe: Recipe) -> dict[str, Recipe]:
    """By name the recipe that each peer is trained by: there it is the student, and the student one of its peers."""
    found = {}
    for name, peer in (recipe.peers or {}).items():
        student = PeerSection.model_validate({**recipe.student.model_dump(), "links": recipe.links})
        others = {STUDENT: student, **{other: it for other, it in (recipe.peers or {}).items() if other != name}}
        changes = {"student": peer, "peers": others, "links": peer.links, "seed": _seed(recipe.seed, name)}
        found[name] = recipe.model_copy(update=changes)
    return found


def _seed(seed: int, name: str) -> int:
    """Of a peer's initial weights and random numbers: never those of a run with another seed."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:4], "big") >> 1
