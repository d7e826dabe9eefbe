"""`layerlink`: the verbs, and what the shell is told when something is wrong."""

from __future__ import annotations

import errno
import io
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

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
GO_ON = {"run": "the same command with --resume goes on"}  # after Ctrl-C; a run tells more where it is training
GO_ON |= dict.fromkeys(("sweep", "search", "quickstart"), "the same command goes on")

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
    with _ctrl_c() as asked:
        code = run_command_line(sys.argv[1:], asked)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said: a second Ctrl-C would end this by the signal
    leave(code, stopped=bool(asked))


def run_command_line(arguments: list[str], asked: Sequence[int] = ()) -> int:
    """Run one verb; the exit code: 0 done, 1 failed, 2 wrong usage.

    Args:
        arguments: the words after ``layerlink``.
        asked: is filled by Ctrl-C, see ``_ctrl_c``.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # words and folders may hold what the terminal's letters do not
            stream.reconfigure(errors="backslashreplace")
    words = [text for text in arguments if text != "--debug"]
    try:
        result = app(args=words, prog_name="layerlink", standalone_mode=False)
        return _stopped(words) if result == CTRL_C else result if isinstance(result, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return _stopped(words)
    except typer.Exit as leave:
        return _stopped(words) if leave.exit_code == CTRL_C else leave.exit_code
    except BrokenPipeError:
        return 1
    except Exception as error:  # noqa: BLE001 - the last line of defence: a sentence in place of a traceback
        if "--debug" in arguments:
            traceback.print_exc()
        return _failed(error, words, stopped=bool(asked))


def _failed(error: Exception, words: Sequence[str], *, stopped: bool) -> int:
    """Tell of an error; the exit code. A library that is ``stopped`` while it is imported may raise one of its own."""
    from layerlink.lab.run.interruption import Interrupted

    if stopped and not isinstance(error, Interrupted):
        return _stopped(words)
    if isinstance(error, LayerlinkError):
        _tell(str(error))
        return error.exit_code
    if isinstance(error, OSError):
        _tell(str(error))
        return 2 if error.errno == errno.ENAMETOOLONG else 1
    if hasattr(error, "format_message"):  # click's own: an unknown verb or option
        _tell(f"{error.format_message()}{_as_field(error)}")
        return 2
    _tell(f"{type(error).__name__}: {error}\n{whose(error)} --debug shows where.")
    return 1


@contextmanager
def _ctrl_c() -> Iterator[list[int]]:
    """A list that Ctrl-C fills, which is a KeyboardInterrupt as ever."""
    asked: list[int] = []
    of_python = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not of_python or threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, _frame: object) -> None:
        asked.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        if signal.getsignal(signal.SIGINT) is ask:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _as_field(error: Exception) -> str:
    """How an unknown option is written where a recipe has a field of that name."""
    from layerlink.config.reading import elsewhere
    from layerlink.lab.recipe.schema import Recipe

    name = str(getattr(error, "option_name", "")).lstrip("-").replace("-", "_")
    if not name:
        return ""
    found = [name] if name in Recipe.model_fields else elsewhere(name, Recipe)
    return f". A recipe's field is written without dashes: {found[0]}=VALUE" if found else ""


def _stopped(words: Sequence[str]) -> int:
    verb = next((word for word in words if not word.startswith("-")), "")
    what = GO_ON.get(verb)
    _tell(f"stopped. What was saved is there: {what}" if what else "stopped. No file was left half-written")
    return 1


def _tell(text: str) -> None:
    print(f"layerlink: {printable(text)}", file=sys.stderr)


if __name__ == "__main__":
    main()
