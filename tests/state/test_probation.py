"""A release that passed its probe and does not last: the previous one comes back, and the success is revised."""

import time
from contextlib import closing
from pathlib import Path

import pytest
from tests.agent import bundles
from tests.agent.bundles import Bundle
from tests.agent.devices import eventually
from tests.state import releases
from tests.state.lives import Life, Subject

from kernex.agent.install.journal import Journal
from kernex.domain.install import MAX_TRIES, Phase
from kernex.domain.probation import Probation

FALLS_TWICE = [
    "/bin/sh",
    "-c",
    f"""{releases.UNTIL_TOLD}; echo . >> "$KERNEX_DATA/falls"
    test $(wc -l < "$KERNEX_DATA/falls") -gt 2 || exit 1; exec sleep 300""",
]
NEW = bundles.release("2.0.0", run=releases.SERVING)
DAYS_S = 1e6


@pytest.fixture
def before(subject: Subject, in_use: dict[Bundle, Path]) -> Subject:
    """Runs a good release whose own probation is over."""
    subject.take_over(in_use[releases.SUPERVISED])
    with closing(Journal(subject.device.state.journal)) as journal:
        for one in journal.probations.all():
            journal.probations.end(one.deployment_id)
    subject.settle(probation_s=DAYS_S)
    return subject


def on_probation(subject: Subject) -> list[Probation]:
    with closing(Journal(subject.device.state.journal)) as journal:
        return journal.probations.all()


def ended_as(subject: Subject, deployment: str, phase: Phase) -> bool:
    return deployment in subject.fake.outcomes and subject.fake.outcomes[deployment].phase is phase


def fall_once_it_succeeded(subject: Subject, deployment: str) -> None:
    assert eventually(lambda: ended_as(subject, deployment, Phase.SUCCEEDED))
    (subject.device.app().data / "told").touch()


def test_a_workload_that_falls_again_and_again_is_put_back_and_the_success_is_revised(before: Subject) -> None:
    bundle = bundles.release("2.0.0", run=releases.FALLS)
    deployment = before.fake.offer(bundle)
    with before.life(once=False):
        fall_once_it_succeeded(before, deployment)
        assert eventually(lambda: ended_as(before, deployment, Phase.ROLLED_BACK))
        assert eventually(lambda: before.untold() == [])
    outcome = before.fake.outcomes[deployment]
    assert outcome.error == "its workload was started again 3 times within its probation"
    assert outcome.metrics == {"speech": 0.9}
    told = [(result.status, result.outcome) for one, result in before.fake.results if one == deployment]
    assert told == [("success", None), ("failed", "rolled_back")]
    app = before.device.app()
    assert (app.current, app.previous) == (releases.SUPERVISED.digest, None)
    assert before.device.works() == (app.data / "serves").read_text().strip() == "1.0.0"
    assert not app.release(bundle.digest).exists()
    assert on_probation(before) == []


def test_a_first_release_that_falls_again_and_again_leaves_nothing(subject: Subject) -> None:
    deployment = subject.fake.offer(bundles.release("2.0.0", run=releases.FALLS))
    with subject.life(once=False):
        fall_once_it_succeeded(subject, deployment)
        assert eventually(lambda: ended_as(subject, deployment, Phase.ROLLED_BACK))
        assert eventually(lambda: list(subject.device.state.apps.iterdir()) == [])


def test_a_workload_that_finds_its_feet_passes(before: Subject) -> None:
    before.settle(probation_s=1.5)
    deployment = before.fake.offer(bundles.release("2.0.0", run=FALLS_TWICE))
    with before.life(once=False):
        fall_once_it_succeeded(before, deployment)
        assert eventually(lambda: on_probation(before) == [])
        time.sleep(0.2)
    assert ended_as(before, deployment, Phase.SUCCEEDED)
    assert before.device.app().previous == releases.SUPERVISED.digest


def test_a_workload_that_is_down_at_the_end_is_put_back(before: Subject) -> None:
    """It fell once, and what would start it again is gone."""
    before.settle(probation_s=1.0)
    script = f'{releases.UNTIL_TOLD}; rm "$KERNEX_RELEASE/serve.sh"; exit 1'
    bundle = bundles.release("2.0.0", run=["./serve.sh"], files={"serve.sh": bundles.script(script)})
    deployment = before.fake.offer(bundle)
    with before.life(once=False):
        fall_once_it_succeeded(before, deployment)
        assert eventually(lambda: ended_as(before, deployment, Phase.ROLLED_BACK))
    assert before.fake.outcomes[deployment].error == "its workload does not run at the end of its probation"


def kill_once_up(subject: Subject, life: Life) -> None:
    serves = subject.device.app().data / "serves"
    assert eventually(serves.exists)
    life.kill()
    serves.unlink()


def test_a_release_that_takes_the_agent_down_three_times_is_put_back_before_it_can_do_it_again(
    before: Subject,
) -> None:
    deployment = before.fake.offer(NEW)
    assert before.lives(deployment).phase is Phase.SUCCEEDED
    serves = before.device.app().data / "serves"
    serves.unlink()
    for deaths in range(MAX_TRIES):
        with before.life(once=False) as life:
            kill_once_up(before, life)
        [probation] = on_probation(before)
        assert probation.deaths == deaths  # of the lives before this one
    with before.life():
        pass
    outcome = before.fake.outcomes[deployment]
    assert outcome.phase is Phase.ROLLED_BACK
    assert outcome.error == "it ended the agent or the device 3 times within its probation"
    assert before.device.app().current == releases.SUPERVISED.digest
    assert serves.read_text().strip() == "1.0.0", "the bad one was started once more"


def test_an_agent_that_is_told_to_stop_blames_nobody(before: Subject) -> None:
    deployment = before.fake.offer(NEW)
    for _ in range(2 * MAX_TRIES):
        with before.life():
            pass
    assert ended_as(before, deployment, Phase.SUCCEEDED)
    [probation] = on_probation(before)
    assert probation.deaths == 0


def test_what_happened_after_the_probation_is_not_its_matter(before: Subject) -> None:
    before.settle(probation_s=0.2)
    deployment = before.fake.offer(NEW)
    with before.life(once=False):
        assert eventually(lambda: ended_as(before, deployment, Phase.SUCCEEDED))
        assert eventually(lambda: on_probation(before) == [])
    for _ in range(MAX_TRIES + 1):
        with before.life(once=False) as life:
            kill_once_up(before, life)
    with before.life():
        pass
    assert before.device.app().current == NEW.digest


def test_the_time_is_that_of_all_lives_together(before: Subject) -> None:
    before.settle(probation_s=2.0)
    before.lives(before.fake.offer(NEW))
    lasted = [0.0]
    while on_probation(before):
        with before.life(once=False):
            time.sleep(0.7)
        lasted += [one.lasted_s for one in on_probation(before)]
        assert len(lasted) < 8
    assert len(lasted) > 2, "one life was enough"
    assert lasted == sorted(lasted)
    assert lasted[-1] > lasted[1]


def test_a_switched_off_probation_watches_nothing(before: Subject) -> None:
    before.settle(probation_s=0)
    deployment = before.fake.offer(bundles.release("2.0.0", run=releases.FALLS))
    with before.life(once=False):
        fall_once_it_succeeded(before, deployment)
        falls = before.device.app().data / "falls"
        assert eventually(lambda: falls.exists() and len(falls.read_text().split()) > MAX_TRIES)
    assert ended_as(before, deployment, Phase.SUCCEEDED)


def test_a_newer_success_takes_the_place_of_a_probation_and_a_failure_does_not(before: Subject) -> None:
    first = before.fake.offer(NEW)
    before.lives(first)
    before.lives(before.fake.offer(bundles.release("3.0.0", probe=bundles.FAILING)))
    assert [one.deployment_id for one in on_probation(before)] == [first]
    newer = before.fake.offer(bundles.release("4.0.0"))
    before.lives(newer)
    assert [one.deployment_id for one in on_probation(before)] == [newer]


def test_what_another_release_does_while_it_is_tried_is_not_held_against_the_one_before(before: Subject) -> None:
    before.settle(probation_s=8.0)
    deployment = before.fake.offer(NEW)
    with before.life(once=False):
        assert eventually(lambda: ended_as(before, deployment, Phase.SUCCEEDED))
        falling = bundles.release(
            "3.0.0", run=["/bin/sh", "-c", "exit 1"], probe="exit 1", health={"deadline_s": 1.5, "interval_s": 0.1}
        )
        worse = before.fake.offer(falling)
        assert eventually(lambda: ended_as(before, worse, Phase.ROLLED_BACK))
        assert eventually(lambda: before.device.works() == "2.0.0")
        time.sleep(1.0)
    assert ended_as(before, deployment, Phase.SUCCEEDED)
    [probation] = on_probation(before)
    assert (probation.deployment_id, probation.restarts) == (deployment, 0)


def test_a_release_deployed_over_itself_stays_on_the_probation_that_it_has(before: Subject) -> None:
    first = before.fake.offer(NEW)
    before.lives(first)
    before.lives(before.fake.offer(NEW))
    assert [one.deployment_id for one in on_probation(before)] == [first]
    assert before.device.app().previous == releases.SUPERVISED.digest, "what a regress would come back to"


def test_the_release_to_come_back_to_is_kept_while_nothing_of_the_download_is(before: Subject) -> None:
    before.lives(before.fake.offer(NEW))
    with before.life():  # collects once more
        pass
    app = before.device.app()
    assert {path.name for path in app.releases.iterdir() if path.is_dir()} == {NEW.digest, releases.SUPERVISED.digest}
    assert list(before.device.state.downloads.iterdir()) == []
