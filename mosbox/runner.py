# SPDX-License-Identifier: BSD-3-Clause
"""runner -- an app, its sources and its outputs joined into one run.

The core is called in slices of packets, and between slices Python looks after
signals, the progress bar and stopped runs. What a run writes does not depend on
how it is sliced.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from types import MethodType
from typing import TYPE_CHECKING, Any, TypeVar

from mosbox.config import core_keys, take_hosts
from mosbox.dispatch import Session
from mosbox.engine import STDIO, Engine, Source, Writer, check_readable, file_size
from mosbox.events import EVENTS, EventKind, FlowRecord
from mosbox.outputs import Outputs, path_of

if TYPE_CHECKING:
    from mosbox.app import App, event
    from mosbox.workers import Crew

__all__ = ["Plan", "Run", "flows", "run"]

FIRST_SLICE = 1 << 8  # packets between two looks at signals, at first
LAST_SLICE = 1 << 18
SLICE_TIME = 0.05  # seconds that a slice should take at most
LIMITS = {  # counter -> what it counts
    "flow_limit": "times the flow table was full",
    "stream_limit": "times a stream had no room behind a hole",
    "frag_limit": "times fragments made room for others",
    "memory_refused": "times a parser had no memory",
}
BIG = 32 << 20  # bytes of a capture that is worth a progress bar
RETRANSMIT_HISTORY = 1 << 16  # bytes of a stream kept for who hears of retransmissions

AnyApp = TypeVar("AnyApp", bound="App")


@dataclass
class Plan:
    """What to run an app on. The fields are the options every app has."""

    read: list[str] = field(default_factory=list)
    interface: str | None = None
    write: str | None = None
    output: list[str] = field(default_factory=list)
    bpf: str = ""
    core: dict[str, Any] = field(default_factory=dict)
    on_error: str = "stop"
    quiet: bool = False
    verbose: bool = False
    collect: bool = False  # keep records in app.records instead of writing them
    signals: bool = False  # SIGINT ends the run, SIGUSR1 tells, SIGHUP reloads
    workers: int = 1  # processes that share the flows of captures

    def validate(self, writes: Iterable[str] = ()) -> None:
        """Raises ValueError or OSError for what cannot work, before anything is written.
        `writes` are files that the app writes by itself."""
        if bool(self.read) == bool(self.interface):
            raise ValueError("packets come from -r FILE or from -i IF, one of them")
        if self.interface and self.workers > 1:
            raise ValueError("several workers share captures, not interfaces: --workers needs -r")
        for path in self.read:
            check_readable(path)
        if self.read.count(STDIO) > 1:
            raise ValueError("standard input can be read once")
        self._check_written([*filter(None, [self.write]), *map(path_of, self.outputs()), *writes])

    def _check_written(self, paths: list[str]) -> None:
        """Nothing is written over what is read, or over what else is written."""
        paths = [path for path in paths if path != STDIO]
        for place, path in enumerate(paths):
            if any(_same_file(path, read) for read in self.read):
                raise ValueError(f"{path} cannot be read and written at once")
            if any(_same_file(path, other) for other in paths[:place]):
                raise ValueError(f"two outputs want {path}")

    def outputs(self) -> list[str]:
        """The outputs asked for, or what suits standard output."""
        if self.collect and not self.output:
            return []
        if self.output:
            on_stdout = [o for o in self.output if ":" not in o or o.endswith(":-")]
            if on_stdout and self.write == STDIO:
                raise ValueError(f"-w - and -o {on_stdout[0]} both want standard output")
            return self.output
        if self.write == STDIO:
            return []
        return ["table" if sys.stdout.isatty() else "json"]


def _same_file(one: str, other: str) -> bool:
    """Whether two paths lead to one file. Devices and pipes may be shared."""
    try:
        return os.path.samefile(one, other) and os.path.isfile(one)
    except OSError:  # one is not there yet
        return os.path.realpath(one) == os.path.realpath(other)


class Run:
    """One run of an app: `with Run(app, plan) as run: run.open(); run.go()`.

    `app.engine` and `app.outputs` are there from open() to the end of the with-statement.
    """

    def __init__(self, app: App, plan: Plan) -> None:
        self.app = app
        self.plan = plan
        self.writer: Writer | None = None
        self._stack = ExitStack()
        self._wanted: list[int] = []  # signals not looked at yet
        self._events: dict[str, int] = {}
        self._passed = 0  # bytes of the captures before this one
        self.interrupted = False
        self.crew: Crew | None = None  # of several workers

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        """Frees all. Views of flows raise from here on."""
        self.app._runner = None
        source = getattr(self, "source", None)
        if source is not None:
            source.close()
        self._stack.close()

    # -- set up

    def open(self) -> None:
        """Opens all there is, and lets the app start. A ValueError here is the user's mistake."""
        plan, app = self.plan, self.app
        plan.validate(app.writes())
        specs = plan.outputs()
        if plan.workers > 1:
            self._split()
        self.source = self._open_source(0)
        live = plan.interface is not None
        self.outputs = app._outputs = Outputs(
            type(app), specs, line_buffered=live, quiet=plan.quiet, collect=plan.collect
        )
        self._stack.callback(self.outputs.close)
        settings = {**self.outputs.settings(), **app.settings()}
        self.engine = Engine(**{**core_settings(settings), **plan.core})
        self.session = Session(self.engine, app.name, go_on=plan.on_error == "continue")
        self._stack.callback(self.session.close)
        self._stack.callback(self.engine.close)
        if plan.write is not None:
            self.writer = Writer(plan.write, self.source.linktype)
            self._stack.callback(self.writer.close)
            self.engine.set_writer(self.writer)
        self.outputs.attach(self.engine)
        app._runner = self
        self._listen()
        app.start()

    def _split(self) -> None:
        """Makes the workers, if the app is one for several."""
        from mosbox.app import App
        from mosbox.workers import Crew

        if type(self.app).merge is App.merge:
            raise ValueError(
                f"{self.app.name} needs one worker: it does not say how the results of several "
                "are merged, see merge() in mosbox-app(7)"
            )
        self.crew = Crew(self.plan.workers)
        self._stack.callback(self.crew.close)

    @property
    def is_worker(self) -> bool:
        """Whether this process is one of several workers, and not their parent."""
        return self.crew is not None and self.crew.is_worker

    def _open_source(self, index: int) -> Source:
        plan = self.plan
        if plan.interface is not None:
            source = Source.live(plan.interface)
        elif self.crew is not None:
            source = self.crew.source(plan.read[index])
        else:
            source = Source.file(plan.read[index])
        try:
            if plan.bpf:
                source.filter(plan.bpf)
        except ValueError as error:
            source.close()
            raise ValueError(f"filter {plan.bpf!r}: {error}") from None
        return source

    def _listen(self) -> None:
        """Makes the app's on_ methods registrations, its events and its scope known."""
        from mosbox._core import lib

        app, session = self.app, self.session
        if app.scope:
            code = lib.mb_monitor_scope(session.monitor, app.scope.encode())
            self.engine.check(code)
        history = app.history
        if history is None:
            history = RETRANSMIT_HISTORY if _hears(app, "retransmit") else 0
        if history:
            self.engine.check(lib.mb_monitor_history(session.monitor, history))
        for name, subscribed in app._subscriptions.items():
            method = getattr(app, name)
            number, kind = self._event(subscribed)
            session.on(number, kind, method, getattr(method, "hook", ""), label=name)

    def _event(self, wanted: str | event) -> tuple[int, EventKind]:
        """Number and kind of an event, defining it and its parents if need be."""
        if isinstance(wanted, str):
            return EVENTS[wanted].id, EVENTS[wanted]
        kind = wanted.kind
        if wanted.name not in self._events:
            parent, _ = self._event(wanted.parent)
            when = wanted.when
            if when is not None and when in vars(type(self.app)).values():
                when = MethodType(when, self.app)  # a method of the app
            try:
                number = self.session.define(
                    parent, kind, wanted.where, wanted.bpf, when, f"filter of {wanted.name}"
                )
            except ValueError as error:
                raise ValueError(f"event {wanted.name}: {error}") from None
            self._events[wanted.name] = number
        return self._events[wanted.name], kind

    # -- for the app

    def every(self, seconds: float, call: Callable[[], object]) -> int:
        if seconds <= 0:
            raise ValueError("every() needs more than 0 seconds")
        self.alone("every()")
        return self.session.timer(seconds, call, seconds)

    def after(self, seconds: float, call: Callable[[], object]) -> int:
        self.alone("after()")
        return self.session.timer(seconds, call)

    def stop(self) -> None:
        self.alone("stop()")
        self.session.stop()

    def alone(self, what: str) -> None:
        """What concerns all flows at once can only be done where all flows are."""
        if self.crew is not None:
            raise ValueError(f"{self.app.name} needs one worker: it uses {what}")

    def raise_event(self, name: str) -> None:
        from mosbox._core import lib

        if name not in self._events:
            raise ValueError(f"{self.app.name} has no event {name!r} that anybody listens to")
        code = lib.mb_event_raise(self.session.current_event(), self._events[name])
        self.engine.check(code)

    # -- the run

    def go(self) -> None:
        """The whole run, by this process or by its workers, and what the app makes of it."""
        with self._signals():
            if self.crew is not None:
                self.crew.run(self)
            else:
                self.work()
        self.app.finish()
        self.outputs.result(self.app.name, self.app.table(), self.engine.now)
        self.outputs.flush()
        self._report()

    def work(self) -> None:
        """All packets of all sources, then the end of all flows."""
        for index in range(max(1, len(self.plan.read))):
            if index:
                self._passed += self.source.progress()[1]
                self.go_to_source(index)
            self._drain()
            if self.interrupted or self.engine.stopped:
                break
        self.session.run(self.engine.finish)

    def go_to_source(self, index: int) -> None:
        """Opens a capture, from its start, in place of the one that is open."""
        self.source.close()
        self.source = self._open_source(index)

    def _drain(self) -> None:
        """Runs the source to its end, or until somebody wants to stop."""
        engine, source, session = self.engine, self.source, self.session
        packets, began = FIRST_SLICE, monotonic()
        with self.progress() as tell:
            while session.run(lambda: engine.run(source, packets)):  # noqa: B023
                tell()
                self.flush()
                packets, began = _next_slice(packets, monotonic() - began), monotonic()
                if self._wanted:
                    self._attend()
                if self.interrupted:
                    break
        if self._wanted:
            self._attend()
        if (warning := source.warning()) and not (self.crew and self.crew.number > 0):
            self.outputs.say(warning)  # all workers meet it, the first one tells

    def flush(self) -> None:
        """Whoever reads what is written need not wait for a buffer to fill."""
        self.outputs.flush()
        if self.writer is not None:
            self.writer.flush()

    def _report(self) -> None:
        session = self.session
        if session.failures:
            self.outputs.say(
                f"{self.app.name}: {session.failures} failures were passed over, the first: "
                f"{describe(session.first_failure)}",
                always=True,
            )
        stats = self.engine.stats()
        for told in (limits_reached(stats), not_decoded(stats, self.source.linktype)):
            if told:
                self.outputs.say(f"{self.app.name}: {told}")
        if self.plan.verbose:
            self.outputs.say(self.status())
        elif self.outputs.of("table") and sys.stderr.isatty():
            self.outputs.say(self._summary())

    def _summary(self) -> str:
        """For who watches: something was done, even if there is nothing to show."""
        stats = self.engine.stats()
        counts = {"packet": stats["frames"], "flow": stats["flows"], "alert": self.app.alerts}
        shown = (f"{n} {what}{'' if n == 1 else 's'}" for what, n in counts.items())
        return f"{self.app.name}: {', '.join(shown)}"

    def status(self) -> str:
        """One line about the run so far."""
        stats = self.engine.stats()
        shown = ("frames", "kept", "dropped", "flows", "flows_active", "orphans", "kernel_dropped")
        counts: dict[str, Any] = {name: stats[name] for name in shown if name in stats}
        counts["anomalies"] = sum(stats["anomalies"].values())
        counts["alerts"] = self.app.alerts
        counts |= self.app.counters
        who = f"{self.app.name}, worker {self.crew.number}" if self.crew and self.is_worker else ""
        return f"{who or self.app.name}: " + " ".join(f"{k}={v}" for k, v in counts.items())

    # -- signals

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Takes the signals while the run lasts, if the plan says so."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
        wanted = numbers if self.plan.signals else ()
        before = {number: signal.signal(number, self._on_signal) for number in wanted}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: object) -> None:
        if number in (signal.SIGINT, signal.SIGTERM):
            if self.interrupted and not self.is_worker:  # the second one means it
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            self.interrupted = True
            self.engine.stop()
        else:
            self._wanted.append(number)

    def take_signals(self) -> list[int]:
        """The signals that nobody has looked at yet."""
        taken, self._wanted = self._wanted, []
        return taken

    def _attend(self) -> None:
        """Does what signals asked for, between two slices."""
        for number in self.take_signals():
            if number == signal.SIGUSR1:
                self.outputs.say(self.status(), always=True)
            elif number == signal.SIGHUP:
                self._reload()

    def _reload(self) -> None:
        try:
            self.app.reload()
        except Exception as error:
            self.outputs.say(f"not reloaded, going on as before: {describe(error)}", always=True)
        if not self.is_worker:  # files are the parent's
            self.outputs.reopen()

    # -- the bar

    @contextmanager
    def progress(self) -> Iterator[Callable[[], None]]:
        """A bar on the terminal while a long capture is read; what moves it on."""
        crew = self.crew
        if crew is not None and crew.is_worker:  # the bar is the parent's
            yield lambda: crew.tell_progress(self._passed + min(self.source.progress()))
            return
        name, (_, total) = Path(self.source.name).name, self.source.progress()
        if crew is not None:  # one bar for all captures
            total = sum(map(file_size, self.plan.read))
            name += f" and {len(self.plan.read) - 1} more" if len(self.plan.read) > 1 else ""
        if total < BIG or self.plan.quiet or not sys.stderr.isatty():
            yield lambda: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

        columns = ("{task.description}", BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(name, total=total)
            yield lambda: progress.update(
                task, completed=crew.progress if crew else self.source.progress()[0]
            )


def _hears(app: App, event: str) -> bool:
    """Whether a method of the app listens to a built-in event, or to one of its own made of it."""
    for wanted in app._subscriptions.values():
        while not isinstance(wanted, str):
            wanted = wanted.parent
        if wanted == event:
            return True
    return False


def _next_slice(packets: int, took: float) -> int:
    """How many packets to run next, so that signals are answered whatever the app does."""
    if took < SLICE_TIME / 2:
        return min(packets * 2, LAST_SLICE)
    return max(packets // 2, 1) if took > SLICE_TIME else packets


def limits_reached(stats: dict[str, Any]) -> str:
    """What made room because a limit was reached, as a sentence, or nothing."""
    counts = {**stats["anomalies"], "memory_refused": stats["memory_refused"]}
    told = [f"{counts[k]} {what} ({k})" for k, what in LIMITS.items() if counts.get(k)]
    return f"limits were reached: {', '.join(told)}; see --max-memory" if told else ""


def not_decoded(stats: dict[str, Any], linktype: int) -> str:
    """That nothing could be looked into, as a sentence, if so."""
    frames, unknown = stats["frames"], stats["anomalies"].get("link_unknown", 0)
    if frames == 0 or unknown < frames:
        return ""
    return f"no packet was looked into: what they begin with is not decoded (link type {linktype})"


def describe(error: BaseException | None) -> str:
    """An exception as one line, with what it happened in."""
    if error is None:
        return ""
    notes = "; ".join(getattr(error, "__notes__", []))
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{text} ({notes})" if notes else text


# ---- from Python


def run(
    app: type[AnyApp],
    read: str | os.PathLike[str] | list[str] | None = None,
    *,
    interface: str | None = None,
    write: str | None = None,
    output: str | list[str] | None = None,
    bpf: str = "",
    settings: dict[str, Any] | None = None,
    on_error: str = "stop",
    workers: int = 1,
    **options: Any,
) -> AnyApp:
    """Runs an app class on a capture and returns the finished app.

    Without `output`, its alerts and records are in `app.records`. `settings` are
    keys of the configuration file, {"timeouts.udp": "30s"}. Several `workers`
    are processes that share the flows of a capture. Other keyword arguments are
    the app's own options.
    """
    made = app(**options)
    sources = [] if read is None else list(read) if isinstance(read, list) else [os.fspath(read)]
    outputs = [output] if isinstance(output, str) else list(output or [])
    plan = Plan(
        read=sources,
        interface=interface,
        write=write,
        output=outputs,
        bpf=bpf,
        core=core_settings(settings or {}),
        on_error=on_error,
        collect=not outputs,
        workers=workers,
    )
    with Run(made, plan) as running:
        running.open()
        running.go()
    return made


def core_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Keys of the configuration file as what Engine() takes."""
    from mosbox.hints import did_you_mean

    keys = core_keys()
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if take_hosts(key, value, found):
            continue
        if key not in keys:
            raise ValueError(f"no setting {key!r}{did_you_mean(key, keys)}")
        name, read = keys[key]
        try:
            found[name] = read(value)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    return found


def flows(read: str | os.PathLike[str], bpf: str = "", **settings: Any) -> Iterator[FlowRecord]:
    """The flows of a capture, each when it is over: `for flow in mosbox.flows("x.pcap")`.

    What is given are copies, which can be kept. A capture that is cut off is a warning.
    """
    ended: list[FlowRecord] = []
    with ExitStack() as stack:
        source = Source.file(os.fspath(read))
        stack.callback(source.close)
        engine = Engine(**core_settings({k.replace("__", "."): v for k, v in settings.items()}))
        session = Session(engine, "flows")
        stack.callback(session.close)
        stack.callback(engine.close)
        if bpf:
            source.filter(bpf)
        kind = EVENTS["flow_end"]
        session.on(kind.id, kind, lambda flow: ended.append(flow.copy()), label="flows()")
        more = True
        while more:
            more = session.run(lambda: engine.run(source, LAST_SLICE))
            if not more:
                session.run(engine.finish)
            yield from ended
            ended.clear()
        if warning := source.warning():
            warnings.warn(warning, stacklevel=2)
