# SPDX-License-Identifier: BSD-3-Clause
"""dispatch -- from an event of the core to a Python function, in a third of a microsecond.

      struct mb_event --> mb_py_event --> a closure made for one registration
                                            |  points a view at the C memory
                                            |  calls the function of the app
                                            |  was the view kept?  yes: it is told of its end
                                            +------------------->  no: it serves again

Making an object for every event would cost as much as the call itself, so a
view nobody kept is pointed at the next event. Whether somebody did is told by
its reference count. A flow's view that was kept is the flow's from then on,
until the core gives its user pointer back; a record's is cut off at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from sys import getrefcount
from typing import TYPE_CHECKING, Any

from mosbox._core import ffi, lib
from mosbox.engine import NS, MosboxError, check, error_buffer
from mosbox.events import EVENTS, GONE_FLOW, GONE_RECORD, EventKind, Flow, Record

if TYPE_CHECKING:
    from mosbox.engine import Engine

__all__ = ["HOOKS", "Session"]

HOOKS = {"": lib.MB_HOOK_NONE, "snd": lib.MB_HOOK_SND, "rcv": lib.MB_HOOK_RCV}

_from_handle = ffi.from_handle
_NULL = ffi.NULL


def _unshared() -> int:
    """What getrefcount() says of an object that only a local variable holds, on this Python."""
    spare: list[object] = [object()]
    view = spare.pop() if spare else object()
    (lambda _: None)(view)
    return getrefcount(view)


_UNSHARED = _unshared()

# The sessions whose engine is in a call, innermost last: who hears of a failure.
_running: list[Session] = []


def _failed(kind: Any, error: BaseException, traceback: Any) -> int:
    """cffi's way to tell that a function called from C raised."""
    session = _running[-1]
    names = traceback.tb_frame.f_locals
    return session.failed(error, names.get("ev"), names.get("arg"))


@ffi.def_extern(error=lib.MB_ECALLBACK, onerror=_failed)  # type: ignore[untyped-decorator]
def mb_py_event(ev: Any, arg: Any) -> int:
    return _from_handle(arg)(ev)  # type: ignore[no-any-return]


@ffi.def_extern(error=lib.MB_ECALLBACK, onerror=_failed)  # type: ignore[untyped-decorator]
def mb_py_filter(ev: Any, arg: Any) -> int:
    return _from_handle(arg)(ev)  # type: ignore[no-any-return]


@ffi.def_extern()  # type: ignore[untyped-decorator]
def mb_py_free(user: Any) -> None:
    flow = _from_handle(user)
    flow._session.ended(flow)


class Session:
    """One listener on an engine: its registrations, the views it is given, its failures."""

    def __init__(self, engine: Engine, name: str, go_on: bool = False) -> None:
        self.engine = engine
        self.name = name
        self.monitor = engine.monitor(name)
        self.event: Any = None  # the struct mb_event being handled
        self.answer = 0  # what C is told by those that are no filter: 1 stops the run
        self.failure: BaseException | None = None
        self.go_on = go_on  # a function that raised is counted, and the run goes on
        self.failures = 0
        self.first_failure: BaseException | None = None
        self.first_place = (0, 0, 0)  # where in the run it was
        self.kept: dict[int, Flow] = {}
        self._spare: list[Flow] = []
        self._lent: list[memoryview] = []
        self._handles: dict[Any, Any] = {}  # keeps what C points to alive
        lib.mb_monitor_user_free(self.monitor, lib.mb_py_free)

    # -- registration

    def on(
        self,
        event: int,
        kind: EventKind,
        call: Callable[..., object],
        hook: str = "",
        flow: Flow | None = None,
        label: str = "",
    ) -> Any:
        """Calls `call` with the arguments of `kind` whenever `event` is raised."""
        c = flow._alive() if flow is not None else _NULL
        handle = self.handle(self.delivery(kind, call), label)
        code = lib.mb_on(self.monitor, c, event, HOOKS[hook], lib.mb_py_event, handle)
        self.engine.check(code)
        return handle

    def define(
        self,
        parent: int,
        kind: EventKind,
        where: str | None = None,
        bpf: str | None = None,
        when: Callable[..., object] | None = None,
        label: str = "",
    ) -> int:
        """The number of a user-defined event: `parent` happened and the filter said yes."""
        e = self.engine.c
        with error_buffer(lib.MB_ESYNTAX) as (err, made):
            if where is not None:
                return int(made(lib.mb_event_define_expr(e, parent, where.encode(), err)))
            if bpf is not None:
                return int(made(lib.mb_event_define_bpf(e, parent, bpf.encode(), err)))
        if when is not None:
            handle = self.handle(self.delivery(kind, when, is_filter=True), label)
            return check(lib.mb_event_define(e, parent, lib.mb_py_filter, handle, 0))
        return check(lib.mb_event_alloc(e, parent))

    def listen(self, flow: Flow, event: str, call: Callable[..., object]) -> None:
        """flow.on()"""
        kind = event_kind(event)
        self.keep(flow)
        handle = self.on(kind.id, kind, call, flow=flow, label=f"flow.on({event!r})")
        listeners = flow._listeners = flow._listeners or {}
        self._let_go(listeners.get(event))
        listeners[event] = handle

    def unlisten(self, flow: Flow, event: str) -> None:
        """flow.off()"""
        code = lib.mb_off(self.monitor, flow._alive(), event_kind(event).id, lib.MB_HOOK_NONE)
        if code != lib.MB_ENOENT:
            check(code)
        if flow._listeners:
            self._let_go(flow._listeners.pop(event, None))

    def timer(self, seconds: float, call: Callable[[], object], period: float = 0) -> int:
        """Calls once in so many seconds of packet time, and every `period` seconds after that."""

        def fire(ev: Any) -> int:
            call()
            return self.answer

        return self._add_timer(_NULL, seconds, period, self.handle(fire, "timer"))

    def flow_timer(self, flow: Flow, seconds: float, call: Callable[[Flow], object]) -> int:
        """flow.after()"""
        self.keep(flow)
        deliver = self._flow_only(call, is_filter=False)
        handle = self.handle(deliver, "flow.after()")
        listeners = flow._listeners = flow._listeners or {}
        number = self._add_timer(flow._c, seconds, 0, handle)
        listeners[f"timer {number}"] = handle
        return number

    def cancel(self, timer: int) -> None:
        """Cancels a timer; one that has run out already is fine."""
        code = lib.mb_timer_del(self.monitor, timer)
        if code != lib.MB_ENOENT:
            check(code)

    def _add_timer(self, c: Any, seconds: float, period: float, handle: Any) -> int:
        after, again = int(seconds * NS), int(period * NS)
        if after < 0 or again < 0:
            raise ValueError("a timer cannot run out before now")
        return check(lib.mb_timer_add(self.monitor, c, after, again, lib.mb_py_event, handle))

    def handle(self, call: Callable[[Any], int], label: str) -> Any:
        """A pointer for C that leads back to `call`, alive as long as the session."""
        handle = ffi.new_handle(call)
        self._handles[handle] = label
        return handle

    def _let_go(self, handle: Any) -> None:
        self._handles.pop(handle, None)

    # -- delivery

    def delivery(
        self, kind: EventKind, call: Callable[..., object], is_filter: bool = False
    ) -> Callable[[Any], int]:
        """The function that C calls for one registration; a filter's result is C's answer."""
        if kind.record is None:
            return self._flow_only(call, is_filter)
        if not kind.flow:
            return self._record_only(kind.record, call, is_filter)
        return self._flow_and_record(kind.record, call, is_filter)

    # The three closures below are the same but for what they hand over. They
    # are written out because a call more would be a fifth of the cost.

    def _flow_only(self, call: Callable[..., object], is_filter: bool) -> Callable[[Any], int]:
        session, kept, spare = self, self.kept, self._spare

        def deliver(ev: Any) -> int:
            c = ev.flow
            flow = kept.get(c.id) if kept else None
            if flow is None:
                flow = spare.pop() if spare else Flow(session)
                flow._c = c
            outer = session.event
            session.event = ev
            try:
                said = call(flow)
            except BaseException:
                session.after_failure(flow, None)
                raise
            finally:
                session.event = outer
            if flow._handle is None:
                if getrefcount(flow) > _UNSHARED:
                    session.keep(flow)
                else:
                    spare.append(flow)
            return 1 if is_filter and said else session.answer

        return deliver

    def _flow_and_record(
        self, view: type[Record], call: Callable[..., object], is_filter: bool
    ) -> Callable[[Any], int]:
        session, kept, spare, lent = self, self.kept, self._spare, self._lent
        find = view._find
        records: list[Record] = []

        def deliver(ev: Any) -> int:
            c = ev.flow
            flow = None
            if c:
                if kept:
                    flow = kept.get(c.id)
                if flow is None:
                    flow = spare.pop() if spare else Flow(session)
                    flow._c = c
            record = records.pop() if records else view(session)
            record._c = ev if find is None else find(ev)
            outer = session.event
            session.event = ev
            try:
                said = call(flow, record)
            except BaseException:
                session.after_failure(flow, record)
                raise
            finally:
                session.event = outer
            if lent:
                session.take_back()
            if getrefcount(record) > _UNSHARED:
                record._c = GONE_RECORD
            else:
                records.append(record)
            if flow is not None and flow._handle is None:
                if getrefcount(flow) > _UNSHARED:
                    session.keep(flow)
                else:
                    spare.append(flow)
            return 1 if is_filter and said else session.answer

        return deliver

    def _record_only(
        self, view: type[Record], call: Callable[..., object], is_filter: bool
    ) -> Callable[[Any], int]:
        session, lent = self, self._lent
        find = view._find
        records: list[Record] = []

        def deliver(ev: Any) -> int:
            record = records.pop() if records else view(session)
            record._c = ev if find is None else find(ev)
            outer = session.event
            session.event = ev
            try:
                said = call(record)
            except BaseException:
                session.after_failure(None, record)
                raise
            finally:
                session.event = outer
            if lent:
                session.take_back()
            if getrefcount(record) > _UNSHARED:
                record._c = GONE_RECORD
            else:
                records.append(record)
            return 1 if is_filter and said else session.answer

        return deliver

    # -- the life of views

    def keep(self, flow: Flow) -> None:
        """The view is the flow's own from now on: it will be told when the flow ends."""
        c = flow._alive()
        if flow._handle is not None:
            return
        handle = flow._handle = ffi.new_handle(flow)
        check(lib.mb_flow_set_user(c, self.monitor, handle))
        self.kept[c.id] = flow

    def ended(self, flow: Flow) -> None:
        """The core lets a kept flow go."""
        self.kept.pop(flow._c.id, None)
        flow._c = GONE_FLOW
        flow._data = None
        if flow._listeners:
            for handle in flow._listeners.values():
                self._let_go(handle)
            flow._listeners = None

    def lend(self, memory: Any) -> memoryview:
        """A view of memory of the core that ends with the event."""
        view = memoryview(memory)
        self._lent.append(view)
        return view

    def take_back(self) -> None:
        """Ends what was lent."""
        for view in self._lent:
            view.release()
        self._lent.clear()

    def after_failure(self, flow: Flow | None, record: Record | None) -> None:
        """A function raised: whoever looks at its traceback finds no dead views."""
        self.take_back()
        if record is not None:
            record._c = GONE_RECORD
        if flow is not None and flow._handle is None:
            self.keep(flow)

    def current_event(self, flow: Flow | None = None) -> Any:
        """The event being handled, which has to be one of `flow`: verdicts are about now."""
        if self.event is None or (flow is not None and self.event.flow != flow._alive()):
            raise MosboxError(lib.MB_ESTATE, "a verdict can be given in an event of the flow only")
        return self.event

    def stop(self) -> None:
        """Ends the run: after the event being handled, or else soon."""
        self.answer = 1
        self.engine.stop()

    # -- failures

    def failed(self, error: BaseException, ev: Any, arg: Any) -> int:
        """A function of the app raised; what C is told."""
        where = self._handles.get(arg) or "a callback"
        flow = f", {describe_flow(ev.flow)}" if ev is not None and ev.flow else ""
        error.add_note(f"in {where} of {self.name}{flow}")
        if self.go_on and isinstance(error, Exception):
            self.failures += 1
            if self.first_failure is None:
                self.first_failure, self.first_place = error, self.engine.where()
            return 0
        if self.failure is None:
            self.failure = error
        return int(lib.MB_ECALLBACK)

    def run(self, step: Callable[[], Any]) -> Any:
        """Runs a step of the engine; a failure in a callback comes out as it went in."""
        _running.append(self)
        try:
            result = step()
        except BaseException:
            if self.failure is None:
                raise
            result = None
        finally:
            _running.pop()
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        return result

    def close(self) -> None:
        """After the engine was freed: no view may reach into it any more."""
        for flow in [*self.kept.values(), *self._spare]:
            flow._c = GONE_FLOW
        self.kept.clear()
        self._spare.clear()
        self._handles.clear()


def event_kind(name: str) -> EventKind:
    """The built-in event of that name."""
    try:
        return EVENTS[name]
    except KeyError:
        from mosbox.hints import did_you_mean

        raise ValueError(f"no event {name!r}{did_you_mean(name, EVENTS)}") from None


def describe_flow(c: Any) -> str:
    """One line about a struct mb_flow, for messages."""
    flow = Flow.__new__(Flow)
    flow._c = c
    text = f"flow {flow.id} ({flow})"
    flow._c = GONE_FLOW
    return text


if sys.implementation.name != "cpython":  # pragma: no cover
    raise ImportError("mosbox needs CPython: it tells kept views by their reference count")
