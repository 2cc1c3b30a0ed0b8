"""The frozen program's first line. Kept empty of logic: it lives in the executable, the rest in files beside it."""

import sys

from agent_runner.cli import main

sys.exit(main(sys.argv[1:]))
