"""print() without WASI: its lines go to the guest's log."""

import sys

from wit_world.imports import log


class Lines:
    """A text stream whose lines are logged."""

    encoding = "utf-8"

    def __init__(self, level):
        self.level = level
        self.line = ""

    def write(self, text):
        *whole, self.line = (self.line + text).split("\n")
        for line in whole:
            log.log(self.level, line)
        return len(text)

    def flush(self):
        pass

    def isatty(self):
        return False


def into_the_log():
    """Has what is printed from here on logged. Printed to the standard streams of a component without WASI, it would end the call."""
    sys.stdout = Lines(log.Level.INFO)
    sys.stderr = Lines(log.Level.ERROR)
