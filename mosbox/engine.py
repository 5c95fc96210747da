# SPDX-License-Identifier: BSD-3-Clause
"""engine -- the C core as Python objects: one method a function, errors as exceptions.

Nothing here knows of apps. A negative code becomes an exception in one place,
`check()`: ValueError for what the caller got wrong, OSError for what the system
refused, MosboxError for the rest.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mosbox._core import ffi, lib

__all__ = ["Engine", "MosboxError", "Output", "Source", "Writer", "check"]

NS = 1_000_000_000  # nanoseconds in a second
STDIO = "-"


class MosboxError(Exception):
    """The core could not go on. `code` is its name, "MB_EFORMAT" say."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = ffi.string(lib.mb_error_name(code)).decode()
        self._number = code

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._number, str(self))


_ERRNO = {
    lib.MB_EIO: errno.EIO,
    lib.MB_EPIPE: errno.EPIPE,
    lib.MB_EPERM: errno.EPERM,
    lib.MB_ENOENT: errno.ENOENT,
}
_WRONG_ARGUMENT = {lib.MB_EINVAL, lib.MB_ESYNTAX}


def error_of(code: int, message: str = "") -> Exception:
    """The exception for a code of the core and its sentence."""
    message = message or ffi.string(lib.mb_error_text(code)).decode()
    if code in _WRONG_ARGUMENT:
        return ValueError(message)
    if code == lib.MB_ENOMEM:
        return MemoryError(message)
    if code in _ERRNO:
        return OSError(_ERRNO[code], message)
    return MosboxError(code, message)


def check(code: int, message: str = "") -> int:
    """Passes a count or 0 through, and raises what a negative code stands for."""
    if code < 0:
        raise error_of(code, message)
    return code


@contextmanager
def error_buffer(code: int) -> Iterator[tuple[Any, Callable[[Any], Any]]]:
    """An error buffer, and a check of the pointer or code that came with it."""
    buffer = ffi.new("char[]", lib.MB_ERRBUF_SIZE)

    def made(result: Any) -> Any:
        message = ffi.string(buffer).decode(errors="replace")
        if isinstance(result, int):
            return check(result, message)
        if result == ffi.NULL:
            raise error_of(code, message)
        return result

    yield buffer, made


def check_readable(path: str) -> None:
    """Raises the OSError that says why a file cannot be read, if so."""
    if path == STDIO:
        return
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    os.stat(path)
    if not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def file_size(path: str) -> int:
    """Bytes of a regular file; 0 of anything else, and where nobody knows."""
    try:
        found = os.stat(sys.stdin.fileno() if path == STDIO else path)
    except (OSError, ValueError):  # a standard input of Python's own has no number
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def check_writable(path: str) -> None:
    """Raises the OSError that says why a file cannot be written, if so."""
    if path == STDIO:
        return
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    folder = Path(path).parent
    if not folder.exists():
        raise FileNotFoundError(errno.ENOENT, "no such folder", str(folder))
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def version() -> str:
    return str(ffi.string(lib.mb_version()).decode())


class Source:
    """Where packets come from: a capture file, "-" (standard input), or an interface."""

    def __init__(self, c: Any, name: str) -> None:
        self.c = c
        self.name = name

    @classmethod
    def file(cls, path: str) -> Source:
        check_readable(path)
        with error_buffer(lib.MB_EFORMAT) as (err, made):
            return cls(made(lib.mb_source_file(os.fsencode(path), err)), path)

    @classmethod
    def live(cls, interface: str, snaplen: int = 0, promiscuous: bool = True) -> Source:
        with error_buffer(lib.MB_EIO) as (err, made):
            c = made(lib.mb_source_live(interface.encode(), snaplen, promiscuous, err))
            return cls(c, interface)

    def filter(self, bpf: str) -> None:
        with error_buffer(lib.MB_ESYNTAX) as (err, made):
            made(lib.mb_source_filter(self.c, bpf.encode(), err))

    @property
    def linktype(self) -> int:
        return int(lib.mb_source_linktype(self.c))

    @property
    def is_live(self) -> bool:
        return bool(lib.mb_source_is_live(self.c))

    def progress(self) -> tuple[int, int]:
        """Bytes read, and bytes in all or 0."""
        counts = ffi.new("uint64_t[2]")
        lib.mb_source_progress(self.c, counts, counts + 1)
        return counts[0], counts[1]

    def warning(self) -> str:
        return str(ffi.string(lib.mb_source_warning(self.c)).decode(errors="replace"))

    def close(self) -> None:
        c, self.c = self.c, ffi.NULL
        lib.mb_source_free(c)


class Writer:
    """A capture file that takes the packets kept."""

    def __init__(self, path: str, linktype: int) -> None:
        check_writable(path)
        self.path = path
        with error_buffer(lib.MB_EIO) as (err, made):
            self.c = made(lib.mb_writer_new(os.fsencode(path), linktype, err))

    def flush(self) -> None:
        check(lib.mb_writer_flush(self.c))

    def close(self) -> None:
        c, self.c = self.c, ffi.NULL
        if c != ffi.NULL:
            check(lib.mb_writer_free(c))


class Output:
    """A buffered text sink that Python and the core write to in turn."""

    def __init__(self, path: str, append: bool = False, line_buffered: bool = False) -> None:
        check_writable(path)
        self.path = path
        with error_buffer(lib.MB_EIO) as (err, made):
            self.c = made(lib.mb_output_new(os.fsencode(path), append, line_buffered, err))

    def write(self, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        check(lib.mb_output_write(self.c, data, len(data)))

    def flush(self) -> None:
        check(lib.mb_output_flush(self.c))

    def reopen(self) -> None:
        check(lib.mb_output_reopen(self.c))

    def close(self) -> None:
        c, self.c = self.c, ffi.NULL
        if c != ffi.NULL:
            check(lib.mb_output_free(c))


class Engine:
    """One run of the core: flows, streams, events. Close it when done."""

    def __init__(
        self,
        hosts: Iterable[tuple[str, int, int]] = (),
        hops: Iterable[tuple[str, int, int]] = (),
        **settings: int,
    ) -> None:
        """`settings` are fields of struct mb_config; the others keep their defaults. `hosts`:
        address, prefix length and overlap policy of who is written to; `hops`: the same with
        how many routers are between here and there."""
        config = ffi.new("struct mb_config *")
        lib.mb_config_init(config)
        for name, value in settings.items():
            setattr(config, name, value)
        with error_buffer(lib.MB_EINVAL) as (err, made):
            self.c = made(lib.mb_engine_new(config, err))
        for found, set_number in (
            (hosts, lib.mb_engine_set_overlap),
            (hops, lib.mb_engine_set_hops),
        ):
            for address, bits, number in found:
                c = ffi.new("struct mb_addr *")
                check(lib.mb_addr_parse(address.encode(), c))
                check(set_number(self.c, c, bits, number))

    def check(self, code: int) -> int:
        """As check(), with the engine's own sentence."""
        if code < 0:
            text = ffi.string(lib.mb_engine_errmsg(self.c)).decode(errors="replace")
            raise error_of(code, text)
        return code

    def run(self, source: Source, max_packets: int = 0) -> bool:
        """Runs a slice of the source; whether there is more."""
        return self.check(lib.mb_engine_run(self.c, source.c, max_packets)) > 0

    def finish(self) -> None:
        self.check(lib.mb_engine_finish(self.c))

    def stop(self) -> None:
        lib.mb_engine_stop(self.c)

    @property
    def stopped(self) -> bool:
        return bool(lib.mb_engine_stopped(self.c))

    @property
    def now(self) -> int:
        """The packet clock, ns since 1970; 0 before the first packet."""
        return int(lib.mb_engine_now(self.c))

    def where(self) -> tuple[int, int, int]:
        """Where in the run a worker's engine is: numbers that rise from event to event."""
        c = ffi.new("uint64_t[3]")
        lib.mb_engine_where(self.c, c)
        return c[0], c[1], c[2]

    def stats(self) -> dict[str, Any]:
        """The counters of struct mb_stats; those of a kind that are 0 left out."""
        c = ffi.new("struct mb_stats *")
        lib.mb_engine_stats(self.c, c)
        found: dict[str, Any] = {}
        for name, field in ffi.typeof("struct mb_stats").fields:
            value = getattr(c, name)
            found[name] = value if field.type.kind == "primitive" else list(value)
        found["flows_ended"] = _named(found["flows_ended"], lib.mb_end_reason_name)
        found["anomalies"] = _named(found["anomalies"], lib.mb_anomaly_name)
        return found

    def monitor(self, name: str) -> Any:
        with error_buffer(lib.MB_ELIMIT) as (err, made):
            return made(lib.mb_monitor_new(self.c, name.encode(), err))

    def set_writer(self, writer: Writer | None) -> None:
        lib.mb_engine_set_writer(self.c, writer.c if writer else ffi.NULL)

    def flow_log(self, format: int, output: Output) -> None:
        with error_buffer(lib.MB_EINVAL) as (err, made):
            made(lib.mb_flow_log(self.c, format, output.c, err))

    def close(self) -> None:
        c, self.c = self.c, ffi.NULL
        lib.mb_engine_free(c)


def _named(counts: list[int], name_of: Callable[[int], Any]) -> dict[str, int]:
    return {ffi.string(name_of(i)).decode(): n for i, n in enumerate(counts) if n}
