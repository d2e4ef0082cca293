"""The probe: asks what was delivered and says what it measured. The threshold is the manifest's."""

import json
import time

import model

times = []
for _ in range(20):
    started = time.perf_counter()
    right = model.answer() == "hello"
    times.append((time.perf_counter() - started) * 1000)
    if not right:
        break
print(json.dumps({"ok": right, "metrics": {"p95_ms": round(sorted(times)[int(len(times) * 0.95) - 1], 1)}}))
