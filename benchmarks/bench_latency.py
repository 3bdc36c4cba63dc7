"""What do the source's users feel while a copy runs?  (`transfer bench latency`)"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from transfer.cli.app import main

main(["bench", "latency", *sys.argv[1:]])
