# Runs a user's script: gets batches of records or groups, and sends back batches of pairs.
#
#   header   kind u8, flags u8, zero u16, count u32, keys u32, values u32   (little-endian)
#   payload  sizes of groups (R only): count * u32; then `keys` bytes, then `values` bytes
#
# A block of texts has newlines between them; where one of them holds a newline itself, the block
# begins with the texts' sizes in bytes. What a script prints goes to standard error.

import itertools
import json
import linecache
import os
import struct
import sys
import traceback
import types

HEADER = struct.Struct("<BBHIII")
KEYS_SIZED, VALUES_SIZED, CONTINUES, MORE = 1, 2, 4, 8
MOST_PAIRS = 16384
# Characters of a record that an error shows, with what is needed to see that there are more.
MOST_SHOWN = 101


class Fault(Exception):
    """What a script has done wrong without raising an exception."""


class Pipe:
    """The two ends that the worker holds; the script has neither, nor has a process that it forks."""

    def __init__(self):
        self.process = os.getpid()
        # A forked process that comes back from the script's function writes here, and closes it when it ends.
        self.back, self.forks = os.pipe()
        self.input = os.fdopen(os.dup(0), "rb", 1 << 16)
        self.output = os.fdopen(os.dup(1), "wb", 0)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        sys.stdout.reconfigure(line_buffering=True)
        os.register_at_fork(after_in_child=self.leave)

    def leave(self):
        """In a forked process: the pipes are not its own."""
        os.close(self.input.fileno())
        os.close(self.output.fileno())

    def stay_alone(self):
        """A forked process that has come back from the script's function would say again what its parent says."""
        if os.getpid() != self.process:
            os.write(self.forks, b"x")
            os._exit(1)

    def check_alone(self):
        """Waits for the end of all processes that were forked, and sees whether one came back."""
        ended = sys.modules.get("multiprocessing.util")
        if ended is not None:
            ended._exit_function()
        os.close(self.forks)
        if os.read(self.back, 1):
            raise Fault(
                "a process that the script forked came back from its function: end it with os._exit, "
                "or start programs with subprocess"
            )

    def read(self, size):
        self.stay_alone()
        data = self.input.read(size)
        if len(data) < size:
            # The worker is gone: nobody wants the rest.
            os._exit(1)
        return data

    def send(self, kind, flags=0, count=0, keys=b"", values=b""):
        self.stay_alone()
        data = memoryview(HEADER.pack(ord(kind), flags, 0, count, len(keys), len(values)) + keys + values)
        while data:
            data = data[self.output.write(data):]


def texts(count, sized, data):
    if not count:
        return []
    if not sized:
        return data.decode().split("\n")
    found, at = [], 4 * count
    for size in struct.unpack_from("<%dI" % count, data):
        found.append(data[at:at + size].decode())
        at += size + 1
    return found


def block(items):
    text = "\n".join(items)
    if text.count("\n") == len(items) - 1:
        return False, text.encode()
    parts = [item.encode() for item in items]
    return True, struct.pack("<%dI" % len(parts), *map(len, parts)) + b"\n".join(parts)


def clean(text):
    """The text with what can't be written as UTF-8 as Python shows it."""
    return text.encode("utf-8", "backslashreplace").decode()


class Frame:
    def __init__(self, pipe, flags, count, keys, values):
        self.sizes = struct.unpack("<%dI" % count, pipe.read(4 * count)) if pipe.grouped else None
        self.keys = texts(count, flags & KEYS_SIZED, pipe.read(keys))
        number = sum(self.sizes) if pipe.grouped else count
        self.values = texts(number, flags & VALUES_SIZED, pipe.read(values))
        self.continues = bool(flags & CONTINUES)
        self.more = bool(flags & MORE)


class Script:
    def __init__(self, pipe):
        self.pipe = pipe
        self.pairs = []
        self.counts = {}
        self.batch = 0
        self.record = None

    def load(self, role, name, source):
        self.name, self.role = name, role
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        module = types.ModuleType("script")
        sys.modules["script"] = module
        module.__file__ = name
        module.counter = self.count
        exec(compile(source, name, "exec", dont_inherit=True), module.__dict__)
        # A combine function is a reduce function.
        wanted = "map" if role == "map" else "reduce"
        self.function = module.__dict__.get(wanted)
        if not callable(self.function):
            raise Fault("the script has no function `%s`" % wanted)
        self.teardown = module.__dict__.get("teardown", lambda: None)
        module.__dict__.get("setup", lambda: None)()

    def count(self, group, name, n=1):
        place = (clean(str(group)), clean(str(name)))
        # A counter has 64 bits.
        self.counts[place] = max(-(1 << 63), min(self.counts.get(place, 0) + int(n), (1 << 63) - 1))

    def frames(self):
        while True:
            kind, flags, _, count, keys, values = HEADER.unpack(self.pipe.read(HEADER.size))
            if kind == ord("E"):
                return
            if kind == ord("S"):
                self.flush()
                self.pipe.send("S")
                continue
            self.batch += 1
            yield Frame(self.pipe, flags, count, keys, values)

    def take(self, result):
        """Takes what the function has returned: it may be more than fits in memory."""
        if result is None:
            return
        pairs = self.pairs
        try:
            result = iter(result)
        except TypeError:
            raise self.wrong(result) from None
        pairs.extend(itertools.islice(result, MOST_PAIRS))
        while len(pairs) >= MOST_PAIRS:
            self.flush()
            pairs.extend(itertools.islice(result, MOST_PAIRS))

    def map(self):
        function, take = self.function, self.take
        for frame in self.frames():
            left = iter(frame.values)
            try:
                for key, value in zip(frame.keys, left):
                    take(function(key, value))
            except BaseException:
                self.record = len(frame.values) - left.__length_hint__() - 1
                self.excerpt = frame.values[self.record][:MOST_SHOWN]
                raise
            self.flush()

    def map_carefully(self):
        """Maps each record by itself, and goes on without those at which the function fails."""
        pairs = self.pairs
        for frame in self.frames():
            for number, (key, value) in enumerate(zip(frame.keys, frame.values)):
                before = len(pairs)
                try:
                    pairs.extend(self.checked(self.function(key, value)))
                except Exception as error:
                    del pairs[before:]
                    report = {"message": self.message(error), "permanent": False, "key": key}
                    report.update(batch=self.batch, record=number)
                    # What was emitted and counted before keeps its place.
                    self.pipe.send("K", keys=json.dumps(report).encode(), values=value.encode())
                if len(pairs) >= MOST_PAIRS:
                    self.flush()
            self.flush()

    def checked(self, result):
        """The pairs of one record as texts, so that what is wrong with one is said at once."""
        if result is None:
            return
        try:
            result = iter(result)
        except TypeError:
            raise self.wrong(result) from None
        for pair in result:
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise self.wrong(pair)
            texts = tuple(item if isinstance(item, str) else self.text(item) for item in pair)
            for text in texts:
                if not text.isascii():
                    text.encode()
            yield texts

    def reduce(self):
        frames = self.frames()
        frame = next(frames, None)
        while frame is not None:
            last = len(frame.keys) - 1
            rest = None
            at = 0
            for number, (key, size) in enumerate(zip(frame.keys, frame.sizes)):
                values = frame.values[at:at + size]
                at += size
                if number == 0 and frame.continues:
                    continue
                if number == last and frame.more:
                    rest = Rest(frames, values)
                    self.take(self.function(key, rest.all()))
                else:
                    self.take(self.function(key, iter(values)))
            self.flush()
            frame = next(frames, None) if rest is None else rest.end()

    def wrong(self, given):
        given = repr(given)
        given = given if len(given) <= 100 else given[:100] + "…"
        return Fault("`%s` has to yield pairs (key, value), not %s" % (self.function.__name__, given))

    def text(self, item):
        if isinstance(item, str):
            return item
        try:
            return json.dumps(item, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError):
            given = repr(item)[:100]
            raise Fault("a key or value is a text, a number or another JSON value, not %s" % given) from None

    def block(self, items):
        """A block of the items, by the fastest way that is right for them."""
        kinds = set(map(type, items))
        if kinds == {int}:
            # `yield word, 1` most often.
            same = items.count(items[0]) == len(items)
            items = [str(items[0])] * len(items) if same else list(map(str, items))
        elif kinds != {str}:
            items = list(map(self.text, items))
        return block(items)

    def flush(self):
        pairs = self.pairs
        if pairs:
            try:
                right = set(map(type, pairs)) <= {tuple, list}
                keys = [key for key, _ in pairs]
            except (TypeError, ValueError):
                right = False
            if not right:
                for pair in pairs:
                    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                        raise self.wrong(pair)
            values = [pair[1] for pair in pairs]
            count = len(pairs)
            pairs.clear()
            try:
                keys_sized, keys = self.block(keys)
                values_sized, values = self.block(values)
            except UnicodeEncodeError as error:
                raise Fault("a key or value can't be written as UTF-8: %r" % error.object[:100]) from None
            flags = KEYS_SIZED * keys_sized + VALUES_SIZED * values_sized
            self.pipe.send("P", flags, count, keys, values)
        if self.counts:
            counts = [[group, name, n] for (group, name), n in self.counts.items()]
            self.counts.clear()
            self.pipe.send("C", values=json.dumps(counts).encode())

    def explain(self, error):
        """The exception as its author wants to see it: without the frames of this file."""
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename != self.name:
            trace = trace.tb_next
        return clean("".join(traceback.format_exception(type(error), error, trace)).rstrip())

    def message(self, error):
        if isinstance(error, Fault):
            return clean(str(error))
        lines = traceback.format_exception_only(type(error), error)
        if isinstance(error, SyntaxError):
            # Before it there is the place in the source, after it notes.
            lines = [line for line in lines if line.startswith(type(error).__name__)] or lines
        return clean("".join(lines).strip().splitlines()[0])

    def fail(self, error):
        if isinstance(error, Fault):
            report = {"message": self.message(error), "permanent": True}
        else:
            report = {
                "message": self.message(error),
                "traceback": self.explain(error),
                "permanent": isinstance(error, SyntaxError),
            }
        if self.record is not None:
            report.update(batch=self.batch, record=self.record, excerpt=self.excerpt)
        sys.stdout.flush()
        self.pipe.send("X", values=json.dumps(report).encode())


class Rest:
    """The values of a group that goes on in the next frames."""

    def __init__(self, frames, values):
        self.frames, self.values, self.frame, self.open = frames, values, None, True

    def all(self):
        yield from self.values
        while self.open:
            self.advance()
            yield from self.values

    def advance(self):
        frame = self.frame = next(self.frames)
        self.values = frame.values[:frame.sizes[0]]
        self.open = frame.more and len(frame.sizes) == 1

    def end(self):
        while self.open:
            self.advance()
        return self.frame


def main():
    pipe = Pipe()
    kind, careful, _, _, keys, values = HEADER.unpack(pipe.read(HEADER.size))
    role, name = pipe.read(keys).decode().split("\n")
    source = pipe.read(values).decode()
    pipe.grouped = role != "map"
    script = Script(pipe)
    try:
        script.load(role, name, source)
        if pipe.grouped:
            script.reduce()
        elif careful:
            script.map_carefully()
        else:
            script.map()
        # What it emits goes where the last function's pairs went.
        script.take(script.teardown())
        script.flush()
        sys.stdout.flush()
        pipe.check_alone()
        pipe.send("E")
    except BaseException as error:
        if os.getpid() != pipe.process and isinstance(error, SystemExit):
            # What a forked process does to end, where it should call os._exit.
            os._exit(error.code if isinstance(error.code, int) else error.code is not None)
        script.fail(error)
        sys.exit(1)


main()
