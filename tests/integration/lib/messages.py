"""Messages as they are stored and pulled, batch bodies, properties, ids; and how to send and pull.

    off size                                off size
      0  4  total size                       36  4  sysFlag
      4  4  magic                            40  8  born time
      8  4  CRC-32 & 0x7FFFFFFF of the body      8|20 born host: ip, port i32
     12  4  queue id                             8  store time
     16  4  flag                                 8|20 store host
     20  8  queue offset                         4  reconsume times
     28  8  log offset                           8  prepared transaction offset
                    4 + n body, 1 + n topic, 2 + n properties
"""
import socket
import struct
import time
import zlib

from lib import codes
from lib.claims import Broken

MAGIC = 0xDAA320A7
BLANK_MAGIC = 0xCBD43194
SYS_COMPRESSED, SYS_BORN_V6, SYS_STORE_V6 = 0x1, 0x10, 0x20
CRC_NAME = "__CRC32#"
CRC_ENTRY = len(CRC_NAME) + 1 + 10 + 1


class BadRecord(ValueError):
    pass


def crc31(data):
    return zlib.crc32(data) & 0x7FFFFFFF


def java_hash(text):
    """Over UTF-16 code units, 32 bits, signed."""
    units = text.encode("utf-16-be", "surrogatepass")
    value = 0
    for at in range(0, len(units), 2):
        value = (31 * value + (units[at] << 8 | units[at + 1])) & 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value


def parse_properties(data):
    """Name to value; pairs without \\x01, with an empty name or an empty value do not exist."""
    found = {}
    for item in data.split(b"\x02"):
        name, separator, value = item.partition(b"\x01")
        if separator and name and value:
            found[name.decode("utf-8", "surrogateescape")] = value.decode("utf-8",
                                                                           "surrogateescape")
    return found


def format_properties(properties):
    return "\x02".join(f"{name}\x01{value}" for name, value in properties.items())


def crc_digits(value):
    """Ten decimal digits, the least significant first."""
    return ("%010d" % value)[::-1]


class Message:
    def __repr__(self):
        return (f"Message({self.topic}-{self.queue_id}@{self.queue_offset} at {self.log_offset} "
                f"{self.properties} {self.body[:60]!r})")

    @property
    def offset_id(self):
        return offset_id(self.store_host, self.log_offset)


def _host(data, at, v6):
    length = 16 if v6 else 4
    family = socket.AF_INET6 if v6 else socket.AF_INET
    return (socket.inet_ntop(family, data[at:at + length]),
            struct.unpack_from(">i", data, at + length)[0]), at + length + 4


def decode(data, at=0, end=None):
    """The message at `at`; BadRecord unless all its lengths and its checksums are right."""
    end = len(data) if end is None else end
    if end - at < 91:
        raise BadRecord(f"only {end - at} bytes left")
    total, magic, body_crc, queue_id, flag, queue_offset, log_offset, sys_flag, born = \
        struct.unpack_from(">iIiiiqqiq", data, at)
    if magic != MAGIC:
        raise BadRecord(f"magic {magic:#x}")
    if total < 91 or total > end - at:
        raise BadRecord(f"size {total}, {end - at} bytes left")
    end = at + total
    m = Message()
    m.size, m.body_crc, m.queue_id, m.flag = total, body_crc, queue_id, flag
    m.queue_offset, m.log_offset, m.sys_flag, m.born_time = queue_offset, log_offset, sys_flag, born
    try:
        m.born_host, cursor = _host(data, at + 48, sys_flag & SYS_BORN_V6)
        m.store_time = struct.unpack_from(">q", data, cursor)[0]
        m.store_host, cursor = _host(data, cursor + 8, sys_flag & SYS_STORE_V6)
        m.reconsume_times, m.prepared_offset, length = struct.unpack_from(">iqi", data, cursor)
        cursor += 16
        if length < 0 or length > end - cursor:
            raise BadRecord(f"body of {length} bytes")
        m.body = bytes(data[cursor:cursor + length])
        cursor += length
        length = data[cursor]
        if length > 127 or length > end - cursor - 1:
            raise BadRecord(f"topic of {length} bytes")
        m.topic = bytes(data[cursor + 1:cursor + 1 + length]).decode("utf-8", "surrogateescape")
        cursor += 1 + length
        length = struct.unpack_from(">h", data, cursor)[0]
        cursor += 2
    except (struct.error, IndexError, ValueError) as error:
        raise BadRecord(f"cut off: {error}") from None
    if length < 0 or cursor + length != end:
        raise BadRecord(f"properties of {length} bytes at {cursor}, the record ends at {end}")
    m.raw_properties = bytes(data[cursor:end])
    m.properties = parse_properties(m.raw_properties)
    if m.body_crc != crc31(m.body):
        raise BadRecord(f"CRC of the body {m.body_crc}, should be {crc31(m.body)}")
    m.whole_crc = None
    if m.raw_properties[-CRC_ENTRY:].startswith(CRC_NAME.encode() + b"\x01"):
        m.whole_crc = m.raw_properties[-11:-1].decode("ascii", "replace")
        right = crc_digits(crc31(data[at:end - CRC_ENTRY]))
        if m.whole_crc != right or m.raw_properties[-1] != 2:
            raise BadRecord(f"CRC of the record {m.raw_properties[-11:]!r}, should be {right}")
    return m


def decode_all(data):
    """Messages back to back, as in the body of a pull."""
    found, at = [], 0
    while at < len(data):
        found.append(decode(data, at))
        at += found[-1].size
    return found


def batch_item(body, properties=b"", flag=0, total=None, body_len=None, properties_len=None):
    """One message of a batch body; lengths may lie."""
    if isinstance(properties, dict):
        properties = format_properties(properties).encode()
    size = 22 + len(body) + len(properties)
    return (struct.pack(">iiiii", size if total is None else total, 0, 0, flag,
                        len(body) if body_len is None else body_len) + body +
            struct.pack(">H", len(properties) if properties_len is None else properties_len) +
            properties)


def offset_id(host, log_offset):
    family = socket.AF_INET6 if ":" in host[0] else socket.AF_INET
    return (socket.inet_pton(family, host[0]) +
            struct.pack(">iq", host[1], log_offset)).hex().upper()


def parse_offset_id(text):
    """((ip, port), log offset)"""
    data = bytes.fromhex(text)
    if len(data) not in (16, 28) or text != text.upper():
        raise Broken(f"no message id: {text}")
    v6 = len(data) == 28
    host, at = _host(data, 0, v6)
    return host, struct.unpack_from(">q", data, at)[0]


# --- requests ---

def send_fields(topic, queue_id=0, group="P", properties=None, v1=False, **more):
    """The header of a send; `more` are V1 names (sysFlag=1)."""
    fields = {"producerGroup": group, "topic": topic, "defaultTopic": "TBW102",
              "defaultTopicQueueNums": 4, "queueId": queue_id, "sysFlag": 0,
              "bornTimestamp": int(time.time() * 1000), "flag": 0,
              "properties": format_properties(properties or {}), "reconsumeTimes": 0,
              "unitMode": False, "maxReconsumeTimes": None, "batch": False}
    fields.update(more)
    if v1:
        fields.pop("batch")
        return fields
    letters = dict(zip(("producerGroup", "topic", "defaultTopic", "defaultTopicQueueNums",
                        "queueId", "sysFlag", "bornTimestamp", "flag", "properties",
                        "reconsumeTimes", "unitMode", "maxReconsumeTimes", "batch"),
                       "abcdefghijklm"))
    return {letters.get(name, name): value for name, value in fields.items()}


class Sent:
    def __init__(self, reply):
        fields = reply.fields
        self.queue_id, self.queue_offset = int(fields["queueId"]), int(fields["queueOffset"])
        self.ids = fields["msgId"].split(",")
        self.host, self.log_offset = parse_offset_id(self.ids[0])


def send(client, topic, body=b"x", queue_id=0, properties=None, expect=0, code=codes.SEND_V2,
         serialize=None, seconds=60, **more):
    """Sends one message (or the batch body of batch=True) and returns where it went."""
    fields = send_fields(topic, queue_id, properties=properties, v1=code == codes.SEND, **more)
    reply = client.call(code, fields, body, serialize=serialize, seconds=seconds)
    if reply.code != expect:
        raise Broken(f"send to {topic}: {reply}")
    return Sent(reply) if reply.code == 0 else reply


def pull_fields(topic, queue_id=0, offset=0, group="G", count=32, sys_flag=4, commit=0,
                suspend_ms=0, subscription="*", sub_version=0, **more):
    return {"consumerGroup": group, "topic": topic, "queueId": queue_id, "queueOffset": offset,
            "maxMsgNums": count, "sysFlag": sys_flag, "commitOffset": commit,
            "suspendTimeoutMillis": suspend_ms, "subscription": subscription,
            "subVersion": sub_version, "expressionType": "TAG", **more}


class Pulled:
    def __init__(self, reply):
        self.reply, self.code = reply, reply.code
        fields = reply.fields or {}
        self.next, self.min, self.max = (int(fields[n]) if n in fields else None for n in
                                         ("nextBeginOffset", "minOffset", "maxOffset"))
        self.messages = decode_all(reply.body)


def pull(client, topic, queue_id=0, offset=0, serialize=None, seconds=60, **more):
    return Pulled(client.call(codes.PULL, pull_fields(topic, queue_id, offset, **more),
                              serialize=serialize, seconds=seconds))


def pull_all(client, topic, queue_id=0, offset=0, group="G", subscription="*"):
    """Everything from `offset` on, until there is nothing new."""
    found = []
    while True:
        pulled = pull(client, topic, queue_id, offset, group=group, subscription=subscription)
        if pulled.code in (codes.PULL_NOT_FOUND, codes.PULL_MOVED):
            return found
        if pulled.code not in (codes.OK, codes.PULL_RETRY):
            raise Broken(f"pull of {topic}-{queue_id} at {offset}: {pulled.reply}")
        if pulled.next <= offset:
            raise Broken(f"nextBeginOffset {pulled.next} after a pull at {offset}")
        found += pulled.messages
        offset = pulled.next
