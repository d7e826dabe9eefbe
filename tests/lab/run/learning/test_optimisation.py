from __future__ import annotations

import inspect

import pytest
import torch
from torch.optim import lr_scheduler

from layerlink.lab.recipe.optimizers import OPTIMIZERS
from layerlink.lab.recipe.training import TrainingSection
from layerlink.lab.run.learning import optimisation
from layerlink.lab.run.learning.optimisation import build_ema, build_optimizer, build_schedule, lr_factor

STEPS = 7  # per epoch


def learning_rates(training: TrainingSection) -> list[float]:
    optimizer = build_optimizer([torch.nn.Parameter(torch.zeros(1))], training)
    schedule = build_schedule(optimizer, training, STEPS)
    rates = []
    for _ in range(training.epochs * STEPS):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return rates


def torchs(make: object, lr: float, count: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)
    schedule = make(optimizer)
    rates = []
    for _ in range(count):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return rates


def test_step_is_torchs_and_the_studys() -> None:
    rates = learning_rates(TrainingSection(epochs=25, lr=0.004))
    assert rates == pytest.approx(torchs(lambda o: lr_scheduler.StepLR(o, 10 * STEPS, 0.1), 0.004, 25 * STEPS))
    assert rates[0] == 0.004
    assert rates[10 * STEPS - 1] == 0.004
    assert rates[10 * STEPS] == pytest.approx(0.0004)
    assert rates[-1] == pytest.approx(0.00004)


def test_cosine_is_torchs() -> None:
    rates = learning_rates(TrainingSection(epochs=5, lr=0.1, schedule="cosine"))
    assert rates == pytest.approx(torchs(lambda o: lr_scheduler.CosineAnnealingLR(o, 5 * STEPS), 0.1, 5 * STEPS))


def test_one_cycle_is_torchs() -> None:
    training = TrainingSection(epochs=10, lr=0.1, schedule="one-cycle")
    # torch counts to the last step, ours to the end of it: compare the shape at torch's own times.
    total = 101
    expected = torchs(
        lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=total, pct_start=0.31, final_div_factor=400), 0.1, total
    )
    ours = [0.1 * lr_factor(10 * step / (total - 1), training) for step in range(total)]
    assert ours[0] == pytest.approx(expected[0])
    assert ours[30] == pytest.approx(expected[30], rel=1e-3)
    assert ours[-1] == pytest.approx(expected[-1])


def test_warm_up_rises_from_0_to_the_peak() -> None:
    rates = learning_rates(TrainingSection(epochs=4, lr=1.0, schedule="constant", warmup_epochs=2))
    assert rates[: 2 * STEPS] == pytest.approx([step / (2 * STEPS) for step in range(2 * STEPS)])
    assert rates[2 * STEPS :] == [1.0] * (2 * STEPS)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_the_textbooks(nesterov: bool) -> None:
    parameter = torch.nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    training = TrainingSection(lr=0.1, momentum=0.9, nesterov=nesterov, weight_decay=0.01)
    optimizer = build_optimizer([parameter], training)
    weight, velocity = 1.0, 0.0
    for gradient in (2.0, -1.0, 0.5):
        parameter.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        full = gradient + 0.01 * weight
        velocity = 0.9 * velocity + full
        weight -= 0.1 * (full + 0.9 * velocity if nesterov else velocity)
        assert float(parameter.detach()) == pytest.approx(weight, rel=1e-12)


def test_adamw_decays_apart_from_the_gradient() -> None:
    parameter = torch.nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimizer = build_optimizer([parameter], TrainingSection(optimizer="adamw", lr=0.1, weight_decay=0.5))
    parameter.grad = torch.tensor([3.0], dtype=torch.float64)
    optimizer.step()
    assert float(parameter.detach()) == pytest.approx(1 - 0.1 * 0.5 - 0.1, abs=1e-6)  # first step: lr * sign(g)


def test_ema_averages_weights_and_buffers() -> None:
    model = torch.nn.BatchNorm1d(1)
    ema = build_ema(model, TrainingSection(ema=0.9))
    assert ema is not None
    expected = None
    for value in (1.0, 2.0, 5.0):
        torch.nn.init.constant_(model.weight, value)
        model.running_mean.fill_(value)
        ema.update_parameters(model)
        expected = value if expected is None else 0.9 * expected + 0.1 * value
    assert float(ema.module.weight.detach()) == pytest.approx(expected)
    assert float(ema.module.running_mean) == pytest.approx(expected)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_of_torch_steps_as_its_own_class_does(name: str) -> None:
    arguments = {"rmsprop": {"alpha": 0.9}, "nadam": {"betas": [0.8, 0.95]}, "adamw": {"amsgrad": True}}.get(name, {})
    training = TrainingSection(optimizer=name, lr=0.05, momentum=0.0, optimizer_arguments=arguments)
    ours, torchs = (torch.nn.Parameter(torch.tensor([[1.0, -2.0]])) for _ in range(2))
    made = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
    if "weight_decay" in inspect.signature(OPTIMIZERS[name]).parameters:
        made["weight_decay"] = 0.0
    pairs = [(ours, build_optimizer([ours], training)), (torchs, OPTIMIZERS[name]([torchs], lr=0.05, **made))]
    for _ in range(3):
        for parameter, optimizer in pairs:
            (parameter**2).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    assert not torch.equal(ours, torch.tensor([[1.0, -2.0]]))
    torch.testing.assert_close(ours, torchs, rtol=1e-6, atol=1e-7)


def test_an_optimiser_that_does_not_fuse_on_a_device_is_made_without(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(torch.optim.Adagrad):
        def step(self, closure: object = None) -> None:  # type: ignore[override]
            if self.defaults["fused"]:
                raise RuntimeError("`fused=True` requires all the params to be floating point Tensors of cpu")
            super().step()

    training = TrainingSection(optimizer="adagrad", lr=0.1)
    optimisation.fuses.cache_clear()
    monkeypatch.setitem(OPTIMIZERS, "adagrad", Refusing)
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer = build_optimizer([{"params": [parameter]}], training)
    optimisation.fuses.cache_clear()
    assert not optimizer.defaults["fused"]
    parameter.grad = torch.ones(1)
    optimizer.step()
    assert float(parameter.detach()) == pytest.approx(0.9)
    monkeypatch.undo()
    assert build_optimizer([parameter], training).defaults["fused"]
