"""Does the cost grow with the number of keys, and nothing else?  (`transfer bench growth`)"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from transfer.cli.app import main

main(["bench", "growth", *sys.argv[1:]])
