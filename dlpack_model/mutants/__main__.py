"""``python -m dlpack_model.mutants``: score the faulty parties."""

import sys

from dlpack_model.mutants.scoring import main

sys.exit(main())
