"""Data-parallel steps: every process has a part of the batch, and all end with the whole batch's losses and gradients.

A loss is a mean over the images of the batch, so the whole batch's is the mean of the parts' weighted by their shares,
and so is its gradient. What is no such mean is put together here: statistics of batch normalisation, and the
norms and variances that links are scaled by.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from layerlink.data import Batch
from layerlink.data.examples import Inputs
from layerlink.lab.parallel.processes import Processes
from layerlink.losses.trained.layers import BatchNorm
from layerlink.taps import Activations
from layerlink.taps.modes import untouched
from layerlink.transfer import Distiller, Losses
from layerlink.transfer.weighted import Weights

LOOKS = 8  # passes that show whether a parameter may be left without a gradient


class DataParallel:
    """A distiller whose ``losses`` are those of the whole batch, and so are the gradients of their total.

    Args:
        distiller: teacher, student and objective. Its student's batch normalisation is changed to take its statistics
            over all processes; names and ``state_dict`` stay.
        example: inputs of two examples.
        processes: more than one.
    """

    def __init__(self, distiller: Distiller, example: Inputs, processes: Processes) -> None:
        self.processes = processes
        self.share = 1.0  # of this step's images that this process counts
        self.stand_in = False
        self.images = self.own = 1  # of this step, in all processes and here
        (unused,) = processes.any(_leaves_parameters_unused(distiller, example))
        for module in (*distiller.student.modules(), *distiller.parts.modules()):
            if type(module) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, BatchNorm):
                module.__class__ = WholeBatchNorm  # parameters, buffers and hooks stay, the root may be one too
                module.parallel = self  # type: ignore[assignment]
        distiller.share_with(self)
        parts = distiller.whole_objective.parts.values()
        self.between = {part for part in parts if part.kind.between_images}
        # What such a loss trains sees all images in every process, so its gradient is there as often as there are some.
        for parameter in (parameter for part in self.between for parameter in part.loss_parameters()):
            parameter.register_hook(self._once)  # type: ignore[no-untyped-call]
        self._total = _Total(distiller)
        words = inspect.signature(DistributedDataParallel).parameters
        options: dict[str, Any] = {"gradient_as_bucket_view": True, "find_unused_parameters": unused}
        # Every process computes the same buffers; torch's word for not sending them has changed.
        options["forward_sync_buffers" if "forward_sync_buffers" in words else "broadcast_buffers"] = False
        self._module = DistributedDataParallel(self._total, **options)

    def begin(self, batch: Batch) -> None:
        """Know what share of the whole batch this process's part is, before the student sees it."""
        self.share, self.images, self.own = batch.share, batch.count, len(batch.labels)
        self.stand_in = batch.stand_in

    def losses(
        self,
        batch: Batch,
        taught: Activations | None,
        studied: Activations | None = None,
        learnt: Callable[[Distiller, Losses], Tensor] | None = None,
    ) -> Losses:
        """The whole batch's losses; after ``backward`` all processes have the whole batch's gradients.

        Args:
            batch: this process's part.
            taught: the teacher's activations for it.
            studied: the student's, where it was run already.
            learnt: makes of this part's losses what ``backward`` goes through, where that is not their total.
        """
        self.begin(batch)
        self._total.learnt = learnt
        own = self._module(batch.images, batch.labels, batch.indices, taught, studied)
        own = own * (self.share * self.processes.size)  # it is averaged
        losses = self._total.losses
        terms, total = self._whole_values(losses)
        weights = {name: self._weight(name) for name in terms}
        # This process's gradient, and the value that all agree on.
        return Losses(terms, Weights(weights), own + (total - own.detach()), losses.logits)

    def _whole_values(self, losses: Losses) -> tuple[dict[str, Tensor], Tensor]:
        """Every term and the total of the whole batch, without gradients.

        A layer may have been left out in some of the processes: its term is then the mean over the others' images.
        """
        names = [term.name for term in self._total.distiller.objective.terms]
        none = losses.total.detach().float() * 0
        given = [losses.terms[name].detach().float() if name in losses.terms else none for name in names]
        counted = [value * self._counts(name, losses) for name, value in zip(names, given, strict=True)]
        present = torch.stack([none + (name in losses.terms) for name in names])
        own = torch.stack([*counted, losses.total.detach().float()]) * self.share
        sums = self.sum(torch.cat([own, present, present * self.share]))
        count = len(names)
        means, total, there, shares = sums[:count], sums[count], sums[count + 1 : 2 * count + 1], sums[2 * count + 1 :]
        weighted = torch.stack([mean * self._weight(name) for name, mean in zip(names, means, strict=True)]).sum()
        everywhere = there == self.processes.size
        total = weighted if losses.shares else torch.where(everywhere.all(), total, weighted.to(total.dtype))
        means = torch.where(everywhere | (shares == 0), means, means / shares)
        terms = dict(zip(names, means.unbind(), strict=True))
        if len(losses.terms) < count:  # which terms nobody has is asked by those alone that lack some themselves
            terms = {name: terms[name] for name, found in zip(names, there.tolist(), strict=True) if found}
        return terms, total

    def _weight(self, name: str) -> float | Tensor:
        """A term's weight at this time, scaled where it is."""
        distiller = self._total.distiller
        known = {term.name: term.weight for term in distiller.objective.terms}
        return known[name] * (distiller.scales.now.get(name, 1.0) if distiller.scales is not None else 1.0)

    def _once(self, gradient: Tensor) -> Tensor:
        return gradient / min(self.processes.size, self.images)

    def _counts(self, name: str, losses: Losses) -> float | Tensor:
        """How much a term's value here counts in the whole batch's, relative to the images here.

        One between images is the same in all processes, though its gradient here is that of these images alone.
        """
        part = self._total.distiller.whole_objective.parts.get(name)
        return 1.0 if part in self.between else losses.shares.get(name, 1.0)

    def gather(self, values: Tensor) -> Tensor:
        """All processes' rows in their order; gradients reach this process's own."""
        own = self.processes.part(self.images)
        rows = values.new_zeros(self.images, *values.shape[1:])
        rows = rows.to(torch.uint8) if values.dtype == torch.bool else rows
        if self.stand_in:  # these images are another's
            self.sum(rows)
            return values
        rows[own] = values.detach().to(rows.dtype)
        rows = self.sum(rows).to(values.dtype)
        return torch.cat([rows[: own.start], values, rows[own.stop :]])

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the processes, without gradients."""
        return self.processes.sum(values)

    def whole(self, values: Tensor) -> Tensor:
        """The whole batch's means, from means over this process's images, without gradients."""
        return self.sum(values * self.share)

    def whole_with_gradient(self, values: Tensor) -> Tensor:
        """As ``whole``, with gradients."""
        whole: Tensor = _Sum.apply(values * self.share, self.processes)  # type: ignore[no-untyped-call]
        return whole

    def __deepcopy__(self, _memo: dict[int, Any]) -> DataParallel:
        return self  # a copied model is of the same processes


class _Total(nn.Module):
    """All that torch looks through for the parameters in use: of the other losses and the logits none may be."""

    losses: Losses
    learnt: Callable[[Distiller, Losses], Tensor] | None = None

    def __init__(self, distiller: Distiller) -> None:
        super().__init__()
        self.distiller = distiller

    def forward(
        self,
        images: Tensor,
        labels: Tensor,
        indices: Tensor,
        taught: Activations | None,
        studied: Activations | None,
    ) -> Tensor:
        self.losses = self.distiller(images, labels, indices=indices, taught=taught, studied=studied)
        return self.losses.total if self.learnt is None else self.learnt(self.distiller, self.losses)


def _leaves_parameters_unused(distiller: Distiller, example: Inputs) -> bool:
    """Whether a step may leave a parameter without a gradient, for which torch has to look at every step."""
    objective, student = distiller.whole_objective, distiller.student
    if objective.labels.loss is not None:  # nobody knows what it reads
        return True
    outputs = [(objective.labels.weight, objective.labels.schedule)]
    outputs += [] if objective.soft is None else [(objective.soft.weight, objective.soft.schedule)]
    if not any(weight and schedule.always for weight, schedule in outputs):
        return True
    trained = [link for link in objective.links if any(True for _ in objective.parts[link.text].parameters())]
    if not all(link.weight and link.schedule.always for link in trained):
        return True
    wanted = [parameter for parameter in student.parameters() if parameter.requires_grad]
    with untouched(student), torch.enable_grad():
        student.train()
        for _ in range(LOOKS):  # layers may be left out at random
            logits = distiller.study(example).logits
            assert logits is not None  # noqa: S101 - hard or soft asks for them
            gradients = torch.autograd.grad(logits.float().sum(), wanted, allow_unused=True)
            if any(gradient is None for gradient in gradients):
                return True
    return False


class _Sum(torch.autograd.Function):
    """The sum over the processes; so is the gradient's, for every process's loss depends on it."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, processes: Processes) -> Tensor:
        ctx.processes = processes
        return processes.sum(values.contiguous())  # a product of ours: nobody else sees that it is changed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.processes.sum(gradients[0].clone().contiguous()), None


class WholeBatchNorm(_BatchNorm):
    """Batch normalisation over the images of all processes, on any device and for parts of unequal size.

    Mean first, then the variance about it, as one process does: two small sums forward and two backward.
    """

    parallel: DataParallel

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - torch's name
        """Any: the class it had before is gone."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, C, ...) normalised per channel, in the inputs' dtype."""
        if not self.training:
            return super().forward(inputs)
        values = inputs if inputs.dtype == torch.float64 else inputs.float()
        dims, shape = [0, *range(2, values.ndim)], (1, -1, *([1] * (values.ndim - 2)))
        mean = self.parallel.whole_with_gradient(values.mean(dims))
        centred = values - mean.view(shape)
        variance = self.parallel.whole_with_gradient(centred.square().mean(dims))
        if self.track_running_stats:
            count = values[:, 0].numel() * self.parallel.images / self.parallel.own
            self._track(mean.detach(), variance.detach() * (count / max(count - 1, 1)))
        result = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            result = result * self.weight.view(shape) + self.bias.view(shape)
        return result.to(inputs.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        assert self.num_batches_tracked is not None  # noqa: S101
        assert self.running_mean is not None  # noqa: S101
        assert self.running_var is not None  # noqa: S101
        self.num_batches_tracked.add_(1)
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), momentum)
