"""How long does a full two-way verify take beside the copy?  (`transfer bench verify`)"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from transfer.cli.app import main

main(["bench", "verify", *sys.argv[1:]])
