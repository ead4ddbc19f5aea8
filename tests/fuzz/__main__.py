"""A long run: `python -m tests.fuzz [--requests 100000] [--seed N] [--json FILE]`; 1 where something is wrong."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.cli.prepared_home import make_template
from tests.fuzz.run import as_json, run
from tests.fuzz.served_hosts import two_hosts

MEGABYTE = 1e6


def main() -> None:
    """Make the hosts, ask, and say what was seen."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        home = make_template(Path(directory) / "authority")
        groups = run(two_hosts(home, Path(directory)), options.requests, options.seed)
    seen = as_json(groups)
    if options.json is not None:
        options.json.write_text(json.dumps(seen, indent=2, ensure_ascii=False))
    for group in seen:
        statuses = " ".join(f"{name}: {count}" for name, count in group["statuses"].items())
        print(f"{group['routes']:24} {group['requests']:7} requests   {statuses}")
        for name in group["memory"][0]:
            sizes = " ".join(f"{one[name] / MEGABYTE:7.1f}" for one in group["memory"])
            print(f"{'':24} {name:28} MB before, in the middle, after: {sizes}")
        for finding in group["findings"]:
            print(f"  FINDING {finding}")
    print(f"{sum(group['requests'] for group in seen)} requests in all")
    sys.exit(any(group["findings"] for group in seen))


if __name__ == "__main__":
    main()
