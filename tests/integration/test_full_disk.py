"""A full disk refuses sends with a clear status; pulls and offsets go on; sends resume by themselves."""
import os

from lib import admin, claims, codes, hosts, messages, process, remoting
from lib.claims import claim, contains, equal, true, until

# The broker sees a small disk of its own; the test reaches it through /proc/PID/root.
DISK = 48 << 20


def broker_on_small_disk(folder, **settings):
    os.makedirs(folder, exist_ok=True)
    mount = f'mount -t tmpfs -o size={DISK} none "{folder}" && exec "$@"'
    return process.Broker(store=os.path.join(folder, "store"),
                          wrapper=["unshare", "-m", "--", "sh", "-c", mount, "sh"],
                          mappedFileSizeCommitLog=4 << 20, maxMessageSize=200000,
                          cleanFileForciblyEnable=False, diskSpaceWarningLevelRatio=100, **settings)


def fill(root):
    """Takes the rest of the disk."""
    path = os.path.join(root, "filler")
    hosts.fill(path)
    return path


def run(flush):
    folder = process.new_path("disk")
    broker = broker_on_small_disk(folder, flushDiskType=flush)
    root = f"/proc/{broker.pid}/root{folder}"
    body = b"x" * 100000
    acked = []
    with remoting.Client(broker.port) as c:
        admin.make_topic(c, "Full", 1)
        acked.append(messages.send(c, "Full", body).queue_offset)
        for _ in range(2):
            filler = fill(root)

            def refused():
                reply = c.call(codes.SEND_V2, messages.send_fields("Full"), body)
                if reply.code == 0:
                    acked.append(int(reply.fields["queueOffset"]))
                    return None
                return reply

            reply = until(refused, "a send to be refused")
            equal(reply.code, 14, "code of the refusal")
            contains(reply.remark, "disk", "remark")
            # The others go on.
            found = messages.pull(c, "Full", offset=0, count=1)
            equal(found.code, 0, "a pull on a full disk")
            admin.commit_offset(c, "G", "Full", 0, 1)
            equal(admin.query_offset(c, "G", "Full"), 1, "an offset on a full disk")
            equal(admin.max_offset(c, "Full"), len(acked), "messages")
            equal(c.call(codes.RUNTIME_INFO).code, 0, "runtime info on a full disk")
            os.unlink(filler)

            def accepted():
                reply = c.call(codes.SEND_V2, messages.send_fields("Full"), body)
                if reply.code != 0:
                    equal(reply.code, 14, "code while there is no room")
                    return False
                acked.append(int(reply.fields["queueOffset"]))
                return True

            until(accepted, "sends to resume by themselves")
        equal(acked, list(range(len(acked))), "queue offsets of what was acknowledged")
        equal(admin.max_offset(c, "Full"), len(acked), "messages")
    true("room for log segments again" in broker.log(), "no line says that there is room again")
    broker.stop()


@claim
def a_full_disk_refuses_sends_until_there_is_room_async():
    run("ASYNC_FLUSH")


@claim
def a_full_disk_refuses_sends_until_there_is_room_sync():
    run("SYNC_FLUSH")


if __name__ == "__main__":
    claims.run()
