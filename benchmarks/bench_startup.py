"""How long until transfer --help is there, beside a bare Python?  (`transfer bench startup`)"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from transfer.cli.app import main

main(["bench", "startup", *sys.argv[1:]])
