"""``kernex-agent enroll``, put together."""

from kernex.agent import facts, identity, settings
from kernex.agent.control_plane import ControlPlane
from kernex.agent.keys import Key
from kernex.agent.state import StateDirectory


def enroll(state: StateDirectory, url: str, enrolment_key: str | None, device_type: str | None) -> str:
    """Make the device known; what to tell the person who asked for it."""
    state.prepare()
    with state.lock():
        control_plane = ControlPlane(url, settings.load(state.settings))
        try:
            enrolment, admission = identity.enrol(
                state,
                Key(state.key, state.mark),
                control_plane,
                url=url,
                enrolment_key=enrolment_key,
                device_type=device_type,
                facts=facts.gather(state.root),
            )
        finally:
            control_plane.close()
    lines = [f"device       {enrolment.device_id}", f"fingerprint  {enrolment.thumbprint}"]
    match admission.status:
        case "pending":
            lines.append(f"status       pending; an operator has to run: kernex device approve {enrolment.device_id}")
        case "":
            lines.append("status       known already")
        case status:
            lines.append(f"status       {status}")
    return "\n".join(lines) + "\n"
