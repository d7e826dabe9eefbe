"""Links between one-dimensional convolutions: against the same layers with a row, and by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import layerlink as ll
from layerlink.errors import ProblemsError


def network(width: int) -> nn.Sequential:
    torch.manual_seed(width)
    return nn.Sequential(
        nn.Conv1d(2, width, 5, padding=2),
        nn.ReLU(),
        nn.Conv1d(width, 2 * width, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(2 * width, 10),
    )


def with_a_row(model: nn.Sequential) -> nn.Sequential:
    """The same of two-dimensional convolutions over inputs (N, 2, 1, L)."""
    layers: list[nn.Module] = []
    for layer in model:
        if isinstance(layer, nn.Conv1d):
            stride, padding = layer.stride[0], layer.padding[0]
            assert isinstance(padding, int)
            made = nn.Conv2d(layer.in_channels, layer.out_channels, (1, 5), (1, stride), (0, padding))
            made.load_state_dict({"weight": layer.weight.data[:, :, None], "bias": layer.bias.data})
            layers.append(made)
        else:
            layers.append(nn.AdaptiveAvgPool2d(1) if isinstance(layer, nn.AdaptiveAvgPool1d) else layer)
    return nn.Sequential(*layers)


TEACHER, INPUTS, LABELS = network(16), torch.randn(4, 2, 50), torch.arange(4)


def term(link: str | ll.Link, *, row: bool = False, teacher: nn.Module = TEACHER, mask: Tensor | None = None) -> float:
    """The raw term, with adapters and trained losses drawn from one seed."""
    student: nn.Module = network(8)
    inputs = INPUTS
    if row:
        student, teacher, inputs = with_a_row(network(8)), with_a_row(network(16)), INPUTS[:, :, None]
    torch.manual_seed(5)
    distiller = ll.Distiller(teacher, student, links=[link], example=inputs[:2])
    torch.manual_seed(6)
    losses = distiller(inputs, LABELS, mask=mask)
    losses.total.backward()
    assert all(parameter.grad is not None for parameter in distiller.link_parameters())
    return losses.terms[str(link)].item()


@pytest.mark.parametrize(
    "link",
    [
        *("1 : mse, adapter=auto", "1 : cosine, adapter=conv1x1(norm=True)", "3 -> 1 : mse, adapter=auto"),
        *("1 -> 3 : l1, adapter=auto", "1 : at", "3 : nst", "1 : ft", "3 : vid", "1 : ofd, adapter=auto", "3 : sp"),
        *("3 : cwd, adapter=auto", "1 : factor", "1 + 3 : fsp, adapter=auto", "3 : mgd", "1 : ickd"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*counts in full at every step")
def test_a_link_is_that_of_the_same_layers_with_a_row(link: str) -> None:
    assert term(link) == pytest.approx(term(link, row=True), rel=1e-5)


def test_without_an_example_as_well() -> None:
    torch.manual_seed(0)
    student, inputs = network(16), torch.randn(4, 2, 50)
    distiller = ll.Distiller(TEACHER, student, links=["1 : cosine"])
    own, other = student[:2](inputs), TEACHER[:2](inputs)
    expected = 1 - torch.cosine_similarity(own, other, dim=1)  # over channels, at each of 50 places
    assert distiller(inputs, LABELS).terms["1 : cosine"].item() == pytest.approx(expected.mean().item(), abs=1e-6)
    mask = torch.arange(50).expand(4, 50) < torch.tensor([[50], [20], [5], [1]])
    masked = distiller(inputs, LABELS, mask=mask).terms["1 : cosine"].item()
    assert masked == pytest.approx(expected[mask].mean().item(), abs=1e-6)


def test_who_says_that_they_are_maps_or_tokens_is_believed() -> None:
    states = nn.Sequential(nn.Unflatten(1, (8, 6)), nn.ReLU(), nn.Flatten(), nn.Linear(48, 10))  # no Conv1d tells it
    wide = nn.Sequential(nn.Unflatten(1, (4, 12)), nn.ReLU(), nn.Flatten(), nn.Linear(48, 10))
    inputs = torch.randn(4, 48)

    def words(teacher: nn.Module, student: nn.Module, link: str, given: Tensor) -> str:
        (report,) = ll.inspect_links(teacher, student, [link], given)
        assert not report.problems
        return report.adapter

    assert words(states, wide, "1 : mse, adapter=auto", inputs) == "linear 12 -> 6, teacher: without 4 class tokens"
    assert words(states, wide, "1 : mse, adapter=conv1x1", inputs) == "pool 1x12 -> 1x6, conv1x1 4 -> 8"
    assert words(TEACHER, network(8), "1 : mse, adapter=auto", INPUTS) == "conv1x1 8 -> 16"
    assert words(TEACHER, network(8), "1 : mse, adapter=tokens", INPUTS) == "resize 8 -> 16 tokens"


def test_code_of_ones_own_gets_what_the_layers_give() -> None:
    seen: list[tuple[int, ...]] = []

    def apart(student: Tensor, teacher: Tensor, *, mask: Tensor | None = None) -> Tensor:
        seen.extend((tuple(student.shape), tuple(teacher.shape)))
        if mask is not None:
            seen.append(tuple(mask.shape))
        return (student - teacher).abs().mean()

    def convolution(student: tuple[int, ...], teacher: tuple[int, ...]) -> nn.Module:
        seen.extend((student, teacher))
        return nn.Conv1d(student[1], teacher[1], 1)

    term(ll.Link("1", "1", loss=apart, adapter="auto", text="ours"), mask=torch.ones(4, 50))
    assert seen == [(2, 16, 50)] * 2 + [(4, 16, 50)] * 2 + [(4, 50)]
    seen.clear()
    term(ll.Link("1", "1", loss=apart, adapter=convolution, text="both"))
    assert seen == [(2, 8, 50), (2, 16, 50)] + [(2, 16, 50)] * 2 + [(4, 16, 50)] * 2
    assert term(ll.Link("1", "1", loss="at", adapter=convolution, text="adapter")) > 0

    class Made(nn.Module):
        def __init__(self, student: tuple[int, ...], teacher: tuple[int, ...]) -> None:
            super().__init__()
            seen.extend((student, teacher))
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
            return self.scale * (student - teacher).square().mean()

    seen.clear()
    term(ll.Link("1", "1", loss=Made, adapter="auto", text="made"))
    assert seen == [(2, 16, 50)] * 2


@pytest.mark.parametrize("length", [48, 50])
def test_a_teacher_of_tokens_teaches_a_student_of_convolutions(length: int) -> None:
    teacher = nn.Sequential(nn.Flatten(1), nn.Linear(100, 12 * length), nn.Unflatten(1, (length, 12)), nn.LayerNorm(12))
    (report,) = ll.inspect_links(teacher, network(8), ["3 -> 1 : mse, adapter=auto"], INPUTS)
    moved = "" if length == 50 else "pool 1x50 -> 1x48, "
    assert (report.adapter, report.problems) == (f"{moved}conv1x1 8 -> 12, 1x{length} -> tokens", ())


def test_what_nothing_is_told_of_is_as_the_other_side() -> None:
    class Squeezed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.gate = nn.Conv1d(2, 8, 5, padding=2), nn.Linear(8, 8)

        def forward(self, values: Tensor) -> Tensor:
            made: Tensor = self.conv(values)
            return made * self.gate(made.mean(2)).sigmoid()[:, :, None]

    teacher = nn.Sequential(Squeezed(), nn.Flatten(), nn.Linear(8 * 50, 10))
    student = network(8)
    links = ["0 : mse", "0 : at"]
    for taught in (None, teacher(INPUTS[:4])):
        given = {"teacher": teacher} if taught is None else {"teacher": lambda x: ll.Activations(None, read(x))}

        def read(inputs: Tensor) -> dict[ll.Tap, Tensor]:
            return {ll.Tap("0"): teacher[0](inputs).detach()}

        losses = ll.Distiller(student=student, links=links, **given)(INPUTS, LABELS)
        own, other = student[0](INPUTS), teacher[0](INPUTS)
        assert losses.terms["0 : mse"].item() == pytest.approx((own - other).square().mean().item())
        assert losses.terms["0 : at"].item() == pytest.approx(ll.losses.at(own[:, :, None], other[:, :, None]).item())


def test_several_teachers_of_other_channels() -> None:
    distiller = ll.Distiller({"a": network(16), "b": network(12)}, network(8), links=["a/1 : at", "b/3 : at"])
    terms = distiller(INPUTS, LABELS).terms
    own, other = network(8)[:2](INPUTS)[:, :, None], network(16)[:2](INPUTS)[:, :, None]
    assert terms["a/1 : at"].item() == pytest.approx(ll.losses.at(own, other).item())
    assert terms["b/3 : at"].item() > 0


def test_every_length_is_taken_alike() -> None:
    distiller = ll.Distiller(network(16), network(8), links=["1 : mse, adapter=auto", "1 : at"], example=INPUTS[:2])
    for length in (4, 8, 10, 16, 32, 50):  # also as long as there are channels, or classes
        inputs = torch.randn(4, 2, length)
        own, other = distiller.student[:2](inputs), network(16)[:2](inputs)
        (adapted,) = (adapter(own[:, :, None])[:, :, 0] for adapter in distiller.parts["0"].adapters)
        terms = distiller(inputs, LABELS).terms
        assert terms["1 : mse, adapter=auto"].item() == pytest.approx((adapted - other).square().mean().item())
        assert terms["1 : at"].item() == pytest.approx(ll.losses.at(own[:, :, None], other[:, :, None]).item())


def test_the_mask_of_a_loss_of_several_taps_is_at_the_places_of_the_first() -> None:
    seen: list[tuple[int, ...]] = []

    @ll.loss(taps=2)
    def both(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], *, mask: Tensor) -> Tensor:
        seen.append(tuple(mask.shape))
        return (student[0] - teacher[0]).square().mean()

    for first, second, shape in (("1", "5", (4, 50)), ("5", "1", (4,))):
        taps = (first, second)
        ll.Distiller(network(8), network(8), links=[ll.Link(taps, taps, loss=both)])(
            INPUTS, LABELS, mask=torch.ones(4, dtype=torch.bool)
        )
        assert seen.pop() == shape


def test_shapes_that_do_not_fit_are_told_with_what_would() -> None:
    with pytest.raises(
        ProblemsError, match=r"\(2, 8, 1, 50\), teacher \(2, 16, 1, 50\)\. Write: 1 : mse, adapter=auto"
    ):
        ll.Distiller(TEACHER, network(8), links=["1 : mse"], example=INPUTS[:2])
