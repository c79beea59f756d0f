"""Play the golden run and print its rows as CSV: python quickstart_small.py FOLDER (for the text it trains on)."""

import sys
from pathlib import Path

from acesim.engine import simulate
from acesim.scenario import Scenario
from acesim.study import Order, prepare

SCENARIO = {
    "name": "quickstart-small", "seeds": [0], "stop": {"epochs": 1},
    "task": {"kind": "language-model", "steps_per_epoch": 12, "scored_characters": 2000,
             "model": {"layers": 1, "d_model": 16, "heads": 2, "context": 16},
             "optimizer": {"learning_rate": 0.02, "warm_up": "4 rounds"}},
    "nominal": {"model": "transformer-350m", "tokens_per_step": {"cloud": "64 x 768", "edge": "8 x 768"}},
    "workers": [
        {"name": "cloud", "count": 2, "device": "a100", "access": {"kind": "datacenter"}},
        {"name": "xavier", "count": 3, "device": "jetson-agx-xavier",
         "access": {"kind": "lte", "downlink": "5-200 Mbps", "uplink": "5-200 Mbps", "rtt": "10-300 ms"}},
        {"name": "cpu", "count": 3, "device": "n100",
         "access": {"kind": "fixed", "downlink": "5-200 Mbps", "uplink": "5-200 Mbps", "rtt": "10-300 ms"}}],
    "network": {"regions": 2},
    "policies": ["full-sync", {"name": "top-k", "ratio": 0.3}, {"name": "fedavg", "local_steps": 2}, "ace-sync"],
}
ONES = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COLUMNS = ("policy", "epoch", "round", "loss_nats", "bytes_up", "bytes_down", "region_bytes_up", "simulated_s")


def said(number):
    """Say a number below a thousand.

    >>> said(407)
    'four hundreds, no tens and seven'
    """
    hundreds, tens, ones = ONES[number // 100], ONES[number // 10 % 10], ONES[number % 10]
    return f"{hundreds} hundreds, {tens} tens and {ones}"


def write_texts(folder):
    """Write 40 documents, about 40 000 characters; each counts in steps of its own."""
    for document in range(40):
        count = range(document, 1000, 61 + document)
        lines = [f"{number} is {said(number)}, and then comes {document + 61} more.\n" for number in count]
        (folder / f"count-{document:02}.txt").write_text("".join(lines), encoding="utf-8", newline="\n")
    return str(folder / "count-*.txt")


class Sink:
    """Keeps the metric rows."""

    def __init__(self):
        self.rows = []

    def event(self, event):
        """Let an event pass."""

    def block(self, block):
        """Let many events pass."""

    def metric(self, row):
        """Keep a metric row."""
        self.rows.append(row)


def main(folder):
    """Print the golden rows."""
    page = SCENARIO | {"task": SCENARIO["task"] | {"corpus": {"files": write_texts(folder)}}}
    scenario = Scenario.model_validate(page)
    print(",".join(COLUMNS))
    for spec in scenario.policies:
        sink = Sink()
        simulate(prepare(Order(scenario, spec, 0, folder)), sink)
        for row in sink.rows:
            print(f"{spec.label},{row.epoch:g},{row.round},{row.loss_nats:.3f},{row.bytes_up},{row.bytes_down},"
                  f"{row.region_bytes_up},{row.time_s:.6g}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
