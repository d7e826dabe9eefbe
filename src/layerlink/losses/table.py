"""The losses that a link may use, by name. A new one is a file in one of the folders beside this and a line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from layerlink.errors import UsageError, unknown_name
from layerlink.losses.dense.cwd import cwd
from layerlink.losses.dense.ifvd import ifvd
from layerlink.losses.dense.skds import skds
from layerlink.losses.loss import LossKind, kind_of
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
from layerlink.losses.maps.ofd import ofd
from layerlink.losses.maps.sdd import sdd
from layerlink.losses.maps.smooth_l1 import smooth_l1
from layerlink.losses.outputs.abkd import abkd
from layerlink.losses.outputs.binary import binary_kd
from layerlink.losses.outputs.ctkd import CTKD
from layerlink.losses.outputs.dist import dist
from layerlink.losses.outputs.kd import kd
from layerlink.losses.outputs.mlkd import mlkd
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
from layerlink.losses.targets.dkd import dkd
from layerlink.losses.targets.nkd import nkd
from layerlink.losses.targets.ofa import ofa
from layerlink.losses.targets.rld import rld
from layerlink.losses.targets.wkd import wkd
from layerlink.losses.targets.wsld import wsld
from layerlink.losses.tokens.attention_kl import attention_kl, rows_asked
from layerlink.losses.tokens.attention_mse import attention_mse, pairs_compared
from layerlink.losses.tokens.hidden_mse import hidden_mse
from layerlink.losses.tokens.minilm import minilm
from layerlink.losses.tokens.minilmv2 import minilmv2
from layerlink.losses.tokens.pkd import pkd, tokens_compared
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
from layerlink.user_code import named

LinkLoss = Callable[[Tensor, Tensor], Tensor]

LOSSES: dict[str, LossKind] = {
    "kd": LossKind(kd, degree=None),
    "abkd": LossKind(abkd, degree=None),
    "ttm": LossKind(ttm, degree=None),
    "wttm": LossKind(wttm, degree=None),
    "dist": LossKind(dist, between_images=True, degree=None),
    "mlkd": LossKind(mlkd, between_images=True, degree=None),
    "topk_kl": LossKind(topk_kl, degree=None),
    "ctkd": LossKind(CTKD, degree=None),
    "binary_kd": LossKind(binary_kd, degree=None),
    "dkd": LossKind(dkd, degree=None),
    "nkd": LossKind(nkd, degree=None),
    "wsld": LossKind(wsld, degree=None),
    "rld": LossKind(rld, degree=None),
    "ofa": LossKind(ofa, degree=None),
    "wkd": LossKind(wkd, degree=None),
    "mse": LossKind(mse),
    "l1": LossKind(l1, degree=1),
    "smooth_l1": LossKind(smooth_l1, degree=None),
    "cosine": LossKind(cosine, degree=0),
    "at": LossKind(at, same_shape=False, degree=0),
    "ft": LossKind(ft, same_shape=False, degree=0),
    "nst": LossKind(nst, same_shape=False, degree=0),
    "ab": LossKind(ab, degree=None),
    "ofd": LossKind(ofd, between_images=True),
    "hcl": LossKind(hcl),
    "fsp": LossKind(fsp, taps=2, same_shape=False, degree=4),
    "sdd": LossKind(sdd, same_shape=False, degree=None),
    "cat_kd": LossKind(cat_kd, same_shape=False, degree=None),
    "cwd": LossKind(cwd, degree=None),
    "ifvd": LossKind(ifvd, same_shape=False, degree=0),
    "skds": LossKind(skds, same_shape=False, degree=0),
    "vid": LossKind(VID, same_shape=False, degree=None),
    "review": LossKind(Review, taps=None, same_shape=False, degree=None),
    "factor": LossKind(FactorTransfer, same_shape=False, degree=None),
    "mgd": LossKind(MGD, same_shape=False, degree=None),
    "norm": LossKind(NORM, same_shape=False, degree=None),
    "vkd": LossKind(VKD, same_shape=False, degree=None),
    "srrl": LossKind(SRRL, same_shape=False, degree=None),
    "simkd": LossKind(SimKD, same_shape=False, degree=None),
    "afd": LossKind(AFD, taps=None, same_shape=False, degree=None),
    "sp": LossKind(sp, between_images=True, same_shape=False, degree=0),
    "rkd": LossKind(rkd, between_images=True, same_shape=False, degree=0),
    "crd": LossKind(CRD, between_images=True, same_shape=False, degree=None),
    "pkt": LossKind(pkt, between_images=True, same_shape=False, degree=0),
    "cc": LossKind(CC, between_images=True, same_shape=False, degree=None),
    "ickd": LossKind(ICKD, same_shape=False, degree=None),
    "cka": LossKind(cka, between_images=True, same_shape=False, degree=0),
    "itrd": LossKind(ITRD, between_images=True, same_shape=False, degree=None),
    "cirkd": LossKind(cirkd, between_images=True, same_shape=False, degree=0),
    "sinkd": LossKind(sinkd, between_images=True, degree=None),
    "minilm": LossKind(minilm, same_shape=False, degree=None),
    "minilmv2": LossKind(minilmv2, taps=None, same_shape=False, degree=None),
    "hidden_mse": LossKind(hidden_mse),
    "attention_mse": LossKind(attention_mse, degree=None, counted=pairs_compared),
    "attention_kl": LossKind(attention_kl, degree=None, counted=rows_asked),
    "pkd": LossKind(pkd, degree=0, counted=tokens_compared),
    "tinybert": LossKind(TinyBERT, taps=2, same_shape=False, degree=None),
    "uld": LossKind(uld, same_shape=False, degree=None),
}

# Of these the plain functions of two tensors, for loops of one's own.
LINK_LOSSES: dict[str, LinkLoss] = {
    name: kind.make
    for name, kind in LOSSES.items()
    if kind.taps == 1 and not kind.is_module and kind.needs() <= {"mask"}
}


def loss_kind(loss: Any) -> LossKind:
    """The loss that a name of the table, ``"package.module:name"``, a function, a class or a module stands for.

    Raises:
        UsageError: where there is none.
    """
    if not isinstance(loss, str):
        return kind_of(loss)
    if ":" in loss:
        return kind_of(named(loss, "loss"))
    if loss not in LOSSES:
        raise UsageError(unknown_name("loss", loss, LOSSES))
    return LOSSES[loss]
