# SPDX-License-Identifier: BSD-3-Clause
"""app -- what a subcommand is made of.

    class PortWatch(App):
        \"\"\"Report clients that try many server ports.\"\"\"

        limit: int = option(100, help="ports before a client is reported")

        def start(self) -> None:
            self.ports = defaultdict(set)

        def on_flow_start(self, flow: Flow) -> None:
            seen = self.ports[flow.client.ip]
            seen.add(flow.server.port)
            if len(seen) == self.limit:
                self.alert("port scan", flow, ports=len(seen))

A method named on_<event> is a subscription, a typed attribute is an option, the
docstring is the help. All of it is checked when the class is made.
"""

from __future__ import annotations

import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from copy import copy
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, get_type_hints

from mosbox.events import EVENTS, EventKind, Flow, Packet
from mosbox.hints import did_you_mean
from mosbox.options import COMMON, Option

if TYPE_CHECKING:
    from mosbox.engine import Engine
    from mosbox.outputs import Outputs
    from mosbox.registry import Registry
    from mosbox.runner import Run

__all__ = ["App", "Command", "event", "hook"]

Method = TypeVar("Method", bound=Callable[..., Any])
Row = dict[str, Any]


class event:  # noqa: N801  reads as a verb: big = event("flow_end", where=...)
    """A user-defined event: another one happened, and a filter says yes.

        big = event("flow_end", where="bytes > 1000000")

        def on_big(self, flow): ...

    `parent` is the name of a built-in event or another event of the class, so
    they nest. The filter is one of `where`, an expression compiled in C (see
    mosbox-filter(7)); `bpf`, a packet filter; `when`, a Python function that
    is given what the method is given. Without one, `self.raise_event()`
    raises it. However many methods listen, a filter runs once.
    """

    def __init__(
        self,
        parent: str | event,
        *,
        where: str | None = None,
        bpf: str | None = None,
        when: Callable[..., object] | None = None,
    ) -> None:
        if sum(part is not None for part in (where, bpf, when)) > 1:
            raise TypeError("an event has one filter: where, bpf or when")
        self.parent = parent
        self.where = where
        self.bpf = bpf
        self.when = when
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @property
    def kind(self) -> EventKind:
        """The built-in event under it."""
        return self.parent.kind if isinstance(self.parent, event) else EVENTS[self.parent]


def hook(where: str) -> Callable[[Method], Method]:
    """Where in a packet's life a method is called: after the sender's side of the flow
    was updated, `@hook("snd")`, or after the receiver's, `@hook("rcv")`."""
    if where not in ("snd", "rcv"):
        raise ValueError('@hook is "snd" or "rcv"')

    def mark(method: Method) -> Method:
        method.hook = where  # type: ignore[attr-defined]
        return method

    return mark


class Command:
    """A subcommand with options: those that read packets are App, the others override main()."""

    name: ClassVar[str] = ""
    """What it is called on the command line; set from the name of its file."""

    table_columns: ClassVar[tuple[str, ...]] = ()
    """Which columns a table on the terminal has; all, if none is named."""

    common: ClassVar[tuple[str, ...]] = ()
    """Options of apps that a command has too, as attributes: "workers"."""

    _options: ClassVar[dict[str, Option]] = {}
    _outputs: Outputs | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = cls.__name__.lower()
        own = {n: v for n, v in vars(cls).items() if isinstance(v, Option)}
        for name, declared in own.items():
            _check_option(cls, name)
            declared.name = name
        cls._options = {**cls._options, **own}

    @classmethod
    def options(cls) -> dict[str, Option]:
        """The options by name, their types filled in."""
        found = {}
        for name, declared in cls._options.items():
            found[name] = copy(declared)
            found[name].type = _annotation(cls, name)
        return found

    def __init__(self, **options: Any) -> None:
        known = type(self).options()
        for name in options:
            if name not in known:
                raise ValueError(f"{self.name} has no option {name!r}{did_you_mean(name, known)}")
        for name, declared in known.items():
            if name in options:
                value = declared.value(options[name])
            elif declared.required:
                raise ValueError(f"{self.name} needs the option {name!r}: {declared.help}")
            else:
                value = copy(declared.default)
            setattr(self, name, value)

    registry: Registry
    """All apps there are, for commands about them; set before main()."""

    def main(self) -> list[Row] | None:
        """The work of a command that reads no packets; its result as rows of a table."""
        raise NotImplementedError

    @property
    def outputs(self) -> Outputs:
        """Where records go."""
        if self._outputs is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._outputs

    def emit(self, event_type: str, about: Flow | Packet | None = None, **fields: Any) -> None:
        """Writes a record to the outputs, with the addresses of a flow or packet if given."""
        self.outputs.record(self.name, event_type, self._time_ns(), about, fields)

    def log(self, message: str, **fields: Any) -> None:
        """Says something to the user, on standard error."""
        self.outputs.say(
            " ".join([f"{self.name}: {message}", *(f"{k}={v}" for k, v in fields.items())])
        )

    def _time_ns(self) -> int:
        return 0


class App(Command):
    """A middlebox: a class whose on_<event> methods are called while packets run through.

    Methods to override, all of them optional: start(), on_<event>(), table(),
    finish(), reload(), setting(). The docstring of the class is its help and
    its manual page.
    """

    scope: ClassVar[str] = ""
    """BPF filter: flows whose first packet does not match do not exist for the app."""

    history: ClassVar[int | None] = None
    """Bytes of each stream that stay readable for flow.peek() and flow.stream().

    None: 65,536 for an app with on_retransmit(), which is told by them whether
    what is sent again differs, else 0.
    """

    flow_records: ClassVar[bool] = False
    """Whether the records of all flows go to json, eve and csv outputs. zeek: always."""

    _subscriptions: ClassVar[dict[str, str | event]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        defined = {n: v for n in dir(cls) if isinstance(v := getattr(cls, n), event)}
        for declared in defined.values():
            _check_parent(cls, declared)
        found = dict(cls._subscriptions)
        for name in vars(cls):
            if name.startswith("on_"):
                found[name] = _subscription(cls, name, defined)
        cls._subscriptions = found

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.counters: Counter[str] = Counter()
        self.alerts = 0

    # -- to override

    def start(self) -> None:
        """Before the first packet. A ValueError here means bad options, files or rules."""

    def finish(self) -> None:
        """After the last flow_end."""

    def table(self) -> list[Row]:
        """The result as rows, for `-o table` at the end and `-o csv`."""
        return []

    def reload(self) -> None:
        """On SIGHUP. If it raises, that is said and the run goes on as before."""

    def setting(self, key: str, value: str) -> bool:
        """Takes a `--set KEY=VALUE` that is none of mosbox's own keys; whether it did."""
        return False

    def settings(self) -> dict[str, Any]:
        """What the app wants of the core where the user says nothing: keys of the
        configuration file and their values, {"midstream": False}."""
        return {}

    def merge(self, other: Self) -> None:
        """Adds the results of another worker's copy of the app to this one's.

        An app that has this method can be run by several workers (--workers):
        each has start()'s app and a share of the flows, and when all are done
        their results are merged into one app that has seen no flow, whose
        table() and finish() are called. Alerts, records, counters and tallies
        are merged already. `other` has the attributes that can be pickled.
        """
        raise NotImplementedError

    def writes(self) -> list[str]:
        """The files that the app writes by itself: nothing else may be written there."""
        return []

    # -- to call

    def alert(self, message: str, about: Flow | Packet | None = None, **fields: Any) -> None:
        """Writes an alert to the outputs, with the addresses of a flow or packet if given."""
        self.alerts += 1
        self.outputs.alert(self.name, message, self._time_ns(), about, fields)

    def count(self, name: str, n: int = 1) -> None:
        """Adds to a counter, which `-v` and SIGUSR1 show."""
        self.counters[name] += n

    def every(self, seconds: float, call: Callable[[], object]) -> int:
        """Calls again and again, in packet time, from the first packet on: the timer's number."""
        return self._run.every(seconds, call)

    def after(self, seconds: float, call: Callable[[], object]) -> int:
        """Calls once, so many seconds of packet time later: the timer's number."""
        return self._run.after(seconds, call)

    def cancel(self, timer: int) -> None:
        """Ends a timer of every(), after() or flow.after(), in its own call too; one that has
        run out already is fine."""
        self._run.session.cancel(timer)

    def raise_event(self, name: str) -> None:
        """Raises an event of the class for the flow of the event being handled."""
        self._run.raise_event(name)

    def show(self, rows: Iterable[Row] | None = None) -> None:
        """Writes a table now, that of table() if none is given, where `-o table` goes."""
        self.outputs.table(self.table() if rows is None else list(rows))

    def stop(self) -> None:
        """Ends the run after this packet, as if it were the last."""
        self._run.stop()

    @property
    def workers(self) -> int:
        """How many processes share the flows of this run."""
        return self._run.plan.workers

    @property
    def now(self) -> float:
        """The packet clock, seconds since 1970; 0 before the first packet."""
        return self.engine.now / 1e9

    @property
    def engine(self) -> Engine:
        """The engine of the run, for calls of the C interface: `self.engine.c`."""
        return self._run.engine

    @property
    def records(self) -> list[Row]:
        """After mosbox.run() without an output: the alerts and records of the run."""
        return self.outputs.records or []

    @property
    def _run(self) -> Run:
        if self._runner is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._runner

    _runner: Run | None = None

    def _time_ns(self) -> int:
        return self.engine.now


# ---- checks when a class is made


def _annotation(cls: type, name: str) -> Any:
    """The type that an attribute is annotated with."""
    for base in cls.__mro__:
        written = inspect.get_annotations(base)
        if name in written:
            names = vars(sys.modules[base.__module__])
            holder = SimpleNamespace(__annotations__={name: written[name]})
            return get_type_hints(holder, names)[name]
    shape = f"`{name}: int = option(...)`"
    raise TypeError(f"{cls.__name__}.{name}: an option needs a type: {shape}")


def _check_option(cls: type, name: str) -> None:
    if name in {o.name for o in COMMON}:
        raise TypeError(f"{cls.__name__}.{name}: every app has an option of this name")
    if any(hasattr(base, name) for base in cls.__mro__[1:] if base in (App, Command)):
        raise TypeError(f"{cls.__name__}.{name}: the name is taken by a method of App")


def _check_parent(cls: type, declared: event) -> None:
    if isinstance(declared.parent, str) and declared.parent not in EVENTS:
        mine = getattr(cls, declared.parent, None)
        if isinstance(mine, event) and mine is not declared:
            declared.parent = mine
            return
        hint = did_you_mean(declared.parent, EVENTS)
        raise TypeError(f"{cls.__name__}.{declared.name}: no event {declared.parent!r}{hint}")


def _subscription(cls: type, method: str, defined: dict[str, event]) -> str | event:
    """What an on_ method listens to, or TypeError if it cannot be."""
    name = method.removeprefix("on_")
    known: str | event
    if name in defined:
        known, kind = defined[name], defined[name].kind
    elif name in EVENTS:
        known, kind = name, EVENTS[name]
    else:
        hint = did_you_mean(method, [f"on_{e}" for e in [*EVENTS, *defined]])
        raise TypeError(f"{cls.__name__}.{method}: no event of this name{hint}")
    wanted = kind.arguments
    try:
        inspect.signature(getattr(cls, method)).bind(None, *wanted)
    except TypeError:
        shape = ", ".join(("self", *wanted))
        raise TypeError(f"{cls.__name__}.{method} has to take ({shape})") from None
    return known
