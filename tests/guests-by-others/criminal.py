"""A provider in Python that is the one of guest-sdk/python, unless its model is named after a crime."""

import os
import sys
import time

import openai
from failure import answering
from wit_world.imports import types


def endless_loop():
    while True:
        pass


def memory_bomb():
    hoard = []
    while True:
        hoard.append(bytearray(b"x") * (1 << 20))


def recursion(depth=0):
    return 1 + recursion(depth + 1)


def opens_a_file():
    with open("/etc/passwd") as file:
        return file.read()


def prints():
    print("first line")
    print("to stderr", file=sys.stderr)
    return "printed"


def throws():
    raise LookupError("a mistake of the adapter's")


CRIMES = {
    "endless-loop": endless_loop,
    "memory-bomb": memory_bomb,
    "recursion": recursion,
    "opens-a-file": opens_a_file,
    "environment": lambda: repr({name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}),
    "prints": prints,
    "sleep": lambda: time.sleep(3600),
    "exits": lambda: os._exit(3),
    "throws": throws,
}

Describe = openai.Describe


class Chat(openai.Chat):
    @answering
    def complete(self, request):
        if request.model not in CRIMES:
            return super().complete(request)
        text = str(CRIMES[request.model]())
        return types.Answer(None, None, [types.Part_Text(text)], types.FinishReason_Stop(), None, [], None)
