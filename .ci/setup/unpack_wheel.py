"""unpack_wheel.py WHEEL DEST: unzip, keeping the files' modes (python3 -m zipfile drops them)."""

import os
import sys
import zipfile

wheel, dest = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for entry in archive.infolist():
        path = archive.extract(entry, dest)
        mode = entry.external_attr >> 16
        if mode and not entry.is_dir():
            os.chmod(path, mode & 0o777)
