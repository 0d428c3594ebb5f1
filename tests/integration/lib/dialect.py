"""The JSON dialect of RocketMQ's bodies and files: integers and objects may be map keys.

Keys come back as what they were: str, int, or ObjectKey. So a test sees whether a map was written in
the form that Java tools can read.
"""
import json


class ObjectKey(tuple):
    """An object used as a key: its members as sorted (name, value) pairs."""

    def __new__(cls, members):
        return super().__new__(cls, sorted(members.items()))

    def __getitem__(self, name):
        return dict(self)[name] if isinstance(name, str) else super().__getitem__(name)


class BadText(ValueError):
    pass


_SPACE = " \t\r\n"
_DEPTH_MAX = 64


class _Parser:
    def __init__(self, text):
        self.text, self.at = text, 0

    def fail(self, what):
        raise BadText(f"{what} at {self.at}: {self.text[max(0, self.at - 20):self.at + 20]!r}")

    def space(self):
        while self.at < len(self.text) and self.text[self.at] in _SPACE:
            self.at += 1

    def peek(self):
        self.space()
        return self.text[self.at] if self.at < len(self.text) else ""

    def expect(self, character):
        if self.peek() != character:
            self.fail(f"{character!r} expected")
        self.at += 1

    def scalar(self):
        try:
            value, self.at = json.JSONDecoder().raw_decode(self.text, self.at)
        except ValueError as error:
            self.fail(str(error))
        return value

    def key(self, depth):
        character = self.peek()
        if character == "{":
            return ObjectKey(self.object(depth + 1))
        if character == '"':
            return self.scalar()
        if character in "-0123456789" and character:
            value = self.scalar()
            if isinstance(value, int):
                return value
        return self.fail("a key expected")

    def object(self, depth):
        if depth > _DEPTH_MAX:
            self.fail("too deep")
        self.expect("{")
        found = {}
        if self.peek() == "}":
            self.at += 1
            return found
        while True:
            key = self.key(depth)
            if key in found:
                self.fail(f"key {key!r} occurs twice")
            self.expect(":")
            found[key] = self.value(depth)
            if self.peek() == "}":
                self.at += 1
                return found
            self.expect(",")

    def array(self, depth):
        if depth > _DEPTH_MAX:
            self.fail("too deep")
        self.expect("[")
        found = []
        if self.peek() == "]":
            self.at += 1
            return found
        while True:
            found.append(self.value(depth))
            if self.peek() == "]":
                self.at += 1
                return found
            self.expect(",")

    def value(self, depth=0):
        character = self.peek()
        if character == "{":
            return self.object(depth + 1)
        if character == "[":
            return self.array(depth + 1)
        if not character:
            self.fail("a value expected")
        return self.scalar()


def loads(text):
    if isinstance(text, (bytes, bytearray)):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            raise BadText(f"no UTF-8: {error}") from None
    parser = _Parser(text)
    value = parser.value()
    if parser.peek():
        parser.fail("more text after the value")
    return value


def dumps(value):
    """The dialect as fastjson writes it: no white space, keys in the order given."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{_key(k)}:{dumps(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(dumps(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _key(key):
    if isinstance(key, ObjectKey):
        return dumps(dict(key))
    return str(key) if isinstance(key, int) else json.dumps(key, ensure_ascii=False)


def mq(topic, queue_id, broker_name="broker-a"):
    return ObjectKey({"brokerName": broker_name, "queueId": queue_id, "topic": topic})
