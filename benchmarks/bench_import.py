"""How long does it take to get a file into an empty server?  (`transfer bench import`)"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from transfer.cli.app import main

main(["bench", "import", *sys.argv[1:]])
