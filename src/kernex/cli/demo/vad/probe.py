"""The probe: does the model that was delivered hear the speech in a clip that is speech?

It reports what it measured; the thresholds are the manifest's.
"""

import json
import time
from pathlib import Path

import vad

HERE = Path(__file__).parent

model = vad.load(HERE / "model.onnx")
samples = vad.read(HERE / "speech.wav")
started = time.perf_counter()
share, frames = vad.speech(model, samples)
elapsed_ms = (time.perf_counter() - started) * 1000
metrics = {"speech": round(share, 4), "frames": frames, "ms_per_frame": round(elapsed_ms / frames, 3)}
print(json.dumps({"ok": True, "metrics": metrics}))
