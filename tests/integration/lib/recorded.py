"""Recorded conversations: the files of captures/ (see the README there), and how a reply of ours is
held against a recorded one."""
import json
import lzma
import os
import re

from lib import codes, dialect, messages, remoting

FOLDER = os.path.join(os.path.dirname(os.path.dirname(__file__)), "captures")

# Places whose values depend on the clock, on the machine, or on the run.
PLACES = ("version", "indexLastUpdatePhyoffset", "indexLastUpdateTimestamp", "physicOffset",
          "physicSize")
TIMES = re.compile(r"\.(timestamp|lastUpdateTimestamp|lastTimestamp|counter|consumeTps)$")


def load(name):
    with lzma.open(os.path.join(FOLDER, name + ".jsonl.xz"), "rt", encoding="utf-8") as rows:
        return [json.loads(row) for row in rows]


def body_of(row):
    body = row["b"].encode() if "b" in row else bytes.fromhex(row.get("x", ""))
    return body + b"\0" * (row.get("n", len(body)) - len(body))


def without_places(value):
    """An element of a list, but what depends on the run; that it is there counts."""
    if not isinstance(value, dict):
        return value
    return {name: "there" if name in PLACES else item for name, item in value.items()}


def frame(row, fields=None, body=None, opaque=None):
    """The bytes of a recorded frame: Java writes the members of a header in alphabetical order."""
    header = {"code": row["c"]}
    fields = row.get("e") if fields is None else fields
    if fields is not None:
        header["extFields"] = fields
    header.update({"flag": row.get("f", 0), "language": row.get("l", "JAVA"),
                   "opaque": row["o"] if opaque is None else opaque})
    if "r" in row:
        header["remark"] = row["r"]
    header.update({"serializeTypeCurrentRPC": "JSON", "version": row.get("v", 409)})
    return remoting.pack(json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode(),
                         body_of(row) if body is None else body)


class Comparison:
    """What differs between the replies of a recording and ours."""

    decisions = []  # (request code, place in the reply, reason)
    needed = set()  # of these

    def __init__(self):
        self.differences = []

    # What a recorded value is here; a file says what it maps.

    def left_out(self, text):
        """Of something that a file does not replay."""
        return False

    def to_recorded(self, text):
        return text

    def learn(self, recorded_id, our_id):
        pass

    def our_id(self, recorded_id):
        return recorded_id

    def differ(self, row, place, recorded, ours):
        for decision in self.decisions:
            if decision[0] == row["c"] and re.fullmatch(decision[1], place):
                self.needed.add(decision)
                return
        self.differences.append(f"request {row['c']} {row.get('e')}: {place}: recorded "
                                f"{recorded!r}, ours {ours!r}")

    def compare(self, asked, row, ours):
        if ours.code != row["c"]:
            self.differ(asked, "code", row["c"], ours.code)
            return
        if ours.serialize != row.get("S", 0) and row["c"] == 0 and asked["c"] != codes.PULL:
            self.differ(asked, "serialization", row.get("S", 0), ours.serialize)
        self.compare_fields(asked, row, ours)
        self.compare_body(asked, row, ours)

    def compare_fields(self, asked, row, ours):
        recorded, found = row.get("e") or {}, ours.fields or {}
        if row.get("S", 0) == 0 and ours.serialize == 0 and \
                (row.get("e") is None) != (ours.fields is None):
            self.differ(asked, "extFields", row.get("e"), ours.fields)
        for name in sorted(set(recorded) | set(found)):
            theirs, mine = recorded.get(name), found.get(name)
            if name == "msgId" and theirs and mine:
                their_ids, my_ids = theirs.split(","), mine.split(",")
                if len(their_ids) != len(my_ids):
                    self.differ(asked, "extFields.msgId", theirs, mine)
                for their_id, my_id in zip(their_ids, my_ids):
                    self.learn(their_id, my_id)
            elif name in PLACES and theirs and mine:
                continue
            elif theirs != mine:
                self.differ(asked, f"extFields.{name}", theirs, mine)

    def compare_body(self, asked, row, ours):
        if asked["c"] in (codes.PULL, codes.VIEW_MESSAGE, codes.QUERY_MESSAGE):
            self.compare_messages(asked, row, ours)
            return
        if "n" in row or asked["c"] in (codes.GET_CONFIG, codes.GET_NAMESRV_CONFIG):
            return  # not recorded whole, since it named paths of that machine
        theirs = body_of(row)
        if not theirs or not ours.body:
            if theirs or ours.body:
                self.differ(asked, "body", theirs, ours.body)
            return
        mine = self.to_recorded(ours.body.decode())
        self.compare_trees(asked, "body", dialect.loads(self.to_recorded(theirs.decode())),
                           dialect.loads(mine))

    def compare_trees(self, asked, place, theirs, mine):
        if type(theirs) is not type(mine):
            self.differ(asked, place, theirs, mine)
        elif isinstance(theirs, dict):
            for name in sorted(set(theirs) | set(mine), key=repr):
                if self.left_out(repr(name)):
                    continue
                if name not in theirs or name not in mine:
                    self.differ(asked, f"{place}.{name}", theirs.get(name), mine.get(name))
                else:
                    self.compare_trees(asked, f"{place}.{name}", theirs[name], mine[name])
        elif isinstance(theirs, list):
            # sets, all of them: the order is nobody's
            a, b = ([without_places(x) for x in items if not self.left_out(repr(x))]
                    for items in (theirs, mine))
            for item in [x for x in a if x not in b]:
                self.differ(asked, f"{place}[]", item, None)
            for item in [x for x in b if x not in a]:
                self.differ(asked, f"{place}[]", None, item)
        elif theirs != mine and not TIMES.search(place):
            self.differ(asked, place, theirs, mine)

    def compare_messages(self, asked, row, ours):
        mine = messages.decode_all(ours.body)
        if "n" in row:
            return
        data, theirs, at = body_of(row), [], 0
        while at < len(data):
            theirs.append(messages.decode(data, at))
            at += theirs[-1].size
        if len(theirs) != len(mine):
            self.differ(asked, "messages", len(theirs), len(mine))
        for number, (a, b) in enumerate(zip(theirs, mine)):
            self.learn(a.offset_id, b.offset_id)
            for name in ("topic", "queue_id", "queue_offset", "flag", "sys_flag", "body",
                         "born_time", "reconsume_times", "prepared_offset"):
                if getattr(a, name) != getattr(b, name):
                    self.differ(asked, f"message[{number}].{name}", getattr(a, name),
                                getattr(b, name))
            b.properties.pop(messages.CRC_NAME, None)  # ours
            if "ORIGIN_MESSAGE_ID" in a.properties:
                a.properties["ORIGIN_MESSAGE_ID"] = self.our_id(
                    a.properties["ORIGIN_MESSAGE_ID"])
            for name in sorted(set(a.properties) | set(b.properties)):
                if a.properties.get(name) != b.properties.get(name):
                    self.differ(asked, f"message[{number}].properties.{name}",
                                a.properties.get(name), b.properties.get(name))
