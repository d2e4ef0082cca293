"""Silero VAD on a 16 kHz clip: how much of it is speech.

The model listens as one does to a stream: a frame of samples a call, and a state handed from call to call.
"""

import wave
from pathlib import Path

import numpy as np
import onnxruntime

RATE = 16_000  # samples a second
FRAME = 512  # new samples the model takes at once
CONTEXT = 64  # samples before them that it wants to hear again
SPEECH = 0.5  # probability from which a frame counts as speech


def load(model: Path) -> onnxruntime.InferenceSession:
    """The model, on one thread: it shares the machine with others."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def read(clip: Path) -> np.ndarray:
    """The samples of a mono 16-bit WAV of that rate, each from -1 to 1."""
    with wave.open(str(clip)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768


def speech(model: onnxruntime.InferenceSession, samples: np.ndarray) -> tuple[float, int]:
    """The share of frames with speech, and how many frames there were: one inference each."""
    state = np.zeros((2, 1, 128), np.float32)
    context = np.zeros((1, CONTEXT), np.float32)
    heard = frames = 0
    for start in range(0, len(samples) - FRAME + 1, FRAME):
        window = np.concatenate([context, samples[None, start : start + FRAME]], axis=1)
        probability, state = model.run(None, {"input": window, "state": state, "sr": np.array(RATE)})
        context = window[:, -CONTEXT:]
        heard += int(probability.item() > SPEECH)
        frames += 1
    return heard / frames, frames
