"""`python -m agent_runner`: the program from source."""

import sys

from agent_runner.cli import main

sys.exit(main(sys.argv[1:]))
