"""How long does it take to get everything into a file?  (`transfer bench export`)"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from transfer.cli.app import main

main(["bench", "export", *sys.argv[1:]])
