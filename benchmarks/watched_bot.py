"""``python -m bot`` against the wire double, with its event loop watched."""

import sys

from benchmarks.stalls import watch_next_loop
from tests.e2e.launch_bot import main

if __name__ == "__main__":
    watch_next_loop()
    sys.exit(main(*sys.argv[1:]))
