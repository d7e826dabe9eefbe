"""`layerlink propose`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from layerlink.cli.given_paths import given_path


def propose(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="TEACHER STUDENT | RECIPE [KEY=VALUE]...",
            help="Two models (layerlink ls, package.module:callable; a run's folder as teacher) or a recipe; fields.",
        ),
    ],
    links: Annotated[int | None, typer.Option(min=1, help="How many. Default: one a stage of equal size.")] = None,
    batches: Annotated[int, typer.Option(min=1, help="Of training data to look at.")] = 4,
    out: Annotated[
        Path, typer.Option(parser=given_path, help="Folder of the page, the links and a recipe with them.")
    ] = Path("propose"),
    probe: Annotated[
        bool, typer.Option("--probe", help="Train a few sets of links for a short time, and see.")
    ] = False,
    epochs: Annotated[int, typer.Option(min=1, help="Of each of these trainings.")] = 2,
    seeds: Annotated[int, typer.Option(min=1, help="Of these trainings: each set is trained so often.")] = 2,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Call code that a run's folder names, though somebody else made it.")
    ] = False,
) -> None:
    """Propose which layers to link, with evidence: real batches through both models, nothing trained without --probe.

    Example: layerlink propose resnet56 resnet20 data.root=~/cifar10 teacher.weights=resnet56.safetensors
    """
    from layerlink.cli.terminal.propose import show_end, show_probes, show_proposal
    from layerlink.cli.terminal.sweep import SweepConsole
    from layerlink.design.propose.folder import ProposalFolder
    from layerlink.design.propose.probe import candidate_sets, run_probes, sweep_text
    from layerlink.design.propose.question import load_question, look_at
    from layerlink.files.paths import expanded
    from layerlink.lab.run.reading.teacher_reading import teacher_findings
    from layerlink.lab.run.setup.machine import describe_machine
    from layerlink.lab.run.setup.setup import set_up

    console, folder = SweepConsole(), ProposalFolder(expanded(out))
    names, overrides = ([it for it in words if ("=" in it) == has] for has in (False, True))
    loaded = load_question(names, overrides, trust_code=trust_code)
    folder.check()
    setup = set_up(loaded)
    for text in (*setup.warnings, *teacher_findings(setup)):
        console.warn(text)
    looked = look_at(setup, batches)
    proposal = looked.proposal(links)
    show_proposal(console, proposal)

    asked = shlex.join([*words, *([f"--links={links}"] if links else []), f"--batches={batches}", f"--out={out}"])
    command = f"layerlink propose {asked}{f' --probe --epochs={epochs} --seeds={seeds}' if probe else ''}"
    machine = {**describe_machine(setup.device, setup.precision), "command": command}
    sweep = sweep_text(candidate_sets(looked, proposal), loaded.recipe, epochs=epochs, seeds=seeds) if probe else None
    folder.write(proposal, loaded.recipe, command, sweep)
    probes = None
    if probe:
        del setup, looked  # the trainings need their memory
        with console:
            probes = run_probes(folder, command=command, watch=console)
        show_probes(console, probes)
        folder.add_probes(probes.data())
    show_end(console, folder, proposal, loaded.recipe, machine, probes)
