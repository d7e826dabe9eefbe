"""Hugging Face's ``Trainer``, with a distiller's losses. Needs ``pip install 'layerlink[transformers]'``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.whole import load_tensors, write_whole
from layerlink.optional import need
from layerlink.transfer import Distiller
from layerlink.transfer.shares import shares_of, weighed

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback
else:
    _package = need("transformers", "transformers", "layerlink.integrations.transformers")
    Trainer, TrainerCallback = _package.Trainer, _package.TrainerCallback

STATE = "distiller.pt"  # in a checkpoint: adapters, losses' own state, averages and link scales


class DistillTrainer(Trainer):
    """A ``transformers.Trainer`` whose training loss is a distiller's.

    Its model is the distiller's student, and is saved as such: adapters and losses with parameters are in the
    optimiser, in gradient clipping and in the checkpoints (``distiller.pt``), not in the saved model. Under gradient
    accumulation the gradient is that of the whole batch: every part counts by its share of the labels, positions or
    examples that a term is a mean over, also where parts are of unequal size. Raw terms are logged beside the loss,
    their means since the last line. Evaluation is the Trainer's own: ``eval_loss`` is the loss of the labels that the
    student computes.

    Args:
        distiller: teacher, student and terms. Inputs reach both models as keyword arguments, without ``labels`` unless
            ``hard="@output[loss]"`` or a decoder makes its inputs of them; an input ``indices`` goes to losses and
            teachers that ask for it.
        args: ``transformers.TrainingArguments``; its ``label_smoothing_factor`` holds for the distiller's labels' loss.
        more: as ``transformers.Trainer`` takes it, but ``model``, ``model_init`` and ``compute_loss_func``.

    Raises:
        UsageError: where several processes or devices train together, an optimiser that is given lacks the links'
            parameters, or label smoothing is said twice.
    """

    def __init__(self, distiller: Distiller, args: Any = None, **more: Any) -> None:
        taken = [name for name in ("model", "model_init", "compute_loss_func") if name in more]
        if taken:
            raise UsageError(f"DistillTrainer takes no {taken[0]}: the distiller has the student and its losses")
        if not isinstance(distiller, Distiller):
            raise UsageError(
                "DistillTrainer(distiller, args, ...) takes a layerlink.Distiller(teacher, student, ...) in place of a "
                f"model; got {type(distiller).__name__}"
            )
        super().__init__(model=distiller.student, args=args, **more)
        if self.args.world_size > 1 or self.args.n_gpu > 1:
            raise UsageError(
                "DistillTrainer trains in one process on one device; for several: torchrun -m layerlink run, or a loop "
                "of your own with Distiller.share_with. On a machine of several GPUs set CUDA_VISIBLE_DEVICES=0"
            )
        self.distiller = distiller.to(self.args.device)
        _smooth(distiller, self.args.label_smoothing_factor)
        self._accepts_loss_kwargs = self.model_accepts_loss_kwargs
        self.model_accepts_loss_kwargs = self.loss_is_scaled_for_ga = True  # divided by nothing after ``compute_loss``
        self._shares: Iterator[dict[str, float]] = iter(())
        self._sums: dict[str, Tensor] = {}
        self._steps = 0.0  # batches that the sums are of
        if self.optimizer is not None:
            _check_optimizer(self.optimizer, distiller)
        self.add_callback(_AfterStep(distiller))

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """The parts of a batch; what each counts is reckoned here."""
        found = super().get_batch_samples(*args, **kwargs)
        self._shares = iter(shares_of(self.distiller, [self._split(part)[:2] for part in found[0]]))
        return found

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The distiller's loss where the student learns; the Trainer's own where it is evaluated."""
        if not model.training:
            inputs = {name: value for name, value in inputs.items() if name != "indices"}
            self.model_accepts_loss_kwargs = self._accepts_loss_kwargs
            try:
                return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            finally:
                self.model_accepts_loss_kwargs = True
        distiller, (given, labels, indices) = self.distiller, self._split(inputs)
        distiller.train()
        distiller.at(self.state.epoch or 0.0, self.state.num_train_epochs or 1)
        losses = distiller(given, labels, indices=indices)
        share = next(self._shares, {})
        self._add(losses.terms, share)
        loss = weighed(losses.terms, losses.weights, share)
        return (loss, losses.logits) if return_outputs else loss

    def _split(self, inputs: dict[str, Any]) -> tuple[dict[str, Any], Any, Any]:
        """The models' inputs, the labels, and which examples they are.

        Labels are among the inputs where the student computes its loss of them, or a decoder its inputs.
        """
        decodes = getattr(getattr(self.distiller.student, "config", None), "is_encoder_decoder", False)
        asks = self.distiller.objective.labels.is_given or (decodes and "decoder_input_ids" not in inputs)
        aside = ("indices",) if asks else ("indices", "labels")
        given = {name: value for name, value in inputs.items() if name not in aside}
        return given, inputs.get("labels"), inputs.get("indices")

    def create_optimizer(self, model: Any = None) -> Any:
        """The Trainer's, with the links' own parameters in groups of their own."""
        made = self.optimizer is None
        super().create_optimizer(*([] if model is None else [model]))
        parts = self.distiller.parts
        optimizer: Any = self.optimizer
        if made and any(True for _ in self.distiller.link_parameters()):
            decayed = set(self.get_decay_parameter_names(parts))
            for decays in (True, False):
                named = [
                    it for name, it in parts.named_parameters() if it.requires_grad and (name in decayed) == decays
                ]
                if named:
                    decay = self.args.weight_decay if decays else 0.0
                    optimizer.add_param_group({"params": named, "weight_decay": decay})
        return optimizer

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """What the Trainer logs; beside a training loss the raw terms, means over the batches since the last line."""
        if "loss" in logs and self._steps:
            logs |= {name: float(value) / self._steps for name, value in self._sums.items()}
            self._sums, self._steps = {}, 0.0
        super().log(logs, *args, **kwargs)

    def _add(self, terms: dict[str, Tensor], share: dict[str, float]) -> None:
        for name, term in terms.items():
            part = term.detach() * share.get(name, 1.0)
            self._sums[name] = self._sums[name] + part if name in self._sums else part
        self._steps += 1 / self.current_gradient_accumulation_steps

    def _clip_grad_norm(self, model: Any) -> Any:
        return self.accelerator.clip_grad_norm_(self.distiller.trainable_parameters(), self.args.max_grad_norm)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if self._signature_columns is not None and "indices" not in self._signature_columns:
            self._signature_columns.append("indices")

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        state = self.distiller.state_dict()
        own = {name: value for name, value in state.items() if not name.startswith("student.")}
        if self.args.should_save:
            write_whole(Path(output_dir) / STATE, lambda part: torch.save(own, part))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        file = Path(checkpoint) / STATE
        try:
            own = load_tensors(file)
            student = {name: it for name, it in self.distiller.state_dict().items() if name.startswith("student.")}
            self.distiller.load_state_dict({**student, **own})
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            raise LayerlinkError(
                f"{file}: the distiller's state is missing or of another distiller: {error}"
            ) from error


class _AfterStep(TrainerCallback):
    """After every step: teachers that follow the student are told, and the links' gradients, which are none of the
    model that the Trainer knows, are forgotten.
    """

    def __init__(self, distiller: Distiller) -> None:
        self._distiller = distiller

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self._distiller.after_step()
        for parameter in self._distiller.link_parameters():
            parameter.grad = None


def _smooth(distiller: Distiller, factor: float) -> None:
    whole = distiller.whole_objective
    if not factor or whole.label_smoothing == factor:
        return
    if whole.label_smoothing:
        raise UsageError(
            f"label_smoothing is {whole.label_smoothing:g} in the distiller and {factor:g} in the arguments"
        )
    distiller.whole_objective = distiller.objective = replace(whole, label_smoothing=factor)


def _check_optimizer(optimizer: Any, distiller: Distiller) -> None:
    there = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    lacking = [it for it in distiller.link_parameters() if id(it) not in there]
    if lacking:
        raise UsageError(
            f"the optimizer lacks {len(lacking)} parameters of links: make it of distiller.trainable_parameters()"
        )
