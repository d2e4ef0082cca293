"""The table of contents: what is done in each phase of `kernex.domain.install`."""

from kernex.agent.install.commit import commit
from kernex.agent.install.download import download
from kernex.agent.install.probe import probe
from kernex.agent.install.stage import stage
from kernex.agent.install.step import Step
from kernex.agent.install.switch import activate, restore
from kernex.agent.install.verify import verify
from kernex.domain.install import Phase

STEPS: dict[Phase, Step] = {
    Phase.DOWNLOADING: download,
    Phase.VERIFYING: verify,
    Phase.STAGING: stage,
    Phase.ACTIVATING: activate,
    Phase.PROBING: probe,
    Phase.COMMITTING: commit,
    Phase.RESTORING: restore,
}
