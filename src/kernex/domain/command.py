"""What to tell a device. A value computed from state, each time anew; nothing is ever dequeued."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from kernex.domain.assignment import State


class CommandType(StrEnum):
    """The verbs of the wire. An agent reports a verb that it does not know and goes on."""

    DEPLOY = "deploy"  #: make this bundle the running release of its app
    CANCEL = "cancel"  #: stop this deployment if nothing was switched yet


@dataclass(frozen=True, slots=True)
class Standing:
    """An active assignment of one device, as far as the next command depends on it.

    `rank` orders deployments by their creation: the higher, the newer.
    """

    deployment: int
    app: str
    state: State
    rank: int


@dataclass(frozen=True, slots=True)
class Order:
    """One command for one device, before it gets its wire form."""

    type: CommandType
    deployment: int


def orders(standings: Iterable[Standing]) -> list[Order]:
    """What a device with these active assignments, all in open waves, should do.

    Per app the newest deployment is offered and the older ones wait until the device is done with them;
    whatever is being withdrawn is cancelled.
    """
    newest: dict[str, Standing] = {}
    result = []
    for standing in sorted(standings, key=lambda one: one.rank):
        if standing.state is State.CANCELLING:
            result.append(Order(CommandType.CANCEL, standing.deployment))
        elif not standing.state.final:
            newest[standing.app] = standing
    result.extend(Order(CommandType.DEPLOY, standing.deployment) for standing in newest.values())
    return result
