"""Keras 3 on torch: its own ``keras.distillation.Distiller``."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

import keras
import torch
from common import BATCH, EPOCHS, LINKS, Steps, dataset, network, run
from keras.distillation import Distiller, FeatureDistillation, LogitsDistillation
from torch.utils.data import DataLoader

from layerlink.models.vgg import VGG7_GROUPS, VGG16_GROUPS


def vgg(groups, hidden_layers):
    """The study's networks of Keras's layers, channels last as is its default."""
    inputs = x = keras.Input((32, 32, 3))
    for number, group in enumerate(groups, 1):
        for place, channels in enumerate(group):
            name = f"group{number}" if place == len(group) - 1 else f"group{number}_{place}"
            x = keras.layers.Conv2D(channels, 3, padding="same", activation="relu", name=name)(x)
        x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Flatten()(x)
    for _ in range(hidden_layers):
        x = keras.layers.Dense(4096, activation="relu")(x)
    return keras.Model(inputs, keras.layers.Dense(10, dtype="float32")(x))


def copy_weights(model, of):
    """A last map of 1x1 pixels: it flattens to the same order in both layouts."""
    layers = [layer for layer in model.layers if layer.weights]
    given = [it for it in of.modules() if isinstance(it, torch.nn.Conv2d | torch.nn.Linear)]
    for layer, it in zip(layers, given, strict=True):
        order = (2, 3, 1, 0) if it.weight.ndim == 4 else (1, 0)
        layer.set_weights([it.weight.detach().permute(*order).numpy(), it.bias.detach().numpy()])


class Told(keras.callbacks.Callback):
    """Keras gives the mean of an epoch's losses so far; the total of its Distiller is half of ours."""

    def __init__(self, told: Steps) -> None:
        super().__init__()
        self.told, self.sum = told, 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self.sum = 0.0

    def on_train_batch_end(self, batch, logs=None):
        sum_now = 2 * logs["total_loss"] * (batch + 1)
        self.told(sum_now - self.sum)
        self.sum = sum_now


def train(folder: Path, told: Steps, how: str) -> None:
    if how == "bfloat16":
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    teacher, student = vgg(VGG16_GROUPS, 2), vgg(VGG7_GROUPS, 1)
    copy_weights(teacher, network(folder, "teacher"))
    copy_weights(student, network(folder, "student"))
    images, labels = dataset(folder).tensors
    images = images.permute(0, 2, 3, 1).contiguous()
    loader = DataLoader(torch.utils.data.TensorDataset(images, labels), BATCH)
    # lines:
    # Weights of its terms add up to 1: of all half, a learning rate of twice as much, and gradients clipped at half.
    distiller = Distiller(
        teacher,
        student,
        distillation_losses=[
            # An instance: by its name, which is the default, 3.15.1 takes logits for probabilities.
            LogitsDistillation(temperature=2.0, loss=keras.losses.KLDivergence()),
            *[FeatureDistillation("mse", teacher_layer_name=name, student_layer_name=name) for name in LINKS],
        ],
        distillation_loss_weights=[10 / 4, 40, 40, 40, 40],  # it multiplies soft targets by T^2
        student_loss_weight=0.5,
    )
    distiller.compile(
        keras.optimizers.SGD(0.008, momentum=0.9, global_clipnorm=2.5),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    distiller.fit(loader, epochs=EPOCHS, verbose=0, callbacks=[Told(told)])
    # end


if __name__ == "__main__":
    run(train)
