"""`python -m nodeagent node SPEC`: a worker node, started by ServerShell and by nobody else."""

import sys

from nodeagent.main import node

if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "node":
        sys.stderr.write("usage: python -m nodeagent node SPEC (started by ServerShell)\n")
        sys.exit(64)
    sys.exit(node.main(sys.argv[2]))
