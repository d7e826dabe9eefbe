"""`layerlink`: the verbs, and what the shell is told when something is wrong."""

from __future__ import annotations

import errno
import io
import sys
import traceback

import typer

from layerlink.cli.bench import bench
from layerlink.cli.card import card
from layerlink.cli.check import check
from layerlink.cli.evaluate import evaluate
from layerlink.cli.export import export
from layerlink.cli.layers import layers
from layerlink.cli.ls import ls
from layerlink.cli.predict import predict
from layerlink.cli.process.memory import keep_freed_memory
from layerlink.cli.process.together import check_verb, leave
from layerlink.cli.propose import propose
from layerlink.cli.push import push
from layerlink.cli.quickstart import quickstart
from layerlink.cli.replay import replay
from layerlink.cli.report import report
from layerlink.cli.run import run
from layerlink.cli.search import search
from layerlink.cli.shrink import shrink
from layerlink.cli.sweep import sweep
from layerlink.cli.verify import verify
from layerlink.errors import LayerlinkError
from layerlink.printable import printable
from layerlink.user_code import whose

CTRL_C = 130  # what typer makes of a KeyboardInterrupt

app = typer.Typer(
    name="layerlink",
    help="Multi-layer knowledge transfer: a big, frozen teacher teaches a small student.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="--debug with any verb shows the traceback of an error. Exit codes: 0 done, 1 failed, 2 wrong usage.",
)
for verb in (
    quickstart,
    propose,
    shrink,
    run,
    sweep,
    search,
    report,
    evaluate,
    verify,
    replay,
    check,
    bench,
    layers,
    ls,
):
    app.command()(verb)
for use in (export, predict, card, push):  # what a finished run is for
    app.command()(use)


def main() -> None:
    """Run the command line and leave with its exit code."""
    keep_freed_memory()
    check_verb(sys.argv[1:])
    leave(run_command_line(sys.argv[1:]))


def run_command_line(arguments: list[str]) -> int:
    """Run one verb; the exit code: 0 done, 1 failed, 2 wrong usage."""
    debug = "--debug" in arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # words and folders may hold what the terminal's letters do not
            stream.reconfigure(errors="backslashreplace")
    try:
        result = app(
            args=[text for text in arguments if text != "--debug"], prog_name="layerlink", standalone_mode=False
        )
        return _stopped() if result == CTRL_C else result if isinstance(result, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return _stopped()
    except typer.Exit as leave:
        return _stopped() if leave.exit_code == CTRL_C else leave.exit_code
    except LayerlinkError as error:
        if debug:
            traceback.print_exc()
        _tell(str(error))
        return error.exit_code
    except BrokenPipeError:
        return 1
    except OSError as error:
        if debug:
            traceback.print_exc()
        _tell(str(error))
        return 2 if error.errno == errno.ENAMETOOLONG else 1
    except Exception as error:  # noqa: BLE001 - the last line of defence: a sentence in place of a traceback
        if hasattr(error, "format_message"):  # click's own: an unknown verb or option
            _tell(error.format_message())
            return 2
        if debug:
            traceback.print_exc()
        _tell(f"{type(error).__name__}: {error}\n{whose(error)} --debug shows where.")
        return 1


def _stopped() -> int:
    _tell("stopped. What a run had saved is there: the same command with --resume goes on")
    return 1


def _tell(text: str) -> None:
    print(f"layerlink: {printable(text)}", file=sys.stderr)


if __name__ == "__main__":
    main()
