# SPDX-License-Identifier: BSD-3-Clause
"""cli -- the program `mosbox`: one subcommand an app, made from its class.

Only the app that was asked for is imported, and typer only parses words: what
they mean is checked by the options themselves, as it is for configuration
files, so a mistake reads the same wherever it was made.

Exit codes: 0 all went well, 1 it failed while running, 2 an option, file of
configuration, rule or filter is wrong.
"""

from __future__ import annotations

import atexit
import gc
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

from mosbox.hints import did_you_mean
from mosbox.options import COMMON, Option
from mosbox.registry import AppError, Registry, app_folders

if TYPE_CHECKING:
    from mosbox.app import App, Command

__all__ = ["command_line", "main"]

Task = Callable[[], None]  # what is left to do once the command line is understood
FAILED, WRONG = 1, 2

# The common options that a command without packets has as well.
_FOR_COMMANDS = ("output", "config", "set", "quiet", "verbose")


class WrongUseError(Exception):
    """The user asked for what cannot be: exit code 2."""


# ---- from a class to a command


def _as_given(param: Any, context: Any, value: Any) -> Any:
    return param.callback(context, param, value) if param.callback else value


class _OwnChecks:
    """typer would load pydantic to check each word, at twice the start-up of the program."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            param.process_value = MethodType(_as_given, param)
        return params


class AppCommand(_OwnChecks, TyperCommand):
    """A command whose help lists the app's own options first."""

    sections: dict[str, str]  # option -> the part of the help that it is in

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sections = {}

    def format_options(self, ctx: Any, formatter: Any) -> None:
        parts: dict[str, list[tuple[str, str]]] = {"Options": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and param.param_type_name == "option":
                parts.setdefault(self.sections.get(param.name, "The run"), []).append(record)
        words: list[Any] = [p for p in self.params if p.param_type_name == "argument"]
        if words:
            with formatter.section("Arguments"):
                formatter.write_dl([(p.metavar, p.help) for p in words])
        for title, records in parts.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def option_help(option: Option) -> str:
    """The help of an option with its default."""
    default = option.default
    if option.required:
        return f"{option.help} (required)"
    if default is None or default is False or default == [] or option.positional:
        return option.help
    if default is True:
        return f"{option.help} (default: yes)"
    return f"{option.help} (default: {default})"


def option_metavar(option: Option) -> str:
    """The word that stands for an option's value in the help."""
    if option.metavar:
        return option.metavar
    if option.choices:
        return "|".join(option.choices)
    return {int: "N", float: "X", Path: "FILE", str: "TEXT"}.get(option.element, "VALUE")


def option_flags(option: Option) -> list[str]:
    """How it is spelt: long, then short; `--x/--no-x` for what is on unless switched off."""
    long = option.flag
    if option.element is bool and option.default is True:
        long = f"{long}/--no-{long[2:]}"
    return [flag for flag in (option.short, long) if flag]


def _parameter(option: Option) -> inspect.Parameter:
    """An option as typer wants it. Its default is None: then nothing was given."""
    annotation: Any = option.element
    if annotation is not bool and annotation is not Path and get_origin(annotation) is not Literal:
        annotation = str
    annotation = Optional[list[annotation] if option.is_list else annotation]  # noqa: UP045
    help = option_help(option)
    if option.positional:
        metavar = option.metavar or option.name.upper()
        default = typer.Argument(None, metavar=metavar, help=help, show_default=False)
    else:
        metavar = "" if option.element is bool else option_metavar(option)
        flags = option_flags(option)
        default = typer.Option(None, *flags, metavar=metavar or None, help=help, show_default=False)
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(option.name, kind, default=default, annotation=annotation)


def command_options(app: type[Command]) -> list[Option]:
    """All options of a subcommand, its own first."""
    from mosbox.app import App

    own = list(app.options().values())
    if not issubclass(app, App):
        return own + [o for o in COMMON if o.name in (*_FOR_COMMANDS, *app.common)]
    words = Option([], "BPF filter, as in tcpdump", metavar="FILTER", positional=True)
    words.name, words.type = "bpf", list[str]
    return [*own, *COMMON, words]


def command_of(app: type[Command], name: str, registry: Registry) -> Any:
    """The typer command of an app."""
    options = command_options(app)

    def command(**values: Any) -> Task:
        given = {key: value for key, value in values.items() if value not in (None, [], ())}
        return lambda: _execute(app, given, registry)

    parameters = [_parameter(option) for option in options]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    program = typer.Typer(add_completion=False, rich_markup_mode=None)
    program.command(name, cls=AppCommand, help=_help_text(app), context_settings=_HELP)(command)
    made: Any = typer.main.get_command(program)
    made.sections = {option.name: option.section or "Options" for option in options}
    return made


def _help_text(app: type[Command]) -> str:
    """The docstring; an indented paragraph keeps its lines (typer's mark for that is \\b)."""
    paragraphs = (inspect.getdoc(app) or "").split("\n\n")
    return "\n\n".join(f"\b\n{p}" if p.startswith("  ") else p for p in paragraphs)


# ---- running it


def _execute(app: type[Command], given: dict[str, Any], registry: Registry) -> None:
    """Options from the command line, the file and --set, then the run."""
    from mosbox.app import App

    known = {option.name: option for option in COMMON}
    words = given.pop("bpf", []) if issubclass(app, App) else []
    own = {key: value for key, value in given.items() if key not in known}
    with _wrong_use():
        common = {key: known[key].value(value) for key, value in given.items() if key in known}
    if issubclass(app, App):
        _run_app(app, own, common, words, registry)
    else:
        _run_command(app, own, common, registry)


def _run_command(
    kind: type[Command], own: dict[str, Any], common: dict[str, Any], registry: Registry
) -> None:
    from mosbox.config import read_config
    from mosbox.outputs import Outputs

    with _wrong_use():
        config = read_config(
            common.get("config"),
            common.get("set", []),
            app=kind.name,
            options=kind.options(),
            apps=registry.entries,
        )
        config.settle(lambda key, value: False)
        command = kind(**{**config.app, **own})
        common = {**config.common, **common}
        specs = common.get("output") or ["table" if sys.stdout.isatty() else "json"]
        outputs = Outputs(kind, specs, quiet=common.get("quiet", False))
        for name in kind.common:
            setattr(command, name, common.get(name))
    command._outputs = outputs
    command.registry = registry
    try:
        with _wrong_use():
            rows = command.main()
        outputs.result(kind.name, rows or [])
    finally:
        outputs.close()


def _run_app(
    kind: type[App],
    own: dict[str, Any],
    common: dict[str, Any],
    words: list[str],
    registry: Registry,
) -> None:
    from mosbox.config import read_config
    from mosbox.runner import Plan, Run
    from mosbox.workers import parse_workers

    with _wrong_use():
        config = read_config(
            common.get("config"),
            [*_core_settings(common), *common.get("set", [])],
            app=kind.name,
            options=kind.options(),
            apps=registry.entries,
        )
        app = kind(**{**config.app, **own})
        config.settle(app.setting)
        common = {**config.common, **common}
        plan = Plan(
            read=common.get("read", []),
            interface=common.get("interface"),
            write=common.get("write"),
            output=common.get("output", []),
            bpf=_filter(words, common.get("filter_file")),
            core=config.core,
            on_error=common.get("on_error", "stop"),
            quiet=common.get("quiet", False),
            verbose=common.get("verbose", False),
            signals=True,
            workers=parse_workers(common.get("workers", 1)),
        )
    with Run(app, plan) as run:
        with _wrong_use():
            run.open()
        run.go()


def _core_settings(common: dict[str, Any]) -> list[str]:
    """Common options that are settings of the core: `--decap gre` is `--set decap=gre`."""
    names = ("decap", "checksums", "vlan_key", "tunnel_key", "seed", "max_memory")
    return [f"{name}={common.pop(name)}" for name in names if name in common]


def _filter(words: list[str], path: str | None) -> str:
    """The BPF filter of the trailing words, or of a file whose `#` lines are comments."""
    if path is None:
        return " ".join(words)
    if words:
        raise ValueError("the filter comes from -F or from the command line, one of them")
    try:
        lines = Path(path).read_text().splitlines()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    return " ".join(line.partition("#")[0] for line in lines).strip()


@contextmanager
def _wrong_use() -> Iterator[None]:
    """What is wrong before the first packet is the user's to mend: exit code 2."""
    try:
        yield
    except ValueError as error:
        raise WrongUseError(str(error)) from error


# ---- the program

_HELP = {"help_option_names": ["-h", "--help"]}


class AppGroup(_OwnChecks, TyperGroup):
    """The subcommands are the registry's entries; a file that ends in .py is one too."""

    def _registry(self, ctx: Any) -> Registry:
        if ctx.obj is None:
            ctx.obj = Registry(app_folders(ctx.params.get("app_dir") or []))
        registry: Registry = ctx.obj
        return registry

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(self._registry(ctx).entries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        registry = self._registry(ctx)
        entry = registry.find(cmd_name)
        if entry is None:
            return None
        try:
            return command_of(entry.load(), entry.name, registry)
        except (AppError, TypeError) as error:
            if ctx.resilient_parsing:
                return None  # completion goes on without it
            raise WrongUseError(str(error)) from error

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        registry = self._registry(ctx)
        rows = [
            (name, entry.summary or f"({entry.problem or entry.origin})")
            for name, entry in sorted(registry.entries.items())
        ]
        if rows:
            with formatter.section("Apps and commands"):
                formatter.write_dl(rows)
        if registry.problems:
            with formatter.section("Not usable"):
                for problem in registry.problems:
                    formatter.write_text(problem)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        registry = self._registry(ctx)
        if not ctx.resilient_parsing and not name.startswith("-") and not registry.find(name):
            if name.endswith(".py"):
                raise WrongUseError(f"{name}: no such file")
            known = did_you_mean(name, registry.entries) or "; `mosbox apps` lists what there is"
            raise WrongUseError(f"no app {name!r}{known}")
        return super().resolve_command(ctx, args)


def _version(context: typer.Context, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from mosbox.engine import version

        print(f"mosbox {version()}")
        raise typer.Exit


def command_line() -> Any:
    """The whole command line as typer's command object."""
    program = typer.Typer(
        cls=AppGroup,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings=_HELP,
        subcommand_metavar="APP [OPTIONS] [FILTER]...",
        epilog="`mosbox APP --help` tells more about one of them, `man mosbox` about all.",
    )

    @program.callback(
        help="Network middleboxes on one stack: packets in, decisions and records out."
    )
    def mosbox(
        app_dir: Annotated[
            list[str] | None,
            typer.Option(
                metavar="DIR", is_eager=True, help="look for apps here too, as in MOSBOX_APP_DIR"
            ),
        ] = None,
        version: Annotated[
            bool,
            typer.Option("--version", is_eager=True, callback=_version, help="print the version"),
        ] = False,
    ) -> None:
        pass

    return typer.main.get_command(program)


def main(argv: list[str] | None = None) -> int:
    """Runs the program; its exit code."""
    words = sys.argv[1:] if argv is None else argv
    if argv is None:
        # the process ends with the program: to look for garbage then is a third of what that takes
        atexit.register(gc.freeze)
    try:
        code = _main(words)
        sys.stdout.flush()
    except BrokenPipeError:
        # who reads has gone: nothing is left to say, at exit neither
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _main(words: list[str]) -> int:
    verbose = "-v" in words or "--verbose" in words
    try:
        task = command_line().main(words, prog_name="mosbox", standalone_mode=False)
        if callable(task):
            task()
            return 0
        return task or 0
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        return 130
    except WrongUseError as error:
        return _fail(str(error), WRONG)
    except Exception as error:
        if verbose:
            import traceback

            traceback.print_exception(error)
        if isinstance(error, typer.Abort):
            return FAILED
        if isinstance(error, _UsageError):
            return _usage_error(error)
        return _fail(_sentence(error), FAILED)


_UsageError: Any = typer.BadParameter.__base__  # which typer has no public name for


def _usage_error(error: Any) -> int:
    message = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":
        print(message)  # the help
        return 0
    path = error.ctx.command_path if error.ctx is not None else "mosbox"
    return _fail(f"{message.rstrip('.')} (see {path} --help)", WRONG)


def _sentence(error: Exception) -> str:
    """What happened, in one line."""
    from mosbox.engine import MosboxError
    from mosbox.runner import describe

    notes = getattr(error, "__notes__", [])
    if isinstance(error, OSError) and error.strerror and not notes:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MosboxError | ValueError) and not notes:
        return str(error)
    return describe(error)


def _fail(message: str, code: int) -> int:
    print(f"mosbox: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
