# SPDX-License-Identifier: BSD-3-Clause
"""Benchmarks, side by side in one run, as ratios.

    bench.py [--traces DIR] [--programs DIR] [--runs N] [--json FILE] [SECTION]...

Sections: core, tools, instructions, memory, events, python, workers; all of them if none
is named. DIR of --traces holds http_small.pcap (many short connections) and
http_big.pcap (large transfers); without it captures are made once in
build/traces by tools/make_traces.py.

All processes run on one CPU, the contenders in turns, N rounds: a busy machine
slows all of them. What is compared is the CPU time of the quickest round; the
median beside it tells how quiet the machine was. What is not installed is
left out and named. Workers are the exception: they have two CPUs, and what counts is
the time on the clock, of the median round: the quickest of two CPUs and of one are not
of the same luck. Nothing here is a test: the goals are shown, not asserted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tabulate import tabulate

TOP = Path(__file__).resolve().parent.parent
SHAPES = ("small", "big")
TITLES = {"small": "many short connections", "big": "big transfers"}
PCAP_HEADER = 24
RECORD_HEADER = 16
PORTS = 34  # where they lie in a frame of Ethernet and IPv4 without options
SLICE = 100_000  # packets that callgrind is given
LAP = 3600  # seconds from one time that a capture is repeated to the next
TIME_LIMIT = 120  # seconds a process

Command = list[str]


@dataclass
class Measure:
    """Seconds of one contender, a number a round: of a CPU if nothing else is said."""

    rounds: list[float] = field(default_factory=list)
    startup: list[float] = field(default_factory=list)

    @property
    def net(self) -> list[float]:
        """All rounds, net of the quickest start-up."""
        return [seconds - min(self.startup, default=0.0) for seconds in self.rounds]

    @property
    def best(self) -> float:
        return min(self.net)

    @property
    def median(self) -> float:
        return statistics.median(self.net)


@dataclass
class Goal:
    """A ratio that the project has set itself."""

    text: str
    value: float
    bound: float
    at_most: bool

    @property
    def met(self) -> bool:
        return self.value <= self.bound if self.at_most else self.value >= self.bound

    def __str__(self) -> str:
        word = "met" if self.met else "MISSED"
        side = "most" if self.at_most else "least"
        return f"{word:6} {self.text}: {self.value:.2f} (at {side} {self.bound:g})"


@dataclass
class Bench:
    """What the sections share: where things are, and what was found."""

    traces: Path
    programs: Path
    runs: int
    scratch: Path
    found: dict[str, object] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)
    cpus: set[int] = field(default_factory=lambda: os.sched_getaffinity(0))

    def capture(self, shape: str) -> Path:
        """A copy made in this run: how a file came into the page cache decides what a walk
        over it costs (in large pieces or page by page), up to five times as much."""
        copy = self.scratch / f"http_{shape}.pcap"
        if not copy.exists():
            shutil.copyfile(self.traces / copy.name, copy)
        return copy

    def program(self, name: str, *args: str) -> Command:
        return [str(self.programs / f"bench_{name}"), *args]

    def show(self, title: str, rows: list[dict[str, object]], note: str = "") -> None:
        """Prints one table and keeps it for --json."""
        self.found[title] = rows
        print(f"\n{title}\n{tabulate(rows, headers='keys', floatfmt='.2f')}")
        if note:
            print(note)
        sys.stdout.flush()

    def goal(self, text: str, value: float, bound: float, *, at_most: bool) -> None:
        self.goals.append(Goal(text, value, bound, at_most))


def skip(what: str, why: str) -> None:
    print(f"bench: {what} left out: {why}", file=sys.stderr)


def cpu_time(command: Command, cwd: Path) -> float:
    """Runs |command| with its output thrown away: user and system seconds."""
    with subprocess.Popen(
        command,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        give_up = time.monotonic() + TIME_LIMIT
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid != 0:
                break
            if time.monotonic() > give_up:
                process.kill()
            time.sleep(0.002)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise OSError(f"{command[0]} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def in_turns(runs: int, contenders: Sequence[str], once: Callable[[str], None]) -> None:
    """Each contender once a round, so that all of them meet the same machine."""
    for _ in range(runs):
        for name in contenders:
            once(name)


def cut(capture: Path, packets: int, out: Path) -> Path:
    """Writes the first |packets| packets of |capture| to |out|."""
    with capture.open("rb") as source, out.open("wb") as target:
        target.write(source.read(PCAP_HEADER))
        for _ in range(packets):
            header = source.read(RECORD_HEADER)
            if len(header) < RECORD_HEADER:
                break
            target.write(header + source.read(int.from_bytes(header[8:12], sys.byteorder)))
    return out


def lengthen(capture: Path, laps: int, out: Path) -> Path:
    """Writes |capture| to |out| so many times, each time later."""
    content = bytearray(capture.read_bytes())
    with out.open("wb") as target:
        target.write(content[:PCAP_HEADER])
        for lap in range(laps):
            if lap > 0:
                delay(content, LAP)
            target.write(content[PCAP_HEADER:])
    return out


def records(content: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """Where the records of a capture begin and end."""
    at = PCAP_HEADER
    while at < len(content):
        end = at + RECORD_HEADER + int.from_bytes(content[at + 8 : at + 12], sys.byteorder)
        yield at, end
        at = end


def delay(content: bytearray, seconds: int) -> None:
    """Moves all packets of a capture to a later time."""
    for at, _ in records(content):
        second = int.from_bytes(content[at : at + 4], sys.byteorder) + seconds
        content[at : at + 4] = second.to_bytes(4, sys.byteorder)


def halve(capture: Path, outs: Sequence[Path]) -> None:
    """Divides the flows of |capture| between two files: by a bit in which the last bytes of the
    ports differ, and not the lowest one, which Linux keeps even in the ports of clients."""
    content = capture.read_bytes()
    with outs[0].open("wb") as even, outs[1].open("wb") as odd:
        even.write(content[:PCAP_HEADER])
        odd.write(content[:PCAP_HEADER])
        for at, end in records(content):
            frame = content[at + RECORD_HEADER : end]
            ports = frame[PORTS : PORTS + 4].ljust(4, b"\0")
            (odd if (ports[1] ^ ports[3]) & 2 else even).write(content[at:end])


# ---- the core -------------------------------------------------------------------

MEANING = {
    "floor": "mapped walk that reads each packet's headers",
    "pcap_next": "libpcap, pcap_next_ex()",
    "pcap_loop": "libpcap, pcap_loop()",
    "nids_track": "libnids without checksums, flows",
    "nids_read": "libnids without checksums, reads all bytes",
    "core_track": "core, flows and TCP of both ends",
    "core_flows": "core, flow_start and flow_end heard",
    "core_packets": "core, a callback a packet",
    "core_read": "core, reassembly, reads all bytes",
}


def one_pass(bench: Bench, contender: str, capture: Path) -> dict[str, float]:
    command = bench.program("capture", contender, str(capture))
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=TIME_LIMIT)
    return dict(json.loads(done.stdout))


def core(bench: Bench) -> None:
    """The core beside the floor, libpcap and libnids."""
    names = subprocess.run(
        bench.program("capture", "list"), capture_output=True, check=True, text=True
    ).stdout.split()
    if "nids_read" not in names:
        skip("libnids", "libnids-dev was not there at build time")
    for shape in SHAPES:
        show_core(bench, shape, run_passes(bench, names, bench.capture(shape)))


def run_passes(bench: Bench, names: list[str], capture: Path) -> dict[str, list[dict[str, float]]]:
    passes: dict[str, list[dict[str, float]]] = {name: [] for name in names}

    def once(name: str) -> None:
        passes[name].append(one_pass(bench, name, capture))

    in_turns(bench.runs, names, once)
    return passes


def show_core(bench: Bench, shape: str, passes: dict[str, list[dict[str, float]]]) -> None:
    measures = {name: Measure([one["seconds"] for one in done]) for name, done in passes.items()}
    packets = passes["floor"][0]["packets"]
    floor = measures["floor"].best
    rows: list[dict[str, object]] = []
    for name, measure in measures.items():
        row: dict[str, object] = {
            "contender": MEANING.get(name, name),
            "ns/packet": measure.best / packets * 1e9,
            "median": measure.median / packets * 1e9,
            "x floor": measure.best / floor,
        }
        for other in ("nids_track", "nids_read"):
            if other in measures:
                row[f"{other} / it"] = measures[other].best / measure.best
        rows.append(row)
    bench.show(
        f"{TITLES[shape]}: {packets:.0f} packets, {passes['core_track'][0]['flows']:.0f} flows",
        rows,
    )
    bounds = {"small": (3.0, 2.5, 1.5), "big": (1.5, None, 1.3)}[shape]
    track, read = measures["core_track"].best, measures["core_read"].best
    bench.goal(
        f"{TITLES[shape]}, tracking over the floor", track / floor, bounds[0] or 0, at_most=True
    )
    if "nids_read" not in measures:
        return
    if bounds[1] is not None:
        ratio = measures["nids_track"].best / track
        bench.goal(f"{TITLES[shape]}, libnids over tracking", ratio, bounds[1], at_most=False)
    ratio = measures["nids_read"].best / read
    bench.goal(
        f"{TITLES[shape]}, libnids over reading all bytes", ratio, bounds[2] or 0, at_most=False
    )
    if passes["nids_read"][0]["sum"] != passes["core_read"][0]["sum"]:
        print("bench: libnids and the core did not read the same bytes", file=sys.stderr)


# ---- whole programs -------------------------------------------------------------


def mosbox() -> str:
    return str(Path(sys.executable).with_name("mosbox"))


def commands(bench: Bench, port: int) -> dict[str, Callable[[str], Command]]:
    """The programs compared, by name, as commands on a capture file."""
    rules = str(TOP / "mosbox" / "data" / "starter.rules")
    flow_dir = str(bench.scratch)
    return {
        "mosbox stats -o table": lambda f: [mosbox(), "stats", "-r", f, "-o", "table"],
        "mosbox stats -o json": lambda f: [mosbox(), "stats", "-r", f, "-o", "json"],
        "mosbox ids": lambda f: [mosbox(), "ids", "-r", f, "--rules", rules],
        "softflowd": lambda f: ["softflowd", "-d", "-r", f, "-n", f"127.0.0.1:{port}", "-v", "9"],
        "nfpcapd": lambda f: ["nfpcapd", "-r", f, "-w", flow_dir],
        "tcpdump -w": lambda f: ["tcpdump", "-n", "-r", f, "-w", "/dev/null"],
        "tcpdump -q": lambda f: ["tcpdump", "-nn", "-q", "-r", f],
        "ndpiReader": lambda f: ["ndpiReader", "-q", "-i", f],
        "suricata": lambda f: [
            "suricata",
            "-r",
            f,
            "-l",
            flow_dir,
            "-S",
            rules,
            "--runmode",
            "single",
        ],
    }


def tools(bench: Bench) -> None:
    """mosbox stats and ids beside other programs, start-up taken off."""
    with socket.socket(
        socket.AF_INET, socket.SOCK_DGRAM
    ) as collector:  # never read: what is sent is lost
        collector.bind(("127.0.0.1", 0))
        table = commands(bench, collector.getsockname()[1])
        for shape in SHAPES:
            measures = measure_tools(bench, shape, table)
            show_tools(bench, shape, measures)


def measure_tools(
    bench: Bench, shape: str, table: dict[str, Callable[[str], Command]]
) -> dict[str, Measure]:
    capture = str(bench.capture(shape))
    empty = str(cut(bench.capture(shape), 0, bench.scratch / "empty.pcap"))
    measures: dict[str, Measure] = {}
    for name, command in table.items():
        if shutil.which(command(empty)[0]) is None:
            skip(name, "not installed")
            continue
        try:
            cpu_time(command(empty), bench.scratch)
        except OSError as error:
            skip(name, str(error))
            continue
        measures[name] = Measure()

    def once(name: str) -> None:
        measures[name].startup.append(cpu_time(table[name](empty), bench.scratch))
        measures[name].rounds.append(cpu_time(table[name](capture), bench.scratch))

    in_turns(max(3, bench.runs // 2), list(measures), once)
    return measures


def show_tools(bench: Bench, shape: str, measures: dict[str, Measure]) -> None:
    ours = {name: m.best for name, m in measures.items() if name.startswith("mosbox stats")}
    if not ours:
        skip("whole programs", "mosbox stats does not run")
        return
    rows: list[dict[str, object]] = [
        {
            "program": name,
            "start-up s": min(measure.startup),
            "net s": measure.best,
            "median": measure.median,
        }
        | {
            f"it / {name.removeprefix('mosbox ')}": measure.best / seconds
            for name, seconds in ours.items()
        }
        for name, measure in measures.items()
    ]
    bench.show(f"programs, {TITLES[shape]}", rows)
    if "softflowd" in measures:
        bound = {"small": 4.0, "big": 2.0}[shape]
        for name, seconds in ours.items():
            ratio = measures["softflowd"].best / seconds
            bench.goal(f"{TITLES[shape]}, softflowd over {name}", ratio, bound, at_most=False)


# ---- instructions ---------------------------------------------------------------


def callgrind(command: Command, out: Path) -> int:
    """Instructions that |command| runs, exactly."""
    valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    subprocess.run([*valgrind, *command], capture_output=True, check=True, timeout=TIME_LIMIT)
    for line in out.read_text().splitlines():
        if line.startswith(("totals:", "summary:")):
            return int(line.split()[1])
    raise OSError("callgrind told no total")


def instructions(bench: Bench) -> None:
    """Instructions a packet, start-up taken off."""
    if shutil.which("valgrind") is None:
        skip("instructions a packet", "valgrind is not installed")
        return
    rows: list[dict[str, object]] = []
    out = bench.scratch / "callgrind.out"
    for name in ("floor", "core_track", "core_read"):
        row: dict[str, object] = {"contender": MEANING[name]}
        for shape in SHAPES:
            few = cut(bench.capture(shape), SLICE // 100, bench.scratch / "few.pcap")
            many = cut(bench.capture(shape), SLICE, bench.scratch / "many.pcap")
            least = callgrind(bench.program("capture", name, str(few)), out)
            most = callgrind(bench.program("capture", name, str(many)), out)
            packets = (
                one_pass(bench, "floor", many)["packets"] - one_pass(bench, "floor", few)["packets"]
            )
            row[TITLES[shape]] = (most - least) / packets
        rows.append(row)
    bench.show("instructions a packet", rows)


# ---- memory, events, Python -------------------------------------------------------


def memory(bench: Bench) -> None:
    """Bytes a flow without buffered data."""
    done = subprocess.run(bench.program("flows"), capture_output=True, check=True, text=True)
    rows = [dict(json.loads(line)) for line in done.stdout.splitlines()]
    bench.show("flows at once", rows)
    for row in rows:
        text = f"bytes a flow at {row['flows']:,} flows, as the process grew"
        bench.goal(text, row["rss_bytes_per_flow"], 320, at_most=True)


def events(bench: Bench) -> None:
    """ns an event costs in C."""
    done = subprocess.run(bench.program("events"), capture_output=True, check=True, text=True)
    bench.show("an event in C, ns", [dict(json.loads(done.stdout))])


PYTHON_EVENT = """\
import sys, time
import mosbox

class Silent(mosbox.App):
    '''Hears nothing.'''

class Flows(mosbox.App):
    '''Hears one event a flow.'''
    def start(self):
        self.count = 0
    def on_flow_start(self, flow):
        self.count += 1

app = {"silent": Silent, "flows": Flows}[sys.argv[2]]
start = time.process_time()
mosbox.run(app, read=sys.argv[1])
print(time.process_time() - start)
"""


def python(bench: Bench) -> None:
    """ns that an event costs in Python: one a flow, against an app that hears nothing."""
    script = bench.scratch / "event.py"
    script.write_text(PYTHON_EVENT)
    capture = cut(bench.capture("small"), 10 * SLICE, bench.scratch / "python.pcap")
    measures = {"silent": Measure(), "flows": Measure()}

    def once(name: str) -> None:
        command = [sys.executable, str(script), str(capture), name]
        done = subprocess.run(
            command, capture_output=True, check=True, text=True, timeout=TIME_LIMIT
        )
        measures[name].rounds.append(float(done.stdout.split()[-1]))

    try:
        in_turns(max(3, bench.runs // 2), list(measures), once)
    except subprocess.CalledProcessError as error:
        skip("a Python event", error.stderr.strip().splitlines()[-1])
        return
    flows = one_pass(bench, "core_track", capture)["flows"]
    cost = (measures["flows"].best - measures["silent"].best) / flows * 1e9
    bench.show("an event in Python, ns", [{"flow_start": cost}])


# ---- workers ----------------------------------------------------------------------

WORKERS = 2
# Bytes of captures, by program. Shorter runs tell how long first touches take, and each long one
# has its share of what disturbs a machine. The halves take as much again, and all of it should
# fit the page cache.
LONG = {
    "mosbox stats -o table": 2_000_000_000,
    "mosbox stats -o json": 2_000_000_000,
    "mosbox ids": 1_000_000_000,
}
# Rounds for each that is asked for: more of the captures where a goal is to be met.
ROUNDS = {"small": 2, "big": 1}
# Where two workers have to pay off: a packet is work to it. To the others it is little more than to
# be read, once for both, so that they also wait for each other where one CPU is disturbed. How
# they do is shown all the same.
WORK = "mosbox ids"


def kill(running: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in running:
        process.kill()


def clock_time(commands: Sequence[Command], cwd: Path) -> tuple[float, float]:
    """Seconds on the clock and CPU seconds of commands that run at once, and of their workers."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL))
            for command in commands
        ]
        limit = threading.Timer(TIME_LIMIT, kill, [running])
        limit.start()
        codes = [process.wait() for process in running]  # a timeout would have it look every 50 ms
        limit.cancel()
    took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    for command, code in zip(commands, codes, strict=True):
        if code != 0:
            raise subprocess.CalledProcessError(code, command)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def workers(bench: Bench) -> None:
    """One worker and two, on two CPUs, start-up taken off, on captures made long enough."""
    if len(bench.cpus) < WORKERS:
        skip("workers", f"there are fewer than {WORKERS} CPUs")
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(bench.cpus)[:WORKERS])
    try:
        for shape in SHAPES:
            show_workers(bench, shape)
    finally:
        os.sched_setaffinity(0, before)


def show_workers(bench: Bench, shape: str) -> None:
    """One worker, two, and two runs apart that have half of the flows each, in turns.

    The runs apart share nothing and wait for nobody, so they tell what the machine makes of work
    that is divided in two: CPUs of a virtual machine may be halves of one, and the memory behind
    them is one.
    """
    commands_of = commands(bench, 0)
    capture = bench.capture(shape)
    halves = [bench.scratch / f"{half}.pcap" for half in ("even", "odd")]
    halve(capture, halves)
    rows: list[dict[str, object]] = []
    for name, size in LONG.items():
        laps = max(1, size // capture.stat().st_size)
        files = [
            str(lengthen(part, laps, part.with_name(f"long_{part.name}")))
            for part in (capture, *halves)
        ]
        rounds = ROUNDS[shape] * bench.runs
        found = workers_rounds(bench, rounds, commands_of[name], files[0], files[1:])
        rows.append({"program": name, **found})
        if shape == "small" and name == WORK:
            faster = found["median round"]
            bench.goal(f"{WORKERS} workers over one, {name}", faster, 1.8, at_most=False)
    note = "seconds on the clock, quickest rounds; apart: two runs, each with half of the flows"
    bench.show(f"workers, {TITLES[shape]}", rows, note)


def workers_rounds(
    bench: Bench, rounds: int, command: Callable[[str], Command], whole: str, halves: Sequence[str]
) -> dict[str, float]:
    """A row."""
    empty = str(cut(Path(whole), 0, bench.scratch / "empty.pcap"))
    contenders = {"one": ([whole], 1), "workers": ([whole], WORKERS), "apart": (halves, 1)}
    clock = {name: Measure() for name in contenders}
    cpu = {name: Measure() for name in contenders}

    def run(files: Sequence[str], count: int) -> tuple[float, float]:
        at_once = [[*command(file), "--workers", str(count)] for file in files]
        return clock_time(at_once, bench.scratch)

    def once(name: str) -> None:
        files, count = contenders[name]
        startup, whole_run = run([empty] * len(files), count), run(files, count)
        for number, measure in enumerate((clock[name], cpu[name])):
            measure.startup.append(startup[number])
            measure.rounds.append(whole_run[number])

    in_turns(rounds, list(contenders), once)
    one, two, apart = clock["one"], clock["workers"], clock["apart"]
    return {
        "one s": one.best,
        f"{WORKERS} workers s": two.best,
        "apart s": apart.best,
        "CPU of them / of one": cpu["workers"].best / cpu["one"].best,
        "times as fast": one.best / two.best,
        "median round": statistics.median(a / b for a, b in zip(one.net, two.net, strict=True)),
        "apart": one.best / apart.best,
    }


# ---- the run ----------------------------------------------------------------------

SECTIONS: dict[str, Callable[[Bench], None]] = {
    "core": core,
    "tools": tools,
    "instructions": instructions,
    "memory": memory,
    "events": events,
    "python": python,
    "workers": workers,
}


def find_traces(folder: Path | None) -> Path:
    """The folder of the captures; made if the user has named none."""
    traces = folder or TOP / "build" / "traces"
    if all((traces / f"http_{shape}.pcap").exists() for shape in SHAPES):
        return traces
    if folder is not None:
        sys.exit(f"bench: {folder} has no http_small.pcap and http_big.pcap")
    subprocess.run([sys.executable, str(TOP / "tools" / "make_traces.py"), str(traces)], check=True)
    return traces


def one_cpu() -> None:
    """This process and all it starts stay on the last CPU they may use."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def keep_bytecode(folder: Path) -> None:
    """Python keeps what it compiled there: start-up is then what users have, whatever the
    environment says, and the source tree stays as it is."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--traces", type=Path, help="folder with http_small.pcap and http_big.pcap")
    parser.add_argument(
        "--programs", type=Path, default=TOP / "build/bench/core/bench", help="the C benchmarks"
    )
    parser.add_argument("--runs", type=int, default=7, help="rounds (default 7)")
    parser.add_argument("--json", type=Path, help="write all tables to this file, too")
    parser.add_argument(
        "section", nargs="*", choices=[*SECTIONS, []], help="what to run (default: all)"
    )
    args = parser.parse_args()
    traces = find_traces(args.traces)
    cpus = os.sched_getaffinity(0)
    one_cpu()
    with tempfile.TemporaryDirectory() as scratch:
        keep_bytecode(Path(scratch))
        bench = Bench(
            traces.resolve(), args.programs.resolve(), args.runs, Path(scratch), cpus=cpus
        )
        for name in args.section or SECTIONS:
            SECTIONS[name](bench)
    if bench.goals:
        print("\ngoals\n" + "\n".join(map(str, bench.goals)))
    if args.json is not None:
        args.json.write_text(json.dumps(bench.found, indent=2) + "\n")


if __name__ == "__main__":
    main()
