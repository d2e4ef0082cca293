"""When to send the next heartbeat. Pure: time and chance are arguments.

A fleet that was cut off together must not come back together: every delay has chance in it.
"""

from dataclasses import dataclass

SHORTEST_S, LONGEST_S = 0.05, 86400.0  # what a control plane may ask for
JITTER = 0.2  # of the interval, either way


@dataclass(frozen=True, slots=True)
class Limits:
    """The device's own bounds, in seconds; see `kernex.agent.settings`."""

    floor_s: float = 1.0
    busy_s: float = 5.0
    first_s: float = 1.0
    longest_s: float = 900.0


@dataclass(frozen=True, slots=True)
class Next:
    """Wait `delay_s`, then send a heartbeat that may be held for `wait_s` (zero: not at all)."""

    delay_s: float
    wait_s: float = 0.0


def after_reply(
    interval_s: float, long_poll_s: float, *, took_s: float, waited_s: float, early: int, chance: float, limits: Limits
) -> Next:
    """After an answer that offers these two.

    `took_s` is how long the heartbeat took and `waited_s` how long it allowed; `early` counts the answers
    in a row, this one included, that came before their time. `chance` is in [0, 1). A long-poll that
    is answered early has found something to do, or a server that does not hold: either way the next ones
    come ever slower, up to `limits.busy_s`, so that nobody spins.
    """
    interval_s = clamp(interval_s)
    if long_poll_s <= 0:
        return Next(jittered(interval_s, chance))
    wait_s = min(long_poll_s, LONGEST_S)
    if waited_s and not came_early(took_s, waited_s):
        return Next(0.0, wait_s)
    pause_s = min(interval_s, limits.busy_s, limits.floor_s * 2.0 ** min(early - 1, 30) if early else 0.0)
    return Next(max(0.0, jittered(pause_s, chance) - took_s), wait_s)


def after_error(failures: int, retry_after_s: float | None, *, chance: float, limits: Limits) -> float:
    """Seconds to wait after the `failures`-th error in a row: exponential with full jitter, or what the
    server asked for and up to as much again."""
    if retry_after_s is not None:
        asked_s = clamp(retry_after_s)
        return asked_s + chance * asked_s
    ceiling_s = min(limits.longest_s, limits.first_s * 2.0 ** min(failures - 1, 30))
    return ceiling_s * chance


def came_early(took_s: float, waited_s: float) -> bool:
    """Whether a heartbeat that might have been held for `waited_s` was answered well before."""
    return took_s < waited_s * 0.8


def jittered(seconds: float, chance: float) -> float:
    return seconds * (1.0 - JITTER + 2.0 * JITTER * chance)


def clamp(seconds: float) -> float:
    return min(max(seconds, SHORTEST_S), LONGEST_S)
