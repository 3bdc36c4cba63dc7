"""What do 5 and 50 ms between us and both servers cost?  (`transfer bench round_trip`)"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from transfer.cli.app import main

main(["bench", "round_trip", *sys.argv[1:]])
