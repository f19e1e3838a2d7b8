"""The command `fastnn`, also `python -m fastnn`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

INTERRUPTED = 130  # the exit status of a program that Ctrl-C ended
FAILED = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Args:
        argv: arguments, without the program's name; None takes those of the process.

    Returns:
        0; 1 if a demo missed its accuracy or a benchmark found a wrong result; 2 for files that are missing or cannot be written;
        130 after Ctrl-C.

    Raises:
        SystemExit: for --help, --version and arguments that are not understood (status 2).

    Example:
        >>> from fastnn.cli import main
        >>> main(["info"])  # doctest: +ELLIPSIS
        fastnn ...
        0
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        status: int = arguments.run(arguments, parser)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # who read our output has gone: `fastnn bench | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        print(f"fastnn: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> ArgumentParser:
    """Return the parser of all commands."""
    import argparse

    from fastnn import __version__

    parser = argparse.ArgumentParser(prog="fastnn", description="Train neural networks on a CPU, fast.")
    parser.add_argument("--version", action="version", version=f"fastnn {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="{demo,info,bench}")

    demo = commands.add_parser("demo", help="train a network, draw its learning curve, compare with NumPy")
    demo.set_defaults(run=_demo)
    demo.add_argument("--output", metavar="DIR", type=Path, default=Path("fastnn-demo"), help="default: %(default)s")
    demo.add_argument(
        "--data", choices=("digits", "mnist"), default="digits", help="default: %(default)s, in the package"
    )
    demo.add_argument("--epochs", metavar="N", type=_at_least(1), help="default: what the expected accuracy takes")
    demo.add_argument("--seed", metavar="S", type=_at_least(0, 2**63 - 1), default=0, help="default: %(default)s")

    info = commands.add_parser("info", help="show versions, processor, instruction sets, threads")
    info.set_defaults(run=_info)

    bench = commands.add_parser("bench", help="time kernels and training steps against NumPy and the machine's peak")
    bench.set_defaults(run=_bench)
    bench.add_argument("--quick", action="store_true", help="a few cases, in about a minute")
    bench.add_argument("--filter", metavar="TEXT", default="", help="only cases with this in their name")
    bench.add_argument("--json", metavar="FILE", type=Path, help="also write everything that was measured")
    bench.add_argument("--markdown", metavar="FILE", type=Path, help="also write the tables")
    bench.add_argument("--seconds", metavar="S", type=_positive, help="of timing per case, default: 0.5, quick: 0.15")

    for command in (demo, bench):
        command.add_argument("--threads", metavar="N", type=_at_least(1, 1024), help="default: one per processor")
    return parser


def _at_least(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """Return what reads an integer in a range."""

    def integer(text: str) -> int:
        value = int(text)
        if value < minimum or (maximum is not None and value > maximum):
            raise ValueError
        return value

    integer.__name__ = f"integer >= {minimum}" + ("" if maximum is None else f" and <= {maximum}")
    return integer  # argparse names it in "invalid ... value"


def _positive(text: str) -> float:
    """Read a number of seconds."""
    value = float(text)
    if not 0 < value < 86400:
        raise ValueError
    return value


_positive.__name__ = "number of seconds > 0"


def _demo(arguments: Namespace, parser: ArgumentParser) -> int:
    from fastnn import demo

    return demo.run(
        arguments.output,
        data=arguments.data,
        epochs=arguments.epochs,
        seed=arguments.seed,
        threads=arguments.threads,
    )


def _info(arguments: Namespace, parser: ArgumentParser) -> int:
    from fastnn import config

    config.show_config()
    return 0


def _bench(arguments: Namespace, parser: ArgumentParser) -> int:
    from fastnn import bench

    selected = bench.select(arguments.filter, arguments.quick)
    if not selected:
        parser.error(
            f"argument --filter: no case has {arguments.filter!r} in its name; without it, bench lists them all"
        )
    for path in filter(None, (arguments.json, arguments.markdown)):
        path.open("a").close()  # an error now rather than after minutes
    seconds = arguments.seconds or (bench.QUICK_SECONDS if arguments.quick else bench.SECONDS)
    result = bench.run(selected, threads=arguments.threads, seconds=seconds)
    if arguments.json:
        arguments.json.write_text(json.dumps(result.data(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    if arguments.markdown:
        arguments.markdown.write_text(result.markdown(), encoding="utf-8")
    return 1 if result.wrong else 0
