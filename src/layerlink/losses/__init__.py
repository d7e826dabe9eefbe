"""The losses, one method a file. Those without parameters are pure functions; ``table`` names all.

A loss of one's own is a function or an ``nn.Module``; see ``loss.py`` for what it may ask for.
"""

from __future__ import annotations

from layerlink.losses.dense.cwd import cwd
from layerlink.losses.dense.ifvd import ifvd
from layerlink.losses.dense.skds import skds
from layerlink.losses.loss import Context, Facts, LossKind, loss
from layerlink.losses.maps.ab import ab
from layerlink.losses.maps.at import at
from layerlink.losses.maps.cat_kd import cat_kd
from layerlink.losses.maps.cosine import cosine
from layerlink.losses.maps.fsp import fsp
from layerlink.losses.maps.ft import ft
from layerlink.losses.maps.hcl import hcl
from layerlink.losses.maps.l1 import l1
from layerlink.losses.maps.mse import mse
from layerlink.losses.maps.nst import nst
from layerlink.losses.maps.ofd import batch_norm_margin, ofd
from layerlink.losses.maps.smooth_l1 import smooth_l1
from layerlink.losses.outputs.binary import binary_cross_entropy, binary_kd
from layerlink.losses.outputs.dkd import dkd
from layerlink.losses.outputs.hard import hard_cross_entropy
from layerlink.losses.outputs.kd import kd
from layerlink.losses.outputs.soft import soft_cross_entropy
from layerlink.losses.relations.crd import CRD
from layerlink.losses.relations.rkd import rkd
from layerlink.losses.relations.sp import sp
from layerlink.losses.shapes import ShapeError
from layerlink.losses.table import LINK_LOSSES, LOSSES, LinkLoss, loss_kind
from layerlink.losses.tokens.minilm import minilm
from layerlink.losses.trained.afd import AFD
from layerlink.losses.trained.mgd import MGD
from layerlink.losses.trained.norm import NORM
from layerlink.losses.trained.review import Review
from layerlink.losses.trained.simkd import SimKD
from layerlink.losses.trained.srrl import SRRL
from layerlink.losses.trained.vid import VID
from layerlink.losses.trained.vkd import VKD

__all__ = [
    "AFD",
    "CRD",
    "LINK_LOSSES",
    "LOSSES",
    "MGD",
    "NORM",
    "SRRL",
    "VID",
    "VKD",
    "Context",
    "Facts",
    "LinkLoss",
    "LossKind",
    "Review",
    "ShapeError",
    "SimKD",
    "ab",
    "at",
    "batch_norm_margin",
    "binary_cross_entropy",
    "binary_kd",
    "cat_kd",
    "cosine",
    "cwd",
    "dkd",
    "fsp",
    "ft",
    "hard_cross_entropy",
    "hcl",
    "ifvd",
    "kd",
    "l1",
    "loss",
    "loss_kind",
    "minilm",
    "mse",
    "nst",
    "ofd",
    "rkd",
    "skds",
    "smooth_l1",
    "soft_cross_entropy",
    "sp",
]
