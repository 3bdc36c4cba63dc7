"""How long does a copy take beside the peers, and what does it cost both servers?  (`transfer bench copy`)"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from transfer.cli.app import main

main(["bench", "copy", *sys.argv[1:]])
