"""The releases that devices come from and go to."""

from tests.agent import bundles
from tests.agent.bundles import Bundle
from tests.state.lives import Fault

from kernex.domain.install import Phase

#: Says which version was started last, then stays up.
SERVING = ["/bin/sh", "-c", 'echo "$KERNEX_VERSION" > "$KERNEX_DATA/serves"; exec sleep 300']
#: A workload stays up until it may be known that its release succeeded.
UNTIL_TOLD = 'while test ! -e "$KERNEX_DATA/told"; do sleep 0.02; done'
FALLS = ["/bin/sh", "-c", f'{UNTIL_TOLD}; echo . >> "$KERNEX_DATA/falls"; exit 1']

SCRIPTS = bundles.release("1.0.0")
SUPERVISED = bundles.release("1.0.0", run=SERVING)
GOOD = (SCRIPTS, SUPERVISED)


def new(phase: Phase, fault: Fault, *, supervised: bool) -> Bundle:
    """The release that meets this fault in this phase. Where a bundle's own script can hang, it is the script."""
    deploy, deploy_timeout_s = bundles.MARKING, 5.0
    probe, health = bundles.PASSING, {"deadline_s": 5.0}
    rollback, rollback_timeout_s = "true", 5.0
    if phase is Phase.RESTORING:
        probe = bundles.FAILING
    match phase, fault:
        case Phase.ACTIVATING, Fault.HANG:
            deploy, deploy_timeout_s = "sleep 60", 0.2
        case Phase.PROBING, Fault.HANG:
            probe, health = "sleep 60", {"deadline_s": 0.2}
        case Phase.RESTORING, Fault.HANG:
            rollback, rollback_timeout_s = "sleep 60", 0.2
    return bundles.release(
        "2.0.0",
        deploy=deploy,
        deploy_timeout_s=deploy_timeout_s,
        probe=probe,
        health=health,
        rollback=rollback,
        rollback_timeout_s=rollback_timeout_s,
        run=SERVING if supervised else None,
    )
