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
from layerlink.losses.maps.sdd import sdd
from layerlink.losses.maps.smooth_l1 import smooth_l1
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
from layerlink.losses.relations.cc import CC
from layerlink.losses.relations.cirkd import cirkd
from layerlink.losses.relations.cka import cka
from layerlink.losses.relations.crd import CRD
from layerlink.losses.relations.ickd import ICKD
from layerlink.losses.relations.itrd import ITRD
from layerlink.losses.relations.pkt import pkt
from layerlink.losses.relations.rkd import rkd
from layerlink.losses.relations.sinkd import sinkd
from layerlink.losses.relations.sp import sp
from layerlink.losses.shapes import ShapeError
from layerlink.losses.table import LINK_LOSSES, LOSSES, LinkLoss, loss_kind
from layerlink.losses.targets.dkd import dkd
from layerlink.losses.targets.nkd import nkd
from layerlink.losses.targets.ofa import ofa
from layerlink.losses.targets.rld import rld
from layerlink.losses.targets.wkd import wkd
from layerlink.losses.targets.wsld import wsld
from layerlink.losses.tokens.attention_kl import attention_kl
from layerlink.losses.tokens.attention_mse import attention_mse
from layerlink.losses.tokens.hidden_mse import hidden_mse
from layerlink.losses.tokens.minilm import minilm
from layerlink.losses.tokens.minilmv2 import minilmv2
from layerlink.losses.tokens.pkd import pkd
from layerlink.losses.tokens.tinybert import TinyBERT
from layerlink.losses.tokens.uld import uld
from layerlink.losses.trained.afd import AFD
from layerlink.losses.trained.factor import FactorTransfer
from layerlink.losses.trained.mgd import MGD
from layerlink.losses.trained.norm import NORM
from layerlink.losses.trained.review import Review
from layerlink.losses.trained.simkd import SimKD
from layerlink.losses.trained.srrl import SRRL
from layerlink.losses.trained.vid import VID
from layerlink.losses.trained.vkd import VKD

# By the names that links use, too.
afd = AFD
cc = CC
crd = CRD
ctkd = CTKD
factor = FactorTransfer
ickd = ICKD
itrd = ITRD
mgd = MGD
norm = NORM
review = Review
simkd = SimKD
srrl = SRRL
tinybert = TinyBERT
vid = VID
vkd = VKD

__all__ = [
    "AFD",
    "CC",
    "CRD",
    "CTKD",
    "ICKD",
    "ITRD",
    "LINK_LOSSES",
    "LOSSES",
    "MGD",
    "NORM",
    "SRRL",
    "VID",
    "VKD",
    "Context",
    "FactorTransfer",
    "Facts",
    "LinkLoss",
    "LossKind",
    "Review",
    "ShapeError",
    "SimKD",
    "TinyBERT",
    "ab",
    "abkd",
    "afd",
    "at",
    "attention_kl",
    "attention_mse",
    "batch_norm_margin",
    "binary_cross_entropy",
    "binary_kd",
    "cat_kd",
    "cc",
    "cirkd",
    "cka",
    "cosine",
    "crd",
    "ctkd",
    "cwd",
    "dist",
    "dkd",
    "factor",
    "fsp",
    "ft",
    "hard_cross_entropy",
    "hcl",
    "hidden_mse",
    "ickd",
    "ifvd",
    "itrd",
    "kd",
    "l1",
    "loss",
    "loss_kind",
    "mgd",
    "minilm",
    "minilmv2",
    "mlkd",
    "mse",
    "nkd",
    "norm",
    "nst",
    "ofa",
    "ofd",
    "pkd",
    "pkt",
    "review",
    "rkd",
    "rld",
    "sdd",
    "simkd",
    "sinkd",
    "skds",
    "smooth_l1",
    "soft_cross_entropy",
    "sp",
    "srrl",
    "standardise",
    "tinybert",
    "topk_kl",
    "ttm",
    "uld",
    "vid",
    "vkd",
    "wkd",
    "wsld",
    "wttm",
]
