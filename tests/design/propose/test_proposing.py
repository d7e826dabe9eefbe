from __future__ import annotations

import copy
import dataclasses
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import layerlink as ll
from layerlink.design.propose import Proposal, proposing
from layerlink.design.propose.proposing import look
from layerlink.taps import Observed
from layerlink.transfer import LinkReport
from layerlink.transfer.inspection import inspect_observed
from nets import Wrapped, blocks, images, renamed, vgg

GROUPS = [f"group{number}" for number in range(1, 6)]


def pairs(proposal: Proposal) -> list[tuple[str, str]]:
    return [(str(link.teacher), str(link.student)) for link in proposal.chosen]


def names_of(model: nn.Module, among: nn.Sequential) -> list[str]:
    """How a renamed model calls the groups."""
    order = [name for name, _ in model.named_children()]
    names = [name for name, child in among.named_children() if not isinstance(child, nn.Flatten)]
    return [names[order.index(group)] for group in GROUPS]


def test_it_finds_the_studys_links() -> None:
    proposal = ll.propose(vgg("vgg16"), vgg("vgg7"), [images()])
    assert proposal.links == [f"{group} : mse, scale=teacher" for group in GROUPS]
    assert [link.size for link in proposal.chosen] == ["32x32", "16x16", "8x8", "4x4", "2x2"]
    assert [link.parameters for link in proposal.chosen] == [0] * 5
    four = ll.propose(vgg("vgg16"), vgg("vgg7"), [images()], links=4)
    assert four.links == proposal.links[1:]  # those of its best row


def test_also_with_every_module_renamed_and_the_students_widths_halved() -> None:
    teacher, student = vgg("vgg16"), vgg("vgg7", 0.0625)
    other, small = renamed(teacher, "q"), renamed(student, "zz")
    proposal = ll.propose(other, small, [images()])
    assert pairs(proposal) == list(zip(names_of(teacher, other), names_of(student, small), strict=True))
    assert all(link.text.endswith(" : mse, scale=teacher, adapter=auto") for link in proposal.chosen)
    assert [link.adapter for link in proposal.chosen[:3]] == ["conv1x1 4 -> 8", "conv1x1 8 -> 16", "conv1x1 16 -> 32"]
    assert [link.parameters for link in proposal.chosen[:2]] == [4 * 8 + 8, 8 * 16 + 16]
    deep = nn.Sequential(*map(Wrapped, copy.deepcopy(other)))
    assert [link.size for link in ll.propose(Wrapped(deep), Wrapped(small), [images()]).chosen] == [
        link.size for link in proposal.chosen
    ]


def test_stages_of_one_dimensional_convolutions_are_found_by_their_length() -> None:
    def network(width: int, blocks: int) -> nn.Sequential:
        def layer(given: int, made: int, stride: int) -> nn.Module:
            return nn.Sequential(nn.Conv1d(given, made, 5, stride, padding=2), nn.BatchNorm1d(made), nn.ReLU())

        stages = [(2, width, 1), (width, width, 2), (width, width, 2)]  # channels do not tell them
        layers = [part for it in stages for part in (layer(*it), *(layer(it[1], it[1], 1) for _ in range(blocks)))]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(width, 10))

    proposal = ll.propose(network(16, 2), network(8, 0), [torch.randn(32, 2, 100)])
    assert pairs(proposal) == [("2", "0"), ("5", "1"), ("8", "2")]
    assert [link.size for link in proposal.chosen] == ["length 100", "length 50", "length 25"]
    assert [link.adapter for link in proposal.chosen] == ["conv1x1 8 -> 16"] * 3


def test_a_trained_student_gets_the_same_links() -> None:
    torch.manual_seed(1)
    teacher, student, x = vgg("vgg16"), vgg("vgg7"), images(32)
    before = ll.propose(teacher, student, [x])
    distiller = ll.Distiller(teacher, student, hard=0.0, links=before.links)
    optimiser = torch.optim.AdamW(distiller.trainable_parameters(), lr=0.003)
    totals = []
    for _ in range(15):
        optimiser.zero_grad()
        total = distiller(x, torch.zeros(32, dtype=torch.int64)).total
        total.backward()
        optimiser.step()
        totals.append(float(total.detach()))
    after = ll.propose(teacher, student, [x])
    assert totals[-1] < 0.8 * totals[0]
    assert after.links == before.links
    assert [link.similar for link in after.chosen] != [link.similar for link in before.chosen]


def test_resnets_by_their_stages_and_through_adapters() -> None:
    build = {"num_classes": 10, "image_size": 32}
    teacher = ll.build_model("resnet56", **build)
    ends = ["layer1", "layer2", "layer3"]
    assert pairs(ll.propose(teacher, ll.build_model("resnet20", **build), [images()])) == [(it, it) for it in ends]
    more = ll.propose(teacher, ll.build_model("resnet20", **build), [images()], links=6)
    assert [pair[1] for pair in pairs(more)] == ["layer1.0", "layer1", "layer2.0", "layer2", "layer3.0", "layer3"]
    crossed = ll.propose(teacher, vgg("vgg7"), [images()])
    assert pairs(crossed) == list(zip(ends, GROUPS[:3], strict=True))
    assert [link.adapter for link in crossed.chosen] == ["conv1x1 8 -> 16", "conv1x1 16 -> 32", "conv1x1 32 -> 64"]


def test_transformers_whose_inputs_are_mappings_with_padding() -> None:
    transformers = pytest.importorskip("transformers")

    def bert(layers: int, width: int) -> nn.Module:
        config = transformers.BertConfig(
            hidden_size=width, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=32, vocab_size=50
        )
        model: nn.Module = transformers.BertForSequenceClassification(config)
        return model

    ids = torch.randint(0, 50, (8, 12))
    batch = {"input_ids": ids, "attention_mask": (torch.arange(12) < torch.randint(6, 13, (8, 1))).long()}
    proposal = ll.propose(bert(8, 16), bert(4, 8), [batch])
    assert pairs(proposal) == [
        (f"bert.encoder.layer.{2 * place + 1}", f"bert.encoder.layer.{place}") for place in range(4)
    ]
    assert proposal.links[0].endswith(" : mse, scale=teacher, adapter=auto, where=attention_mask")
    distiller = ll.Distiller(bert(8, 16), bert(4, 8), links=proposal.links, example=batch)
    losses = distiller(batch, torch.zeros(8, dtype=torch.int64))
    assert losses.total.isfinite()


def test_a_teacher_that_sees_more_pixels_is_compared_by_shares_of_the_image() -> None:
    teacher = ll.build_model("vgg16", num_classes=10, image_size=64, width=0.125)
    observed = Observed(teacher, "teacher", view=lambda x: nn.functional.interpolate(x, size=64))
    proposal = look(observed, Observed(vgg("vgg7"), "student"), images()).proposal()
    assert pairs(proposal) == [(group, group) for group in GROUPS]
    assert [link.adapter for link in proposal.chosen[:2]] == ["resize 32x32 -> 64x64", "resize 16x16 -> 32x32"]
    assert proposal.chosen[0].line.startswith("64x64 -> 32x32, CKA ")
    assert {link.role for link in proposal.chosen} == {"end of the same stage"}


def test_tuples_lists_and_loaders() -> None:
    class Both(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.one, self.two, self.out = nn.Linear(3, width), nn.Linear(3, width), nn.Linear(width, 2)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            out: Tensor = self.out((self.one(a) * self.two(b)).relu())
            return out

    proposal = ll.propose(Both(8), Both(4), [(torch.randn(9, 3), torch.randn(9, 3))])
    assert all(link.adapter.startswith("linear 4 -> 8") for link in proposal.chosen)
    data = torch.utils.data.TensorDataset(images(18, 8), torch.zeros(18, dtype=torch.int64))
    loader = torch.utils.data.DataLoader(data, batch_size=8)  # lists of inputs and labels; the last batch has two
    found = ll.propose(blocks(4), blocks(2), loader)
    assert (found.images, found.batch) == (16, 8)
    assert pairs(found) == [("1.1", "1.0"), ("1", "1")]
    assert ll.propose(blocks(4), blocks(2), images(8, 8)).links == found.links
    labelled = [(images(8, 8), torch.zeros(8, dtype=torch.int64))]  # more than the models take
    assert ll.propose(blocks(4), blocks(2), labelled).links == found.links


def test_both_models_stay_as_they_were() -> None:
    teacher = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(144, 3)
    )
    student = copy.deepcopy(teacher).eval()
    states = [copy.deepcopy(model.state_dict()) for model in (teacher, student)]
    random = torch.get_rng_state()
    ll.propose(teacher, student, [images(8, 8)])
    for model, state in zip((teacher, student), states, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
        assert all(it.requires_grad and it.grad is None for it in model.parameters())
        assert not [hook for module in model.modules() for hook in module._forward_hooks]
    assert (teacher.training, student.training) == (True, False)
    assert torch.equal(torch.get_rng_state(), random)


def test_every_link_that_is_proposed_trains() -> None:
    teacher, student, x = vgg("vgg16"), vgg("vgg7", 0.0625), images(8)
    proposal = ll.propose(teacher, student, [x], links=7)
    assert [str(link.student) for link in proposal.chosen] == [*GROUPS, "hidden"]
    assert proposal.notes == ("7 links were asked for; there are 6 that make sense",)
    distiller = ll.Distiller(teacher, student, links=proposal.links, example=x[:2])
    losses = distiller(x, torch.zeros(8, dtype=torch.int64))
    losses.total.backward()
    assert set(proposal.links) <= set(losses.terms)
    assert all(it.grad is not None and it.grad.isfinite().all() for it in distiller.trainable_parameters())


def test_equal_models_have_nothing_to_teach_each_other() -> None:
    model = blocks(3)
    proposal = ll.propose(model, copy.deepcopy(model), [images(8, 8)])
    assert proposal.links == []
    assert {it.reason for it in proposal.left_out} == {"similar already, nothing to teach"}


class Useless(nn.Module):
    """A dead layer, a constant one, one with infinity beside the way of the others."""

    def __init__(self) -> None:
        super().__init__()
        self.dead, self.constant, self.infinite = nn.ReLU(), nn.Identity(), nn.Identity()
        self.body, self.out = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        self.infinite(x / 0)
        h = self.body(x)
        self.dead(-h.square() - 1)
        self.constant(torch.ones_like(h))
        out: Tensor = self.out(h.mean((2, 3)))
        return out


def test_layers_of_no_use_are_named_with_their_reason() -> None:
    proposal = ll.propose(Useless(), blocks(1), [images(8, 8)])
    reasons = {str(it.layer): (it.reason, it.detail) for it in proposal.left_out if it.side == "teacher"}
    assert reasons["dead"] == ("dead", "100 % of its values are always 0")
    assert reasons["constant"] == ("constant", "the same for all images")
    assert reasons["infinite"][0] == "not finite"
    assert [pair[0] for pair in pairs(proposal)] == ["body"]
    text = str(proposal)
    assert "left out: 1 of the teacher, dead: dead (100 % of its values are always 0)" in text


def test_layers_that_say_what_the_next_one_says_are_named() -> None:
    teacher = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 10)
    )
    student = nn.Sequential(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.Flatten(), nn.Linear(96, 10))
    reasons = {
        str(it.layer): it for it in ll.propose(teacher, student, [images(16, 8)]).left_out if it.side == "teacher"
    }
    assert (reasons["0"].reason, reasons["0"].detail) == ("redundant with the next layer", "1, CKA 1.000")
    assert reasons["2"].reason == "the other model has no stage for it"
    assert reasons["3"].reason == "same stage as a better one"


def test_a_link_that_does_not_work_on_the_batch_is_not_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    def inspected(*arguments: Any) -> list[LinkReport]:
        reports = inspect_observed(*arguments)
        return [dataclasses.replace(reports[0], problems=("it does not", "at all")), *reports[1:]]

    monkeypatch.setattr(proposing, "inspect_observed", inspected)
    proposal = ll.propose(blocks(4), blocks(2), [images(8, 8)])
    assert pairs(proposal) == [("1", "1")]
    assert proposal.notes == ("'1.1 -> 1.0 : mse, scale=teacher' is left out: it does not; at all",)


def test_other_classes_are_told_and_do_not_stop_links() -> None:
    teacher, student = blocks(2), blocks(1)
    student[-1] = nn.Linear(4 * 64, 7)
    proposal = ll.propose(teacher, student, [images(8, 8)])
    assert proposal.links
    assert proposal.notes == (
        "the teacher gives (N, 10) and the student gives (N, 7): links of layers work all the same, softened outputs "
        "(soft) do not",
    )


def refused(teacher: nn.Module, student: nn.Module, batches: Any, **more: Any) -> str:
    with pytest.raises(ll.UsageError) as error:
        ll.propose(teacher, student, batches, **more)
    return str(error.value)


def test_bad_input_is_explained() -> None:
    net, x = blocks(1), images(8, 8)
    assert refused(net, net, [x[:3]]).startswith("a batch must hold at least 4 examples, which the unbiased estimate")
    assert refused(net, net, []) == "there are no batches to look at; pass at least one"
    assert refused(net, net, 3).startswith("batches must be an iterable of batches, such as a DataLoader; got int")
    assert refused(net, net, ["words"]).startswith("a batch must be what the models take: a tensor, a tuple")
    assert refused(net, net, [x], links=0) == "links must be at least 1; got 0"
    said = refused(net, blocks(1, size=4), [x])
    assert re.match(r"the student cannot be run on the first batch: RuntimeError: (addmm: )?mat1 and mat2", said)
    assert refused(nn.Linear(3, 2), nn.Linear(3, 2), [torch.randn(4, 3)]).startswith(
        "the teacher has no layer that can be linked: none of its modules but its output gives floating numbers"
    )
    scripted = torch.export.export(net, (x,)).module()
    assert refused(scripted, net, [x]).startswith("the teacher is exported (torch.export): layers cannot be read")


def test_models_without_a_common_kind_of_layer_are_told_what_each_has() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.ReLU(), nn.Linear(5, 10))
    said = refused(flat, Useless(), [images(8, 8)])
    assert said.startswith(
        "no layers of the two can be linked: the teacher has vectors such as 2 and the student has maps such as "
        "constant (8x8), and no adapter brings any two together"
    )
    assert said.endswith("Let the outputs teach: soft, or @output : kd(temperature=4)")


def test_a_model_that_gives_no_finite_numbers_is_named_by_its_first_layer() -> None:
    teacher = blocks(2)
    with torch.no_grad():
        next(teacher[1].parameters()).fill_(float("nan"))
    assert refused(teacher, blocks(1), [images(8, 8)]).startswith("the teacher's layer '1' gives NaN or infinity")
