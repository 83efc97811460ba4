"""Which command was asked for, and how its errors are told."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Callable, Sequence

import jaxmed
from jaxmed._files import is_full
from jaxmed.cli._given import in_words

_GOES_ON = "the same command goes on from here"
_NOTHING = "nothing was written"
# What is true of a command that was interrupted.
_INTERRUPTED = {
    "demo": _GOES_ON,
    "train": _GOES_ON,
    "study": _GOES_ON,
    "predict": "what was written is whole; with --resume the rest follows",
    "generate": "delete the folder, and start anew",
    "translate": "what was written is whole",
    "plan": _NOTHING,
    "tiles": "delete the folder, and start anew",
    "evaluate": _NOTHING,
    "compare": _NOTHING,
}

# name: (module of the command, what it does). A module has `run(arguments) -> exit code`.
_COMMANDS = {
    "demo": ("runs._demo", "train and evaluate on brain anatomy, without any download"),
    "plan": ("runs._plan", "plan the training on your own images, every choice with its reason"),
    "train": ("runs._train", "run an experiment: a file of experiments/, by name or path"),
    "study": ("runs._study", "compare ways to train on your own images, cross-validated"),
    "list": ("runs._list", "list the experiments"),
    "evaluate": ("_evaluate", "measure any framework's predictions against a reference"),
    "compare": ("_compare", "compare models on the same cases, every pair tested"),
    "power": (
        "power._command",
        "plan a study: its size or its power, and a sentence for the protocol",
    ),
    "predict": (
        "predict._command",
        "segment, classify or measure images with a trained run, in their own space",
    ),
    "explain": ("explain._command", "why a trained run answers so: maps over images, tested"),
    "generate": ("generate._command", "draw images by a trained generator"),
    "translate": ("_translate", "make one image of another by a trained run, such as a sequence"),
    "register": ("_register", "move one scan onto another, with a page that shows how well"),
    "export": ("_export", "write a trained network as one file that JAX alone can call"),
    "convert": ("_convert", "make a model of another library's checkpoint, by its name maps"),
    "tiles": ("_tiles", "cut whole slides into pictures, with a table for training"),
    "data": ("_data", "`data check PATH`: list every fault of a data set"),
    "explore": ("_explore", "a first look at images: clusters, near duplicates, outliers, maps"),
    "label": ("label._command", "label images in the browser, for training and active learning"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the `jaxmed` command.

    Args:
        arguments: as on the command line, without the program's name; by default `sys.argv`'s.

    Returns:
        The exit code.
    """
    arguments = [*(sys.argv[1:] if arguments is None else arguments)]
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0 if arguments else 2
    if arguments[0] in ("--version", "-V"):
        print(f"jaxmed {jaxmed.__version__}")
        return 0
    name, *rest = arguments
    if name not in _COMMANDS:
        print(
            f"jaxmed: error: there is no command {name!r}; there are {', '.join(_COMMANDS)}",
            file=sys.stderr,
        )
        return 2
    module = _COMMANDS[name][0]
    command = lambda: importlib.import_module(f"jaxmed.cli.{module}").run(rest)  # noqa: E731
    return _guarded(command, debug=debug, interrupted=_INTERRUPTED.get(name, ""))


def train_file(path: str | os.PathLike, arguments: Sequence[str] | None = None) -> None:
    """Run one experiment's file and leave the process with its exit code.

    Args:
        path: the file; it has `Config` and `run`.
        arguments: as after `jaxmed train EXPERIMENT`; by default `sys.argv`'s.
    """
    rest = [*(sys.argv[1:] if arguments is None else arguments)]
    sys.exit(main(["train", os.fspath(path), *rest]))


def _guarded(command: Callable[[], int], *, debug: bool, interrupted: str) -> int:
    """Tell a user's mistake in one line; let a traceback through for `--debug`."""
    shown = warnings.showwarning
    warnings.showwarning = _show_warning
    try:
        return command()
    except KeyboardInterrupt:
        state = f"; {interrupted}" if interrupted else ""
        print(f"\njaxmed: interrupted{state}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of a pipe has left: no error of ours, and nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, RuntimeError, KeyError, ImportError) as error:
        if debug:
            raise
        text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        text = in_words(text)
        if isinstance(error, OSError) and is_full(error):
            text = f"no space is left on the disk of {error.filename}"
            text += f": make room; {interrupted}" if interrupted else ""
        kind = "" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: "
        print(f"jaxmed: error: {kind}{text or type(error).__name__}", file=sys.stderr)
        if not isinstance(error, OSError) and not type(error).__module__.startswith("jaxmed."):
            print("(--debug shows where)", file=sys.stderr)
        return 2
    finally:
        warnings.showwarning = shown


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    print(f"jaxmed: warning: {in_words(str(message))}", file=file or sys.stderr)


def _help() -> str:
    lines = [
        "jaxmed: medical images, from data on disk to a trained model and a report one can trust.",
        "",
        "usage: jaxmed COMMAND [options]",
        "",
        *(f"  {name:<10} {text}" for name, (_, text) in _COMMANDS.items()),
        "",
        "  --help     this text; `jaxmed COMMAND --help` tells a command's options",
        "  --version  the version",
        "  --debug    show the traceback of an error",
    ]
    return "\n".join(lines)
