"""`python -m jaxmed.cli`."""

import sys

from jaxmed.cli import main

sys.exit(main())
