"""Server-sent events, from bytes that break off anywhere."""

# More than any event of a chat has.
MAX_EVENT_BYTES = 4 << 20


class Events:
    """Collects bytes, and gives the data of whole events."""

    def __init__(self):
        self.line = bytearray()
        self.data = []
        self.size = 0

    def push(self, piece):
        events = []
        lines = piece.split(b"\n")
        for line in lines[:-1]:
            self.take(line)
            self.end_line(events)
        self.take(lines[-1])
        return events

    def end(self):
        """At the end of the body: an event whose empty line is missing."""
        events = []
        self.end_line(events)
        self.end_event(events)
        return events

    def take(self, piece):
        self.size += len(piece)
        if self.size > MAX_EVENT_BYTES:
            raise ValueError("an event of the stream is too large")
        self.line += piece

    def end_line(self, events):
        line = self.line.decode("utf-8", "replace").removesuffix("\r")
        self.line.clear()
        if not line:
            self.end_event(events)
        elif line.startswith("data:"):
            self.data.append(line[5:].removeprefix(" "))

    def end_event(self, events):
        if self.data:
            events.append("\n".join(self.data))
        self.data = []
        self.size = 0
