"""The workload: says hello to a file once a second. What lies in KERNEX_DATA outlives the release."""

import os
import time
from pathlib import Path

greeting = Path(os.environ["KERNEX_DATA"], "hello")
while True:
    greeting.write_text(f"hello from {os.environ['KERNEX_VERSION']}\n")
    time.sleep(1)
