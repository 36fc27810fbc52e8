"""``python -m dlpack_model.fuzz``: the command ``dlpack-model fuzz``."""

import sys

from dlpack_model.fuzz.command import main

sys.exit(main())
