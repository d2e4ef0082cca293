"""What would be a model: an answer, and the time that it takes."""

import time


def answer() -> str:
    time.sleep(0.01)
    return "hello"
