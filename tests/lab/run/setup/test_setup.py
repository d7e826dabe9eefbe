from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from layerlink.errors import LayerlinkError, ProblemsError
from layerlink.files.weights import load_weights, read_weights
from layerlink.files.whole import write_whole
from layerlink.lab.recipe.file import LoadedRecipe, load_recipe
from layerlink.lab.run import member
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train
from layerlink.models import build_model

Make = Callable[..., LoadedRecipe]


def complaints(loaded: LoadedRecipe) -> str:
    with pytest.raises(ProblemsError) as caught:
        set_up(loaded)
    return str(caught.value)


def test_every_link_problem_is_told_with_its_line(recipe: Make) -> None:
    text = complaints(recipe('links=["groop3 : mse * 40", "group4 -> group3 : mse", "group2 : mse"]', links=True))
    assert "recipe.yaml: 3 problems" in text
    assert "the teacher has no layer 'groop3'. Closest: group3" in text
    assert "the student has no layer 'groop3'" in text
    assert "mse needs equal shapes; student gives (2, 13, 8, 8), teacher (2, 26, 4, 4)" in text


def test_a_link_problem_of_the_file_has_the_files_line(recipe: Make) -> None:
    path = Path(recipe(links=True).source)
    path.write_text(path.read_text().replace("group2", "groop2"))
    assert 'line 7   links[0] "groop2 : mse * 2"' in complaints(load_recipe(str(path)))


def test_a_class_count_that_does_not_match_is_named(recipe: Make) -> None:
    text = complaints(recipe("student.arguments.num_classes=7"))
    assert "student" in text
    assert "must give logits (N, 10) for the data's 10 classes; got (N, 7)" in text


def test_weights_of_another_model_are_refused(recipe: Make) -> None:
    text = complaints(recipe("teacher.arguments.width=0.06", links=True))
    assert "belong to another model: group1.0.0.weight is (3, 1, 3, 3), the model's (4, 1, 3, 3)" in text
    assert "more" in text


def test_a_teacher_without_weights_or_with_missing_ones_is_refused(recipe: Make, tmp_path: Path) -> None:
    assert "a teacher needs weights" in complaints(recipe("teacher.weights=null", links=True))
    text = complaints(recipe("teacher.weights=runs/none", "links=['gruop2 : mse']", links=True))
    assert "weights: there is no runs/none" in text
    assert "the teacher has no layer 'gruop2'. Closest: group2" in text
    (tmp_path / "empty").mkdir()
    assert "holds no finished run" in complaints(recipe(f"teacher.weights={tmp_path / 'empty'}", links=True))


def test_a_model_that_does_not_take_the_images_is_named(recipe: Make) -> None:
    text = complaints(recipe("student={model: 'torch.nn:Linear', arguments: {in_features: 3, out_features: 10}}"))
    assert "a model does not run on images (2, 1, 32, 32): RuntimeError" in text


def test_truncated_and_foreign_weight_files(tmp_path: Path, teacher_run: Path) -> None:
    model = build_model("vgg7", num_classes=10, image_size=32, width=0.02)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes((teacher_run / "student.safetensors").read_bytes()[:5000])
    with pytest.raises(LayerlinkError, match=r"broken.safetensors is damaged or truncated"):
        load_weights(model, broken)
    hostile = tmp_path / "hostile.pt"
    torch.save({"x": HostileObject()}, hostile)
    with pytest.raises(LayerlinkError, match=r"hostile\.pt is refused"):
        load_weights(model, hostile)
    assert not HostileObject.ran
    plain = tmp_path / "plain.pt"
    torch.save({"state_dict": model.state_dict()}, plain)
    assert set(read_weights(plain)) == set(model.state_dict())


class HostileObject:
    ran = False

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (_run, ())


def _run() -> None:
    HostileObject.ran = True


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("before")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(LayerlinkError, match=r"cannot write .*file.txt: .*No space left on device.*--resume"):
        write_whole(path, fail)
    assert path.read_text() == "before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_a_full_disk_keeps_the_last_checkpoint(recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, real = RunFolder(tmp_path / "run"), torch.save
    count = 0

    def full(state: object, path: Path) -> None:
        nonlocal count
        count += 1
        if count == 2:
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        real(state, path)

    monkeypatch.setattr(torch, "save", full)
    monkeypatch.setattr(member, "SHARE_OF_TIME", 1e9)  # a checkpoint after every epoch
    with pytest.raises(LayerlinkError, match="No space left"):
        train(set_up(recipe()), run)
    assert run.read_checkpoint(run.checkpoint)["position"]["epoch"] == 1


def test_data_and_device_problems_name_their_fields(recipe: Make) -> None:
    text = complaints(recipe("data.validation=5000", "device=cuda:9"))
    assert "2 problems" in text
    assert "data   ('data.validation=5000' on the command line)" in text
    assert "device   ('device=cuda:9' on the command line)" in text


def test_a_frozen_student_is_refused(recipe: Make) -> None:
    student = build_model("vgg7", num_classes=10, image_size=32, channels=1, width=0.02).requires_grad_(False)
    with pytest.raises(ProblemsError, match="has no parameter to train"):
        set_up(recipe(), student=student)


def test_models_passed_as_objects_take_the_recipes_place(recipe: Make, teacher_run: Path) -> None:
    student = build_model("vgg7", num_classes=10, image_size=32, channels=1, width=0.05, batch_norm=True)
    assert set_up(recipe(links=True), student=student).distiller.student is student


def test_images_that_were_left_out_are_warned_of(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(8):
            Image.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / "images" / name / f"{number}.png")
    (tmp_path / "images" / "b" / "3.png").write_bytes(b"")
    (tmp_path / "bad.yaml").write_text(
        f"data: {{name: folder, root: {tmp_path / 'images'}, validation: 2}}\n"
        "student: {model: vgg7, arguments: {width: 0.02}}\n"
    )
    with pytest.raises(LayerlinkError, match=r"3\.png: expected .* leave such images out with skip_bad"):
        set_up(load_recipe(str(tmp_path / "bad.yaml")))
    setup = set_up(load_recipe(str(tmp_path / "bad.yaml"), ["data.skip_bad=true"]))
    (warning,) = setup.warnings
    assert warning.startswith("1 image left out, as data.skip_bad says. ")
    assert "3.png" in warning
    assert len(setup.images.train) + len(setup.images.validation) + len(setup.images.test) == 15


def test_a_teacher_that_saw_the_data_otherwise_is_warned_of(recipe: Make) -> None:
    assert set_up(recipe(links=True)).warnings == ()
    (warning,) = set_up(recipe("data.split_seed=7", links=True)).warnings
    assert "the student's validation images are not the teacher's" in warning
    warnings = set_up(recipe("data.normalize=none", links=True)).warnings
    assert [warning.split()[5] for warning in warnings] == ["mean", "std"]


def test_a_single_image_that_is_left_over_joins_the_batch_before(recipe: Make) -> None:
    setup = set_up(recipe("data.train_images=65", "training.batch_size=32"))
    assert [len(batch.labels) for batch in setup.batches.epoch(0)] == [32, 33]
    assert len(setup.batches) == 2
