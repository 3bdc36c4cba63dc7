"""Fill a server as the benchmarks do, the same for the same seed.

python benchmarks/generate_data.py redis://127.0.0.1:6379 [--keys 1000000] [--seed 1] [--values mixed|small|BYTES]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parent.parent))

from transfer.bench.data import DEFAULT_KEYS, fill
from transfer.wire.url import parse_address


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--keys", type=int, default=DEFAULT_KEYS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--values", default="mixed", help="mixed, small, or a number of bytes")
    asked = parser.parse_args(argv)
    address = parse_address(asked.url)
    seconds = anyio.run(fill, address, asked.keys, asked.seed, asked.values)
    print(f"{asked.keys:,} keys ({asked.values}, seed {asked.seed}) into {address} in {seconds:.1f} s")


if __name__ == "__main__":
    main()
