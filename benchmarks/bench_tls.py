"""What does TLS on both sides cost?  (`transfer bench tls`)"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from transfer.cli.app import main

main(["bench", "tls", *sys.argv[1:]])
