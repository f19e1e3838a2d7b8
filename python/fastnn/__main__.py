"""`python -m fastnn` is the command `fastnn`."""

import sys

from fastnn.cli import main

sys.exit(main())
