"""An outcome that nobody wants to hear, for a while or for ever: the release runs, and the outcome is kept."""

import pytest
from tests.agent import bundles
from tests.agent.devices import eventually
from tests.agent.fake_control_plane import FakeControlPlane, Fault, hang_up, lose_answer, refuse, say
from tests.state.lives import Subject

from kernex.domain.install import Phase

REFUSALS: dict[str, Fault] = {
    "503": refuse(503),
    "401": refuse(401),
    "409": refuse(409, "cannot complete it: it is aborted"),
    "no network": hang_up,
    "nonsense": say(b"<html>captive portal</html>", 200),
}
FOR_EVER = 10_000


def refuse_reports(fake: FakeControlPlane, fault: Fault, times: int) -> None:
    """Once an install began: neither a result nor a heartbeat gets through."""

    def begin(handler: object) -> bool:
        fake.faults["result"] = [fault] * times
        fake.faults["heartbeat"] = [fault] * times
        return True

    fake.faults["archive"] = [begin]  # asked for by the install, after the heartbeat that offered it


@pytest.mark.parametrize("refusal", REFUSALS)
def test_refused_for_a_while_it_is_told_later(subject: Subject, refusal: str) -> None:
    deployment = subject.fake.offer(bundles.release("1.0.0"))
    refuse_reports(subject.fake, REFUSALS[refusal], 4)
    with subject.life(once=False):
        assert eventually(lambda: deployment in subject.fake.outcomes)
        assert eventually(lambda: subject.untold() == [])
    assert subject.fake.outcomes[deployment].phase is Phase.SUCCEEDED


@pytest.mark.parametrize("refusal", REFUSALS)
def test_refused_for_ever_it_is_kept_and_the_next_life_tells_it(subject: Subject, refusal: str) -> None:
    bundle = bundles.release("1.0.0")
    deployment = subject.fake.offer(bundle)
    refuse_reports(subject.fake, REFUSALS[refusal], FOR_EVER)
    for _ in range(3):
        with subject.life():
            pass
    assert deployment not in subject.fake.outcomes
    assert [install.deployment_id for install in subject.untold()] == [deployment]
    assert subject.device.app().current == bundle.digest
    subject.fake.faults.clear()
    assert subject.lives(deployment).phase is Phase.SUCCEEDED
    assert subject.untold() == []
    assert subject.device.works() == "1.0.0"
    subject.check_whole()


@pytest.mark.parametrize("route", ["token", "heartbeat", "descriptor", "archive", "result"])
def test_a_lost_answer_costs_a_repetition_and_nothing_else(subject: Subject, route: str) -> None:
    """What was asked was done; only the answer is gone."""
    deployment = subject.fake.offer(
        bundles.release("1.0.0", deploy=f'{bundles.MARKING}; echo . >> "$KERNEX_DATA/runs"')
    )
    subject.fake.faults[route] = [lose_answer] * 2
    with subject.life(once=False):
        assert eventually(lambda: deployment in subject.fake.outcomes)
        assert eventually(lambda: subject.untold() == [])
    assert subject.fake.outcomes[deployment].phase is Phase.SUCCEEDED
    assert (subject.device.app().data / "runs").read_text() == ".\n", "it was installed once"


def test_killed_with_its_outcome_on_the_way_it_tells_it_again(subject: Subject) -> None:
    """The control plane has it, the device does not know."""
    deployment = subject.fake.offer(bundles.release("1.0.0"))
    with subject.life(once=False) as life:

        def heard_and_dead(handler: object) -> bool:
            life.kill()
            return True

        subject.fake.faults["result"] = [heard_and_dead]
        assert eventually(lambda: life.over(0))
    assert [install.deployment_id for install in subject.untold()] == [deployment]
    assert subject.lives(deployment).phase is Phase.SUCCEEDED
    with subject.life():
        pass
    assert subject.untold() == []
    assert len([beat for beat in subject.fake.heartbeats for one in beat.installs or [] if one.phase.final]) == 1
