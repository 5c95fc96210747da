# SPDX-License-Identifier: BSD-3-Clause
"""workers -- one run by several processes, each with a share of the flows.

    parent          open all --+-- fork --> merge what they write --> add up --> finish
    worker 0                   +----------> its flows, to the end --^
    worker 1                   +----------> its flows, to the end --^

The workers are copies of a run that is ready to go, so rules are read once and
a mistake is told once. What they write goes through memory that the core shares
(core/io/lane.h) to the parent, in the order in which one worker would have
written it. What they counted, and the app's own results, come through a pipe
when they are done.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import pickle
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from select import select
from time import monotonic
from typing import TYPE_CHECKING, Any

from mosbox._core import ffi, lib
from mosbox.engine import STDIO, MosboxError, Source, check, error_buffer, file_size

if TYPE_CHECKING:
    from mosbox.app import App
    from mosbox.runner import Run

__all__ = ["Crew", "parse_workers"]

MOST: int = lib.MB_WORKERS_MAX
TURN = 50  # ms that the parent waits before it looks at signals
PIECE = 1 << 20  # bytes of a report read at once, and held by its pipe

Where = tuple[int, int, int]  # place in the run: frame, step, flow


def parse_workers(text: object) -> int:
    """A number of workers; "auto" or 0 is as many as there are processors to run on."""
    if str(text) in ("auto", "0"):
        return min(MOST, len(os.sched_getaffinity(0)))
    try:
        count = int(str(text))
    except ValueError:
        count = 0
    if not 1 <= count <= MOST:
        raise ValueError(f"workers: {text!r} is neither auto nor a number up to {MOST}")
    return count


@dataclass
class Report:
    """What a worker hands to its parent when it is done."""

    result: bytes = b""  # of the engine
    app: dict[str, bytes] = field(default_factory=dict)  # attributes, each pickled
    alerts: int = 0
    counters: dict[str, int] = field(default_factory=dict)
    records: list[tuple[Where, dict[str, Any]]] = field(default_factory=list)
    stopped: bool = False  # before the end of the captures
    failures: int = 0
    first_failure: tuple[Where, BaseException] | None = None
    error: tuple[Where, BaseException] | None = None  # that ended the run


class Worker:
    """A child process, as its parent sees it."""

    def __init__(self, number: int, pid: int, pipe: int) -> None:
        self.number = number
        self.pid = pid
        self.pipe = pipe
        self.bytes = bytearray()
        self.report: Report | None = None
        self.ended = False
        self.code: int | None = None  # when it was waited for

    def read(self) -> None:
        """Takes what has come of its report, without waiting."""
        while not self.ended and select([self.pipe], [], [], 0)[0]:
            piece = os.read(self.pipe, PIECE)
            self.bytes += piece
            self.ended = not piece
        if self.ended and self.bytes and self.report is None:
            self.report = pickle.loads(self.bytes)

    @property
    def died(self) -> bool:
        """Whether it ended without a word."""
        return self.ended and self.report is None

    def left(self, crew: Crew) -> bool:
        """Whether it has done its work, well or not."""
        return bool(lib.mb_workers_left(crew.c, self.number))

    def signal(self, number: int) -> None:
        if not self.ended:
            os.kill(self.pid, number)

    def wait(self) -> str:
        """Waits for its end; how it ended."""
        if self.code is None:
            _, status = os.waitpid(self.pid, 0)
            os.close(self.pipe)
            self.code = os.waitstatus_to_exitcode(status)
        if self.code < 0:
            return f"worker {self.number} was killed by {signal.Signals(-self.code).name}"
        return f"worker {self.number} ended with code {self.code}"


class Crew:
    """The workers of one run, from before the fork to the sum of their results."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.number = -1  # in a worker: which one it is
        self.apart = False  # each worker reads the capture for itself
        self._workers: list[Worker] = []
        self._read = memoryview(mmap.mmap(-1, 8 * count)).cast("Q")  # bytes, by worker; shared
        with error_buffer(lib.MB_EINVAL) as (err, made):
            self.c = made(lib.mb_workers_new(count, err))

    def source(self, path: str) -> Source:
        """A capture that is read once for all workers, or by each of them."""
        with error_buffer(lib.MB_EFORMAT) as (err, made):
            return Source(made(lib.mb_workers_source(self.c, os.fsencode(path), err)), path)

    @property
    def is_worker(self) -> bool:
        return self.number >= 0

    def close(self) -> None:
        c, self.c = self.c, ffi.NULL
        lib.mb_workers_free(c)

    # -- the parent

    def run(self, run: Run) -> None:
        """All packets by all workers; then the run's app and engine have the sums."""
        for sink in run.outputs.sinks:
            check(lib.mb_workers_output(self.c, sink.output.c))
        if run.writer is not None:
            check(lib.mb_workers_writer(self.c, run.writer.c))
        check(lib.mb_workers_rules(self.c, run.engine.c))
        self.apart = self._can_read_apart(run) and lib.mb_workers_apart(self.c, run.engine.c)
        if self.apart:
            run.go_to_source(0)
        run.flush()  # what waits in buffers is the parent's to write
        sys.stdout.flush()
        try:
            for number in range(self.count):
                self._workers.append(self._fork(run, number))
            self._gather(run)
            self._take_reports()
            self._add_up(run)  # while the workers give back their memory
        finally:
            self._signal(signal.SIGKILL)  # to those that are not done, for whatever reason
            for worker in self._workers:
                worker.wait()

    def _can_read_apart(self, run: Run) -> bool:
        """Whether each worker can read for itself. That needs one file: what it is and where it
        ends has to be known before the fork, so that it is the same for all."""
        files = run.plan.read
        return len(files) == 1 and files[0] != STDIO and file_size(files[0]) > 0

    def _fork(self, run: Run, number: int) -> Worker:
        reading, writing = os.pipe()
        with suppress(OSError):  # a report that fits lets its worker end before it is read
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIECE)
        try:
            pid = os.fork()
        except OSError:
            os.close(reading)
            os.close(writing)
            raise
        if pid == 0:
            os.close(reading)
            self._work(run, number, writing)
        os.close(writing)
        return Worker(number, pid, reading)

    def _gather(self, run: Run) -> None:
        """Writes what the workers write, until all of them are done or one of them failed."""
        flushed = monotonic()
        stopping = False
        with run.progress() as tell:
            while check(lib.mb_workers_merge(self.c, TURN)):
                now = monotonic()
                if now - flushed < TURN / 1000:
                    continue
                flushed = now
                tell()
                run.flush()
                self._pass_on(run)
                if run.interrupted and not stopping:  # they end their flows and leave
                    stopping = True
                    self._signal(signal.SIGTERM)
                if lib.mb_workers_failed(self.c) or self._somebody_died():
                    check(lib.mb_workers_merge(self.c, 0))
                    break

    @property
    def progress(self) -> int:
        """Bytes of the captures that all workers have read."""
        return min(self._read)

    def _somebody_died(self) -> bool:
        for worker in self._workers:
            worker.read()
        return any(worker.died for worker in self._workers)

    def _take_reports(self) -> None:
        """Waits for all reports, or for those of the workers that failed."""
        while not self._somebody_died():
            failed = lib.mb_workers_failed(self.c)
            waited = [
                worker.pipe
                for worker in self._workers
                if not worker.ended and not (failed and not worker.left(self))
            ]
            if not waited:
                return
            select(waited, [], [], TURN / 1000)

    def _pass_on(self, run: Run) -> None:
        """Signals that are the workers' to answer; files are the parent's to open anew."""
        for number in run.take_signals():
            self._signal(number)
            if number == signal.SIGHUP:
                run.outputs.reopen()

    def _signal(self, number: int) -> None:
        for worker in self._workers:
            worker.signal(number)

    def _add_up(self, run: Run) -> None:
        died = [worker.wait() for worker in self._workers if worker.died]
        reports = [worker.report for worker in self._workers if worker.report is not None]
        errors = sorted((r.error for r in reports if r.error is not None), key=lambda e: e[0])
        limited = False
        lib.mb_workers_count(self.c, run.engine.c)
        for report in reports:
            limited |= self._add(run, report)
        if errors:
            raise errors[0][1]
        if died:
            raise ChildProcessError("; ".join(died))
        frames: int = run.engine.stats()["frames"]
        stopped = any(report.stopped for report in reports)
        if self.apart and not stopped and lib.mb_workers_frames(self.c) < frames:
            raise MosboxError(lib.MB_ESTATE, f"{run.source.name} changed while it was read")
        records = sorted((pair for report in reports for pair in report.records), key=_where)
        if run.outputs.records is not None:
            run.outputs.records += [record for _, record in records]
        if limited:
            raise MosboxError(
                lib.MB_ELIMIT,
                "a limit of flows, memory or groups was reached: what was let go then depends on "
                "the number of workers. Raise limits.flows or limits.memory, or use one worker",
            )

    def _add(self, run: Run, report: Report) -> bool:
        """Adds what one worker found; whether it met a limit that all flows share."""
        if report.error is not None:
            return False
        app, session = run.app, run.session
        limited = check(lib.mb_engine_add(run.engine.c, report.result, len(report.result))) > 0
        app.alerts += report.alerts
        app.counters.update(report.counters)
        session.failures += report.failures
        if report.first_failure is not None:
            self.failed_first = min(
                filter(None, [self.failed_first, report.first_failure]), key=_where
            )
            session.first_failure = self.failed_first[1]
        app.merge(_restored(app, report.app))
        return limited

    failed_first: tuple[Where, BaseException] | None = None

    # -- a worker

    def tell_progress(self, read: int) -> None:
        """Lets the parent know how many bytes of the capture this worker has read."""
        self._read[self.number] = read

    def _work(self, run: Run, number: int, pipe: int) -> None:
        """The whole life of a worker."""
        code = 1
        try:
            self.number = number
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to answer
            lib.mb_workers_join(self.c, number, run.engine.c)
            report = self._report(run)
            lib.mb_workers_leave(self.c, run.engine.c, report.error is not None)
            with os.fdopen(pipe, "wb") as file:
                pickle.dump(report, file, pickle.HIGHEST_PROTOCOL)
            code = 0
        finally:
            os._exit(code)

    def _report(self, run: Run) -> Report:
        report = Report()
        app, session = run.app, run.session
        if run.outputs.records is not None:
            run.outputs.collect_at(lambda record: report.records.append((_place(run), record)))
        alerts, counters = app.alerts, app.counters.copy()
        try:
            run.work()
        except BaseException as error:
            report.error = _place(run), _portable(error)
            return report
        report.stopped = run.interrupted or run.engine.stopped
        report.result = _result(run)
        report.app = _pickled(app)
        report.alerts = app.alerts - alerts
        report.counters = {n: v - counters[n] for n, v in app.counters.items()}
        report.failures = session.failures
        if session.first_failure is not None:
            report.first_failure = session.first_place, _portable(session.first_failure)
        return report


def _where(pair: tuple[Where, Any]) -> Where:
    return pair[0]


def _place(run: Run) -> Where:
    return run.engine.where()


def _result(run: Run) -> bytes:
    size = lib.mb_engine_result(run.engine.c, ffi.NULL, 0)
    buffer = ffi.new("char[]", size)
    lib.mb_engine_result(run.engine.c, buffer, size)
    return bytes(ffi.buffer(buffer, size))


def _portable(error: BaseException) -> BaseException:
    """The error, or what it says if it cannot go through a pipe."""
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:
        copy = None
    if isinstance(copy, BaseException):
        return copy
    return RuntimeError(f"{type(error).__name__}: {error}")


def _pickled(app: App) -> dict[str, bytes]:
    """The app's attributes that can be pickled: those of the core's objects cannot."""
    found = {}
    for name, value in vars(app).items():
        if not name.startswith("_"):
            try:
                found[name] = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
            except Exception:
                continue  # whoever misses it in merge() is told by Python
    return found


def _restored(app: App, pickled: dict[str, bytes]) -> App:
    """A worker's app, as far as it could be pickled."""
    other = object.__new__(type(app))
    vars(other).update({name: pickle.loads(value) for name, value in pickled.items()})
    return other
