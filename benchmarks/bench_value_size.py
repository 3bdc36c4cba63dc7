"""What does the size of values do, at constant total bytes?  (`transfer bench value_size`)"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from transfer.cli.app import main

main(["bench", "value_size", *sys.argv[1:]])
