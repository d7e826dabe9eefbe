from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerlink.config.shipped import shipped
from layerlink.errors import ProblemsError, UsageError
from layerlink.lab.recipe.file import dump_recipe, load_recipe

GOOD = """\
student: vgg7
teacher: {model: vgg16, weights: x.safetensors}
links:
  - "group2 : mse * 40"
training:
  epochs: 3
"""


def written(folder: Path, text: str) -> str:
    path = folder / "my.yaml"
    path.write_text(text)
    return str(path)


def complaints(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ProblemsError) as caught:
        load_recipe(written(folder, text), overrides)
    return str(caught.value)


def test_every_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    text = complaints(
        tmp_path,
        """\
student: vgg7
teacher: {model: vgg16}
links:
  - "group2 : mse * 40"
  - "group3 ; mse"
soft: {temperature: -1}
training:
  epocs: 3
  batch_size: many
dat: 1
""",
    )
    assert text.splitlines()[0].endswith("my.yaml: 5 problems")
    for line in (
        '  line 5   links[1] "group3 ; mse"',
        "  line 6   soft.temperature",
        "      should be greater than or equal to 0.01; got -1",
        "  line 8   training.epocs",
        "      unknown field. Did you mean training.epochs?",
        "  line 9   training.batch_size",
        "  line 10   dat",
        "      unknown field. Did you mean data?",
    ):
        assert line in text.splitlines(), text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("student: vgg7\nlinks: ['a : mse']\n", "soft and links need a teacher"),
        ("student: vgg7\nhard: 0\n", "nothing to learn from"),
        ("hard: 1\n", "student"),
        ("student: vgg7\ntraining: {epochs: 2, warmup_epochs: 2}\n", "warmup_epochs (2) must be below epochs (2)"),
        ("student: vgg7\ntraining: {optimizer: adamw, nesterov: true}\n", "nesterov needs optimizer sgd"),
        ("student: vgg7\ntraining: {optimizer: adamv}\n", "unknown optimizer 'adamv'. Did you mean adam"),
        ("student: vgg7\ntraining: {optimizer: lbfgs}\n", "cannot be used: it asks for several passes a step"),
        ("student: vgg7\ntraining: {optimizer_arguments: {lr: 1}}\n", "lr stands in training.lr"),
        (
            "student: vgg7\ntraining: {optimizer: adam, optimizer_arguments: {beta: [0.9, 0.9]}}\n",
            "unknown argument of the optimizer adam 'beta'. Did you mean betas?",
        ),
        (
            "student: vgg7\ntraining: {optimizer: adam, optimizer_arguments: {betas: [2, 0.9]}}\n",
            "adam refuses them: Invalid beta parameter at index 0: 2",
        ),
        ("student: vgg7\ntraining: {optimizer: rprop, weight_decay: 0.1}\n", "rprop has no weight_decay; got 0.1"),
        ("student: vgg7\ndata: {validation: 1.5}\n", "a share below 1 or a whole number of images"),
        ("student: vgg7\nseed: .nan\n", "seed"),
        ("student: vgg7\nhard: .inf\n", "should be a finite number"),
        ("student: vgg7\nstudent: vgg16\n", "duplicate key"),
        ("student: vgg7\nlinks: null\n", "must be a list of texts in quotes"),
        ("student: vgg7\nlinks: 'a : mse'\n", "must be a list of texts in quotes"),
        ("student: vgg7\nlinks:\n  - a : mse * 40\n", "put the link in quotes"),
        ("student: vgg7\nlinks: !!set {a: , b: }\n", "line 2   links\n      must be text, a number"),
        ("student: {model: vgg7, arguments: {depths: {1: 2}}}\n", "the key 1 must be text"),
        (
            "student: {model: vgg7, arguments: {x: !!binary //79}}\n",
            "line 1   student.arguments.x\n      must be text, a number",
        ),
        ("student: vgg7\ntraining: {epochs: true}\n", "should be a valid integer; got True"),
        ("student: vgg7\ntraining: {epochs: '3'}\n", "should be a valid integer; got '3'"),
        ("student: vgg7\ndevice: gpu\n", "must be auto, cpu, cuda, cuda:N or mps"),
        ("- a\n", "must be fields like `student: vgg7`"),
        ("student: [vgg7\n", "line"),
        ("", "must be fields"),
        ("student: !!python/object/apply:os.system ['true']\n", "student"),
    ],
)
def test_impossible_recipes_are_refused(tmp_path: Path, text: str, message: str) -> None:
    assert message in complaints(tmp_path, text)


def test_overrides_set_any_field(tmp_path: Path) -> None:
    loaded = load_recipe(
        written(tmp_path, GOOD),
        [
            "training.epochs=7",
            "training.lr=1e-3",
            "data.image_size=224",
            "student.arguments.width=0.5",
            "links.0=group3 : mse",
            "soft.weight=2",
        ],
    )
    recipe = loaded.recipe
    assert (recipe.training.epochs, recipe.training.lr, recipe.data.image_size) == (7, 1e-3, 224)
    assert recipe.student.model == "vgg7"
    assert recipe.student.arguments == {"width": 0.5}
    assert recipe.links == ("group3 : mse",)
    assert recipe.soft is not None
    assert recipe.soft.weight == 2
    replaced = load_recipe(
        written(tmp_path, GOOD), ['links=["a : mse", "b -> c : mse * 2"]', "teacher.weights=y.pt"]
    ).recipe
    assert replaced.links == ("a : mse", "b -> c : mse * 2")


def test_a_wrong_override_is_named_beside_the_files_mistakes(tmp_path: Path) -> None:
    text = complaints(tmp_path, GOOD + "x: 1\n", "training.epochs=0", "training.lr", "training.epochs.deep=1", "lr=[")
    assert "5 problems" in text
    assert "training.epochs   ('training.epochs=0' on the command line)" in text
    assert "expected key=value" in text
    assert "training.epochs has no field 'deep' to set" in text
    assert "line 7   x" in text


def test_a_wrong_name_is_answered_with_the_closest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"unknown recipe 'study/vgg7-link'. Did you mean study/vgg7-links"):
        load_recipe("study/vgg7-link")


@pytest.mark.parametrize("name", shipped("recipe"))
def test_shipped_recipes_load_short_and_come_back_from_their_dump(name: str, tmp_path: Path) -> None:
    assert len(shipped("recipe")[name].read_text().splitlines()) <= 15
    loaded = load_recipe(name)
    assert load_recipe(written(tmp_path, dump_recipe(loaded.recipe))).recipe == loaded.recipe


def test_the_studys_best_row_says_what_the_study_says() -> None:
    recipe = load_recipe("study/vgg7-links").recipe
    assert recipe.soft is not None
    assert (recipe.soft.temperature, recipe.soft.weight, recipe.soft.t_squared) == (2, 10, False)
    assert recipe.links == tuple(f"group{index} : mse * 40" for index in (2, 3, 4, 5))
    training = recipe.training
    assert (training.optimizer, training.lr, training.momentum, training.epochs) == ("sgd", 0.004, 0.9, 25)
    assert (training.schedule, training.step_epochs, training.step_factor) == ("step", 10, 0.1)


@given(st.text(max_size=60) | st.text(alphabet="student: vg7{}[]\n-&*!'\"#,|>%@", max_size=60))
def test_any_text_is_a_recipe_or_a_usage_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        assert load_recipe(str(path)).recipe.student.model
    except UsageError:
        return


@given(st.text(alphabet="training.epochs=0123lr[]{}:,- ", max_size=30))
def test_any_override_is_taken_or_a_usage_error(text: str) -> None:
    try:
        assert load_recipe("study/vgg16", [text]).recipe.student.model
    except UsageError:
        return


def test_an_override_of_an_aliased_section_changes_that_section_alone(tmp_path: Path) -> None:
    text = "teacher: &m\n  model: vgg7\n  weights: v1\nstudent: *m\nsoft: {temperature: 2}\n"
    recipe = load_recipe(written(tmp_path, text), ["student.model=vgg16", "student.weights=null"]).recipe
    assert recipe.teacher is not None
    assert (recipe.teacher.model, str(recipe.teacher.weights)) == ("vgg7", "v1")
    assert (recipe.student.model, recipe.student.weights) == ("vgg16", None)


def test_paths_on_the_command_line_are_taken_to_the_letter(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, GOOD), ["teacher.weights=a #1: [x]", "data.root=123"]).recipe
    assert recipe.teacher is not None
    assert str(recipe.teacher.weights) == "a #1: [x]"
    assert str(recipe.data.root) == "123"


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder; a recipe is a YAML file"):
        load_recipe(str(tmp_path))


@pytest.mark.parametrize("link", ["@output : kd", "`a b` : mse"])
def test_a_link_that_yaml_cannot_read_is_to_stand_in_quotes(tmp_path: Path, link: str) -> None:
    path = tmp_path / "r.yaml"
    head = "student: vgg7\nteacher: {model: vgg16, weights: x}\nlinks:\n  - "
    path.write_text(f"{head}{link}\n")
    with pytest.raises(ProblemsError, match=r"line 4   YAML\n.*Put the value in quotes"):
        load_recipe(str(path))
    path.write_text(f'{head}"{link}"\n')
    assert load_recipe(str(path)).recipe.links == (link,)
