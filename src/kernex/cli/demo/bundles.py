"""The three releases of the story, laid out as directories that ``kernex bundle build`` packs."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

_SOURCE = Path(__file__).parent
NAME = "vad"


@dataclass(frozen=True, slots=True)
class Release:
    """A version of the bundle: which model it carries, and whether the wrapper hands it its context."""

    version: str
    model: str
    context: bool

    @property
    def ref(self) -> str:
        return f"{NAME}=={self.version}"

    def lay_out(self, model: Path, directory: Path) -> Path:
        """Write the files of this release into a new `directory`."""
        leave_out = shutil.ignore_patterns("__pycache__")
        shutil.copytree(_SOURCE / "vad", directory, ignore=leave_out, copy_function=shutil.copyfile)
        if self.context:
            shutil.copyfile(_SOURCE / "vad_fixed" / "vad.py", directory / "vad.py")
        shutil.copyfile(model, directory / "model.onnx")
        manifest = json.loads((directory / "manifest.json").read_text())
        manifest["version"] = self.version
        manifest["model"]["version"] = self.model
        (directory / "manifest.json").write_text(json.dumps(manifest, indent=2))
        return directory


GOOD = Release("1.0.0", model="5.1.2", context=False)
BAD = Release("2.0.0", model="6.2.3", context=False)
FIXED = Release("2.0.1", model="6.2.3", context=True)
