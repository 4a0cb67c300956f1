"""Was the machine quiet? What the system tells of a stretch of time, and what is decided from it.

A turn is disturbed if others used the processors for more than a small share of it, if the
processor was throttled for its heat, or if, beside other turns of the same process, its clock rate
fell or the processor was taken from its thread more often (how often differs between libraries,
for their own threads do it too). Processor time is counted in ticks of the system, a hundredth of a
second on Linux, so a share is known to a few ticks, and no better in a short turn.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

SHARE = 0.05  # of one processor that others may use
TICKS = 0.03  # seconds of processor time that are lost in counting
SWITCHES = 3, 100  # times as often as at the least, and as many times a second more
SLOWED = 0.9  # of the highest clock rate: below, it was slowed
BUSY = "user", "nice", "system", "irq", "softirq", "interrupt", "dpc", "steal"


@dataclass(frozen=True)
class Reading:
    """At an instant, all in seconds: the clock, the processor time of a process, and that of all on
    this machine; how often the processor was taken from the process; how often it was throttled,
    and its clock rate in MHz, where the system tells."""

    clock: float
    own: float
    all: float
    switches: int
    throttled: int | None = None
    mhz: float | None = None


def busy() -> float:
    """Seconds that all processors together were at work since the system began, also for others on
    the same host (steal)."""
    times = psutil.cpu_times()
    return sum(getattr(times, name, 0.0) for name in BUSY)


def reading(process: psutil.Process) -> Reading:
    """The Reading of a psutil.Process."""
    with process.oneshot():
        times, switches = process.cpu_times(), process.num_ctx_switches().involuntary
    return Reading(
        time.perf_counter(), times.user + times.system, busy(), switches, throttled(), mhz()
    )


def throttled() -> int | None:
    """How often the processors were slowed for their heat, where Linux counts it."""
    counts = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count")
    try:
        found = [int(path.read_text()) for path in counts]
    except (OSError, ValueError):
        return None
    return sum(found) if found else None


def mhz() -> int | None:
    """The mean clock rate of the processors; None where the system does not tell."""
    try:
        rate = psutil.cpu_freq()
    except Exception:  # on some virtual machines psutil finds files that it cannot read
        return None
    return round(rate.current) if rate and rate.current else None


@dataclass
class Turn:
    """Of one peer in one round: the seconds of a step, the median of several samples; then of the
    whole turn the seconds, the processor time of the peer and that of others (below 0 by a tick or
    two where there was none), and how often the processor was taken from it; its clock rate in MHz;
    how often it was measured again, and why the one that is kept is disturbed, or ""."""

    seconds: float
    wall: float
    own: float
    others: float
    switches: int
    throttled: int = 0
    mhz: float | None = None
    again: int = 0
    disturbed: str = ""


def turn(seconds: float, before: Reading, after: Reading, former: Sequence[Turn] = ()) -> Turn:
    """The Turn between two Readings. former: the Turns that the same process had before."""
    own = after.own - before.own
    found = Turn(
        seconds,
        round(after.clock - before.clock, 4),
        round(own, 3),
        round(after.all - before.all - own, 3),
        after.switches - before.switches,
        (after.throttled or 0) - (before.throttled or 0),
        after.mhz,
    )
    found.disturbed = why(found, former)
    return found


def why(turn: Turn, former: Sequence[Turn] = ()) -> str:
    """Why a Turn is disturbed, a few words; "" where it is not."""
    if busy_beside(turn.others, turn.wall):
        return f"others used {turn.others / turn.wall:.2f} processors"
    if turn.throttled > 0:
        return "the processor was throttled"
    fastest = max((t.mhz for t in former if t.mhz), default=None)
    if turn.mhz and fastest and turn.mhz < SLOWED * fastest:
        return f"at {turn.mhz:,.0f} of {fastest:,.0f} MHz"
    times, more = SWITCHES
    least = min((t.switches / t.wall for t in former), default=math.inf)
    if turn.switches / turn.wall > times * least + more:
        return f"the processor was taken from it {turn.switches / turn.wall:,.0f} times a second"
    return ""


def busy_beside(others: float, wall: float) -> bool:
    """Whether others used too much processor time in so many seconds."""
    return others > SHARE * wall + TICKS


def others(seconds: float = 1.0) -> float:
    """How many processors others use now, measured for a while in which this process rests."""
    begin, clock = busy(), time.perf_counter()
    time.sleep(seconds)
    return round((busy() - begin) / (time.perf_counter() - clock), 2)


def load() -> float | None:
    """How many processes were running, on average over the last minute."""
    try:
        return round(psutil.getloadavg()[0], 2)
    except OSError:
        return None
