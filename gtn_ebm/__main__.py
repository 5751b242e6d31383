"""``python -m gtn_ebm``: the command ``gtn-ebm``."""

import sys

from gtn_ebm.cli import main

if __name__ == "__main__":
    sys.exit(main())
