"""The command `fastnn`, also `python -m fastnn`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    compared = bench.add_mutually_exclusive_group()
    compared.add_argument(
        "--peers",
        metavar="NAMES",
        nargs="?",
        const="",
        help="train in fastnn and in other libraries that are installed, in turns; some of "
        "torch,torch.channels_last,torch.compile,jax, default: all",
    )
    compared.add_argument(
        "--sweep", choices=("batch", "width"), help="time a step over batch sizes, or widths of layers"
    )
    bench.add_argument("--rounds", metavar="N", type=_at_least(1, 1000), help="with --peers, default: 15, quick: 5")
    bench.add_argument("--pictures", metavar="DIR", type=Path, help="also draw the results, with matplotlib")
    bench.add_argument("--json", metavar="FILE", type=Path, help="also write everything that was measured")
    bench.add_argument("--markdown", metavar="FILE", type=Path, help="also write the tables")
    bench.add_argument("--seconds", metavar="S", type=_positive, help="of timing per case or, with --peers, per turn")

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
    from fastnn import plotting

    for path in filter(None, (arguments.json, arguments.markdown)):
        path.open("a").close()  # an error now rather than after minutes
    if arguments.pictures:
        try:
            plotting.require_matplotlib("bench --pictures")
        except ImportError as error:
            parser.error(str(error))
        arguments.pictures.mkdir(parents=True, exist_ok=True)
    if arguments.rounds and arguments.peers is None:
        parser.error("argument --rounds: is for --peers")
    mode = _sweep if arguments.sweep else _kernels if arguments.peers is None else _peers
    result, status = mode(arguments, parser)
    if arguments.json:
        arguments.json.write_text(json.dumps(result.data(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    if arguments.markdown:
        arguments.markdown.write_text(result.markdown(), encoding="utf-8")
    if arguments.pictures:
        from fastnn.bench import pictures

        for path in pictures.draw(result, arguments.pictures):
            print(f"wrote {path}")
    return status


def _kernels(arguments: Namespace, parser: ArgumentParser) -> tuple[Any, int]:
    from fastnn import bench

    selected = bench.select(arguments.filter, arguments.quick)
    if not selected:
        parser.error(
            f"argument --filter: no case has {arguments.filter!r} in its name; without it, bench lists them all"
        )
    seconds = arguments.seconds or (bench.QUICK_SECONDS if arguments.quick else bench.SECONDS)
    result = bench.run(selected, threads=arguments.threads, seconds=seconds)
    return result, 1 if result.wrong else 0


def _peers(arguments: Namespace, parser: ArgumentParser) -> tuple[Any, int]:
    from fastnn.bench import peers, workloads

    wanted = [name for name in arguments.peers.split(",") if name]
    for name in wanted:
        if name not in peers.PROGRAMS:
            parser.error(f"argument --peers: expected some of {','.join(peers.PROGRAMS)}, got {name!r}")
    selected = [w for w in workloads.WORKLOADS if arguments.filter in w.name and (w.quick or not arguments.quick)]
    if not selected:
        names = ", ".join(w.name for w in workloads.WORKLOADS)
        parser.error(f"argument --filter: no training step has {arguments.filter!r} in its name; there are {names}")
    allowed = len(os.sched_getaffinity(0))
    if (arguments.threads or 1) > allowed:
        parser.error(f"argument --threads: expected at most {allowed}, one per processor, got {arguments.threads}")
    settings = peers.Settings(
        arguments.threads or allowed,
        rounds=arguments.rounds or (5 if arguments.quick else 15),
        seconds=arguments.seconds or (0.1 if arguments.quick else 0.3),
        programs=[name for name in peers.PROGRAMS if name in peers.OWN or not wanted or name in wanted],
    )
    result = peers.compare(selected, settings)
    return result, 1 if any(comparison.wrong for comparison in result.comparisons) else 0


def _sweep(arguments: Namespace, parser: ArgumentParser) -> tuple[Any, int]:
    from fastnn.bench import sweeps

    if arguments.filter:
        parser.error("argument --filter: is not for --sweep, which has its own networks")
    threads = [arguments.threads] if arguments.threads else None
    return sweeps.run(arguments.sweep, threads=threads, seconds=arguments.seconds, quick=arguments.quick), 0
