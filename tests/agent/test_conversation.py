"""The conversation with a control plane that is slow, lost, lying or newer than the agent."""

import time

import pytest
from tests.agent import bundles
from tests.agent.devices import Device, eventually
from tests.agent.fake_control_plane import FakeControlPlane, cut, flood, hang_up, lose_answer, refuse, say, slowly

from kernex.domain.install import Phase


def test_an_outcome_is_repeated_until_it_is_acknowledged_and_then_no_more(
    fake: FakeControlPlane, device: Device
) -> None:
    fake.faults["result"] = [refuse(503)]
    refused = [refuse(503)] * 3
    deployment = fake.offer(bundles.release("1.0.0"))
    with device.running() as agent:
        fake.wait(lambda: any(beat.installs for beat in fake.heartbeats))
        fake.faults["heartbeat"] = refused
        fake.outcome(deployment)
        heard = len(fake.heartbeats)
        fake.wait(lambda: len(fake.heartbeats) >= heard + 3)
        assert agent._journal.unacknowledged() == []
    assert not any(beat.installs for beat in fake.heartbeats[heard + 1 :])


def test_an_outcome_that_was_heard_but_whose_answer_was_lost_is_told_twice(
    fake: FakeControlPlane, device: Device
) -> None:
    fake.faults["result"] = [lose_answer, lose_answer]  # a call whose connection broke is made once more
    deployment = fake.offer(bundles.release("1.0.0"))
    with device.running():
        fake.wait(lambda: any(one.phase.final for beat in fake.heartbeats for one in beat.installs or []))
        fake.wait(lambda: len(fake.results) >= 2)
    assert [told for told, _ in fake.results] == [deployment, deployment]
    assert fake.outcomes[deployment].phase is Phase.SUCCEEDED


def test_an_old_command_never_installs_again_its_outcome_is_told_again(fake: FakeControlPlane, device: Device) -> None:
    first, second = bundles.release("1.0.0"), bundles.release("2.0.0")
    with device.running():
        deployment = fake.offer(first)
        command = fake.commands[deployment]
        fake.outcome(deployment)
        fake.outcome(fake.offer(second))
        del fake.outcomes[deployment]  # the control plane was put back to an older state
        fake.commands[deployment] = command
        assert fake.outcome(deployment).phase is Phase.SUCCEEDED
    assert device.app().current == second.digest
    assert len(fake.ranges()) == 2


def test_one_install_at_a_time_and_the_next_one_follows(fake: FakeControlPlane, device: Device) -> None:
    slow = bundles.release("1.0.0", deploy=f"sleep 0.3; {bundles.MARKING}")
    other = bundles.make("1.0.0", "ocr")
    deployments = [fake.offer(slow), fake.offer(other)]
    with device.running():
        assert [fake.outcome(one).phase for one in deployments] == [Phase.SUCCEEDED, Phase.SUCCEEDED]
    assert all(len([one for one in beat.installs or [] if not one.phase.final]) <= 1 for beat in fake.heartbeats)
    assert [app.name for app in fake.heartbeats[-1].apps or []] in (["vad"], ["ocr", "vad"])


def test_a_cut_download_is_resumed_where_it_was_cut(fake: FakeControlPlane, device: Device) -> None:
    bundle = bundles.release("1.0.0")
    half = len(bundle.archive) // 2
    fake.faults["archive"] = [cut(half), cut(10)]
    with device.running():
        assert fake.outcome(fake.offer(bundle)).phase is Phase.SUCCEEDED
    assert fake.ranges() == [None, f"bytes={half}-", f"bytes={half + 10}-"]


def test_a_server_that_is_busy_is_left_alone_for_as_long_as_it_asks(fake: FakeControlPlane, device: Device) -> None:
    fake.faults["heartbeat"] = [refuse(503, Retry_After="1")]
    with device.running():
        began = time.monotonic()
        fake.wait(lambda: len(fake.heartbeats) >= 1)
    assert time.monotonic() - began >= 1.0


GARBAGE = {
    "a captive portal": say(b"<html>please log in</html>", Content_Type="text/html"),
    "nothing": say(b""),
    "another shape": say(b'{"commands": 7}'),
    "broken text": say(b'{"commands": ["\xff"], "next_heartbeat_s": 0.05}'),
    "an endless answer": say(b" " * (2 << 20)),
    "an endless answer of unknown length": flood,
    "a redirect": say(b"", 302, Location="http://elsewhere/"),
    "silence": hang_up,
    "an error without words": say(b"oops", 500),
    "an unauthorised": refuse(401),
    "a refusal": refuse(400),
    "an unknown device": refuse(404),
    "a teapot": refuse(418),
    "a lost answer": lose_answer,
}


@pytest.mark.parametrize("what", GARBAGE)
def test_nothing_that_a_control_plane_says_ends_the_agent(fake: FakeControlPlane, device: Device, what: str) -> None:
    fake.faults["heartbeat"] = [GARBAGE[what]] * 2
    with device.running():
        fake.wait(lambda: len(fake.heartbeats) >= 2)


def test_commands_that_are_not_understood_are_reported_and_the_others_obeyed(
    fake: FakeControlPlane, device: Device
) -> None:
    fake.extra_commands = [
        {"type": "dance", "how": "slowly"},
        {"type": "deploy"},
        {"type": "cancel", "deployment_id": "x" * 65},
        42,
        None,
        [],
        {},
        {"type": 7},
    ]
    deployment = fake.offer(bundles.release("1.0.0"))
    with device.running():
        assert fake.outcome(deployment).phase is Phase.SUCCEEDED
        fake.wait(lambda: any(beat.unknown_commands for beat in fake.heartbeats))
    told = next(beat.unknown_commands for beat in fake.heartbeats if beat.unknown_commands)
    assert told == ["dance", "deploy", "malformed", "without a type"]


def test_facts_are_told_once_and_again_when_they_were_not_heard(fake: FakeControlPlane, device: Device) -> None:
    fake.faults["heartbeat"] = [refuse(503)]
    with device.running():
        fake.wait(lambda: len(fake.heartbeats) >= 3)
    first, *others = fake.heartbeats
    assert first.facts is not None
    assert {"arch", "os", "kernel", "python", "cpu_count", "memory_mb", "agent", "boot_id"} <= first.facts.keys()
    assert all(beat.facts is None for beat in others)
    assert first.memory_mb is not None
    assert first.memory_mb > 0


def test_a_token_that_the_server_no_longer_takes_is_renewed(fake: FakeControlPlane, device: Device) -> None:
    with device.running():
        fake.wait(lambda: len(fake.heartbeats) >= 1)
        fake.tokens.clear()
        count = len(fake.heartbeats)
        fake.wait(lambda: len(fake.heartbeats) >= count + 2)
    assert fake.logins == 2


def test_one_login_serves_heartbeats_and_installs(fake: FakeControlPlane, device: Device) -> None:
    with device.running():
        fake.outcome(fake.offer(bundles.release("1.0.0")))
    assert fake.logins == 1


def test_a_control_plane_by_another_name_gets_no_signature(fake: FakeControlPlane, device: Device) -> None:
    fake.issuer = "somebody else"
    with device.running():
        fake.wait(lambda: len([route for route, _ in fake.requests if route == "token"]) >= 2)
    assert fake.logins == 0
    assert all("client_assertion" not in str(headers) for _, headers in fake.requests)


def test_a_device_that_waits_for_approval_keeps_asking(fake: FakeControlPlane, device: Device) -> None:
    fake.admission = "pending"
    with device.running():
        fake.wait(lambda: len([route for route, _ in fake.requests if route == "token"]) >= 4)
        fake.admission = "accepted"
        fake.wait(lambda: len(fake.heartbeats) >= 1)


def test_a_long_poll_is_asked_for_when_it_is_offered(fake: FakeControlPlane, device: Device) -> None:
    fake.long_poll_s = 1
    with device.running():
        fake.wait(lambda: len(fake.prefer) >= 3)
    assert fake.prefer[:3] == [None, "wait=1", "wait=1"]


def test_the_agent_ends_at_once_in_the_middle_of_a_long_poll(fake: FakeControlPlane, device: Device) -> None:
    fake.long_poll_s = 30
    fake.faults["heartbeat"] = [slowly(0), slowly(2)]
    with device.running():
        fake.wait(lambda: len(fake.requests) >= 4)  # two for the token, two heartbeats
        began = time.monotonic()
    assert time.monotonic() - began < 1


def test_a_cancel_before_the_switch_stops_the_install(fake: FakeControlPlane, device: Device) -> None:
    good, other = bundles.release("1.0.0"), bundles.release("2.0.0")
    with device.running():
        fake.outcome(fake.offer(good))
        fake.faults["archive"] = [refuse(503)] * 1000
        deployment = fake.offer(other)
        fake.wait(lambda: "downloading" in fake.phases(deployment))
        fake.cancel(deployment)
        assert fake.outcome(deployment).phase is Phase.CANCELLED
    assert device.app().current == good.digest
    assert list(device.state.downloads.iterdir()) == []


def test_a_cancel_after_the_switch_comes_too_late(fake: FakeControlPlane, device: Device) -> None:
    slow = bundles.release("1.0.0", deploy=f"{bundles.MARKING}; sleep 0.5")
    deployment = fake.offer(slow)
    with device.running():
        assert eventually(lambda: device.works() == "1.0.0")
        fake.cancel(deployment)
        assert fake.outcome(deployment).phase is Phase.SUCCEEDED
    assert device.app().current == slow.digest


def test_a_cancel_of_what_never_began_is_answered(fake: FakeControlPlane, device: Device) -> None:
    fake.cancel("never-heard-of")
    with device.running():
        assert fake.outcome("never-heard-of").phase is Phase.CANCELLED


def test_a_cancel_of_what_ended_is_answered_with_how_it_ended(fake: FakeControlPlane, device: Device) -> None:
    with device.running():
        deployment = fake.offer(bundles.release("1.0.0"))
        fake.outcome(deployment)
        del fake.outcomes[deployment]
        fake.cancel(deployment)
        assert fake.outcome(deployment).phase is Phase.SUCCEEDED


def test_a_descriptor_over_its_cap_is_refused(fake: FakeControlPlane, device: Device) -> None:
    fake.faults["descriptor"] = [say(b"x" * ((16 << 20) + 1))] * 100
    with device.running():
        outcome = fake.outcome(fake.offer(bundles.release("1.0.0")))
    assert outcome.phase is Phase.FAILED
    assert "16777216 at most" in (outcome.error or "")


def test_an_archive_longer_than_announced_is_refused(fake: FakeControlPlane, device: Device) -> None:
    bundle = bundles.release("1.0.0")
    with device.running():
        outcome = fake.outcome(fake.offer(bundle, size_bytes=len(bundle.archive) - 1))
    assert outcome.phase is Phase.FAILED
    assert f"it has {len(bundle.archive)} bytes" in (outcome.error or "")


def test_an_archive_that_cannot_fit_is_not_begun(fake: FakeControlPlane, device: Device) -> None:
    with device.running():
        outcome = fake.outcome(fake.offer(bundles.release("1.0.0"), size_bytes=10 << 30 << 10))
    assert outcome.phase is Phase.FAILED
    assert (outcome.error or "").startswith("cannot download")
    assert fake.ranges() == []
