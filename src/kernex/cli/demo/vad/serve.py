"""The workload: listens for ever (to the same clip: the demo has no microphone) and keeps its score.

What it writes below KERNEX_DATA outlives the release that wrote it.
"""

import json
import os
import time
from pathlib import Path

import vad

HERE = Path(__file__).parent
PAUSE_S = 5.0

model = vad.load(HERE / "model.onnx")
samples = vad.read(HERE / "speech.wav")
score = Path(os.environ["KERNEX_DATA"], "score.json")
inferences = 0
while True:
    share, frames = vad.speech(model, samples)
    inferences += frames
    new = score.with_suffix(".new")
    new.write_text(json.dumps({"speech": round(share, 4), "inferences": inferences}))
    new.replace(score)
    time.sleep(PAUSE_S)
