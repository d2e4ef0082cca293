"""``python -m kernex.cli`` is ``kernex``."""

import sys

from kernex.cli.main import main

sys.exit(main())
