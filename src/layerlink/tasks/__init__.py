"""Tasks: what outputs mean, how well they are, and what chance is."""

from __future__ import annotations

from layerlink.tasks.classification import Classification
from layerlink.tasks.metric import WithMetrics
from layerlink.tasks.multi_label import MultiLabel
from layerlink.tasks.regression import Regression
from layerlink.tasks.segmentation import Segmentation
from layerlink.tasks.table import TASKS, as_task
from layerlink.tasks.task import ACCURACY, Score, Softening, Task
from layerlink.tasks.tokens import CausalLM, SequenceLabelling

__all__ = [
    "ACCURACY",
    "TASKS",
    "CausalLM",
    "Classification",
    "MultiLabel",
    "Regression",
    "Score",
    "Segmentation",
    "SequenceLabelling",
    "Softening",
    "Task",
    "WithMetrics",
    "as_task",
]
