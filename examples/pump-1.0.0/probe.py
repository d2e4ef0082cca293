"""Does the model tell worn pumps from good ones on readings whose answer is known? Prints what Kernex expects."""

import csv
import json
from pathlib import Path

here = Path(__file__).parent
model = json.loads((here / "model.json").read_text())
with (here / "readings.csv").open() as file:
    readings = list(csv.DictReader(file))


def looks_worn(reading: dict[str, str]) -> bool:
    features = (float(reading["celsius"]), float(reading["vibration_mm_s"]))
    score = sum(weight * feature for weight, feature in zip(model["weights"], features, strict=True)) + model["bias"]
    return bool(score > 0)


right = sum(looks_worn(reading) == (reading["worn"] == "1") for reading in readings)
print(json.dumps({"ok": True, "metrics": {"accuracy": right / len(readings)}}))
