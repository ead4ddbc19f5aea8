"""`python -m tests.hsm_shim build/libhsm_shim.so` builds the module at that path and prints where it is."""

import sys
from pathlib import Path

from tests.hsm_shim import build

if len(sys.argv) != 2:
    sys.exit("usage: python -m tests.hsm_shim PATH-OF-THE-LIBRARY")
print(build(Path(sys.argv[1])))
