from __future__ import annotations

import pytest
import torch
from scipy.stats import beta, kstest

import layerlink as ll
from layerlink.data import Batches, ImageSet, Views
from layerlink.data.augment import Mixing
from layerlink.data.augment.mixing import _beta
from layerlink.losses import hard_cross_entropy

COUNT, CLASSES = 40, 6


def stored(maps: bool = False) -> ImageSet:
    """Images of one value each, which says which they are."""
    images = torch.arange(COUNT, dtype=torch.uint8).view(-1, 1, 1, 1).expand(COUNT, 1, 16, 16) * 6
    labels = torch.arange(COUNT) % CLASSES
    return ImageSet(
        images, labels.view(-1, 1, 1).expand(COUNT, 16, 16).to(torch.uint8) if maps else labels, tuple("abcdef")
    )


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 2.0, 8.0])
def test_shares_are_of_the_beta_distribution(alpha: float) -> None:
    uniforms = torch.rand(5000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert (
        float((_beta(uniforms, alpha) - torch.from_numpy(beta.ppf(uniforms.numpy(), alpha, alpha))).abs().max()) < 1e-4
    )
    how = Mixing(mixup=alpha).drawn(torch.arange(5000), 0, 0, 100, (8, 8))
    assert kstest(how.share.numpy(), beta(alpha, alpha).cdf).pvalue > 0.001


def test_labels_are_mixed_as_pixels_are() -> None:
    data, views = stored(), Views(16, (0.0,), (1.0,))
    for mixing in (Mixing(mixup=1.0), Mixing(cutmix=1.0), Mixing(1.0, 1.0)):
        kinds = set()
        for batch in Batches(data, views, 8, mixing=mixing).epoch(0):
            assert batch.labels.shape == (8, CLASSES)
            assert torch.allclose(batch.labels.sum(1), torch.ones(8))
            for image, label, place in zip(batch.images[:, 0] * 255 / 6, batch.labels, batch.indices, strict=True):
                values = image.unique()
                own = label[int(place) % CLASSES]
                if len(values) == 2 and float(values.round().sub(values).abs().max()) < 1e-4:  # a box
                    kinds.add("box")
                    other = int(values[0] if round(float(values[1])) == int(place) else values[1].round())
                    if other % CLASSES != int(place) % CLASSES:
                        assert float(((image - int(place)).abs() < 1e-3).float().mean()) == pytest.approx(float(own))
                elif len(values) == 1 and int((label > 0).sum()) == 2:
                    kinds.add("sum")
                    other = int((label > 0).nonzero()[:, 0].sum()) - int(place) % CLASSES
                    rest = (float(values[0]) - float(own) * int(place)) / (1 - float(own))
                    assert rest == pytest.approx(round(rest), abs=0.05)
                    assert round(rest) % CLASSES == other
        assert (
            kinds == {"box", "sum"} if mixing.mixup and mixing.cutmix else kinds == {"sum" if mixing.mixup else "box"}
        )


def test_of_maps_the_box_is_the_others() -> None:
    data, views = stored(maps=True), Views(16, (0.0,), (1.0,))
    for batch in Batches(data, views, 8, mixing=Mixing(cutmix=1.0)).epoch(3):
        assert batch.labels.dtype == torch.uint8
        assert torch.equal((batch.images[:, 0] * 255 / 6).round().long() % CLASSES, batch.labels.long())


def test_evaluation_is_not_mixed_and_partners_are_spread() -> None:
    data, views = stored(), Views(16, (0.0,), (1.0,))
    batch = next(iter(Batches(data, views, 8, mixing=Mixing(mixup=1.0)).in_order()))
    assert torch.equal(batch.labels, data.labels[:8])
    how = Mixing(mixup=1.0).drawn(torch.arange(8000), 0, 0, COUNT, (16, 16))
    counts = torch.bincount(how.partner, minlength=COUNT)
    assert len(counts) == COUNT
    assert float((counts - 200).abs().max()) < 80  # five standard deviations are 70


def test_the_hard_loss_of_a_mixed_label_is_the_mean_of_both() -> None:
    logits = torch.randn(4, CLASSES, generator=torch.Generator().manual_seed(0)).requires_grad_()
    one, two, share = torch.tensor([0, 1, 2, 3]), torch.tensor([3, 1, 0, 5]), torch.tensor([0.2, 0.5, 0.9, 1.0])
    mixed = torch.zeros(4, CLASSES)
    mixed[torch.arange(4), one] += share
    mixed[torch.arange(4), two] += 1 - share
    each = [torch.nn.functional.cross_entropy(logits, labels, reduction="none") for labels in (one, two)]
    expected = (share * each[0] + (1 - share) * each[1]).mean()
    assert torch.allclose(hard_cross_entropy(logits, mixed), expected)
    task = ll.Classification()
    assert torch.allclose(task.hard(logits, mixed), expected)
    assert task.tally(logits, mixed) is None
