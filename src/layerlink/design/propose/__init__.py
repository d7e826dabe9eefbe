"""Which layers to link: two models, a few real batches, links with evidence."""

from __future__ import annotations

from layerlink.design.propose.proposal import LeftOut, Proposal, ProposedLink
from layerlink.design.propose.proposing import propose

__all__ = ["LeftOut", "Proposal", "ProposedLink", "propose"]
