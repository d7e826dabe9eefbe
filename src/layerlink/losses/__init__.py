"""The losses, one method a file. Those without parameters are pure functions; ``table`` names all.

A loss of one's own is a function or an ``nn.Module``; see ``loss.py`` for what it may ask for.
"""

from __future__ import annotations

from layerlink.losses.loss import Context, Facts, LossKind, loss
from layerlink.losses.maps.at import at
from layerlink.losses.maps.cosine import cosine
from layerlink.losses.maps.fsp import fsp
from layerlink.losses.maps.hcl import hcl
from layerlink.losses.maps.l1 import l1
from layerlink.losses.maps.mse import mse
from layerlink.losses.maps.review import Review
from layerlink.losses.maps.vid import VID
from layerlink.losses.outputs.abkd import abkd
from layerlink.losses.outputs.binary import binary_cross_entropy, binary_kd
from layerlink.losses.outputs.ctkd import CTKD
from layerlink.losses.outputs.dist import dist
from layerlink.losses.outputs.hard import hard_cross_entropy
from layerlink.losses.outputs.kd import kd
from layerlink.losses.outputs.mlkd import mlkd
from layerlink.losses.outputs.soft import soft_cross_entropy
from layerlink.losses.outputs.standardise import standardise
from layerlink.losses.outputs.topk_kl import topk_kl
from layerlink.losses.outputs.ttm import ttm, wttm
from layerlink.losses.relations.crd import CRD
from layerlink.losses.relations.rkd import rkd
from layerlink.losses.relations.sp import sp
from layerlink.losses.shapes import ShapeError
from layerlink.losses.table import LINK_LOSSES, LOSSES, LinkLoss, loss_kind
from layerlink.losses.targets.dkd import dkd
from layerlink.losses.targets.nkd import nkd
from layerlink.losses.targets.ofa import ofa
from layerlink.losses.targets.rld import rld
from layerlink.losses.targets.wkd import wkd
from layerlink.losses.targets.wsld import wsld
from layerlink.losses.tokens.minilm import minilm

__all__ = [
    "CRD",
    "CTKD",
    "LINK_LOSSES",
    "LOSSES",
    "VID",
    "Context",
    "Facts",
    "LinkLoss",
    "LossKind",
    "Review",
    "ShapeError",
    "abkd",
    "at",
    "binary_cross_entropy",
    "binary_kd",
    "cosine",
    "dist",
    "dkd",
    "fsp",
    "hard_cross_entropy",
    "hcl",
    "kd",
    "l1",
    "loss",
    "loss_kind",
    "minilm",
    "mlkd",
    "mse",
    "nkd",
    "ofa",
    "rkd",
    "rld",
    "soft_cross_entropy",
    "sp",
    "standardise",
    "topk_kl",
    "ttm",
    "wkd",
    "wsld",
    "wttm",
]
