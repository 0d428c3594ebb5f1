"""Starting: command lines, configuration files, ports, and the store that belongs to one process."""
import os
import re
import signal
import socket
import time

from lib import admin, claims, codes, messages, process, remoting
from lib.claims import contains, equal, true, until

RUNS_SANITIZED = True

PROGRAMS = (process.BROKER, process.NAMESRV)


def write(name, text):
    path = process.new_path(name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def refused(program, *arguments, code=1):
    """What a refused configuration says, on stderr; nothing is on stdout."""
    found, out, err = process.run_program([program, *arguments])
    equal(found, code, f"exit code of {' '.join(arguments)} ({out}{err})")
    return err


def checked(program, *arguments):
    found, out, err = process.run_program([program, "--check", *arguments])
    equal(found, 0, f"exit code ({out}{err})")
    return out + err


# --- command line ---

@claims.claim
def version_and_help_are_printed_and_leave_with_0():
    for program in PROGRAMS:
        code, out, err = process.run_program([program, "--version"])
        equal((code, err), (0, ""))
        true(re.match(r"^tern-\w+ \d+\.\d+\.\d+\n$", out), out)
        for option in ("--help", "-h"):
            code, out, err = process.run_program([program, option])
            equal((code, err), (0, ""))
            for word in ("usage:", "-c", "-o", "--check", "--print-config", "--version"):
                contains(out, word)


@claims.claim
def wrong_usage_leaves_with_2_and_says_what_was_wrong():
    for program in PROGRAMS:
        for arguments, word in ((["--no-such-option"], "no-such-option"), (["-v"], "v"),
                                (["stray"], "stray"), (["--check", ""], ""), (["-c"], "c"),
                                (["-o"], "o"), (["-o", "listenPort"], "KEY=VALUE"),
                                (["--check=1"], "check"),
                                (["-c", "/dev/null", "-c", "twice"], "twice")):
            err = refused(program, *arguments, code=2)
            contains(err, word)
            contains(err, f"try: {os.path.basename(program)} --help")


@claims.claim
def both_programs_take_the_same_forms_of_options():
    path = write("form.conf", "logLevel=warn\n")
    for program in PROGRAMS:
        for arguments in (["-c", path, "-o", "listenPort=5000"], [f"-c{path}", "-olistenPort=5000"],
                          ["--config", path, "--option", "listenPort=5000"],
                          [f"--config={path}", "--option=listenPort = 5000 "]):
            code, out, err = process.run_program([program, "--print-config", *arguments])
            equal(code, 0, err)
            true(re.search(r"^# -o: .*\nlistenPort +=", out, re.M), f"{arguments}: {out}")
            true(re.search(r"^listenPort += 5000$", out, re.M), f"{arguments}")
            true(re.search(r"^logLevel += warn$", out, re.M), f"{arguments}")


# --- configuration ---

@claims.claim
def a_good_configuration_is_checked_without_starting_anything():
    store = process.new_path("store")
    for program in PROGRAMS:
        checked(program)
    checked(process.BROKER, "-o", f"storePathRootDir={store}", "--standalone")
    true(not os.path.exists(store), "a store was made")


@claims.claim
def an_unknown_key_is_refused_with_the_nearest_name_and_its_line():
    for program, wrong, right in ((process.BROKER, "flushDiskTyp", "flushDiskType"),
                                  (process.BROKER, "brokername", "brokerName"),
                                  (process.BROKER, "listenport", "listenPort"),
                                  (process.NAMESRV, "listenPrt", "listenPort")):
        path = write("unknown.conf", f"# a comment\n\n{wrong}=x\n")
        for err in (refused(program, "--check", "-c", path), refused(program, "-c", path)):
            contains(err, f"{path}:3")
            contains(err, f'"{wrong}"')
            contains(err, right)
        err = refused(program, "--check", "-o", f"{wrong}=x")
        contains(err, f'"{wrong}"')
        contains(err, right)


@claims.claim
def a_bad_value_is_refused_with_file_line_and_what_was_expected():
    for program, line, expected in (
            (process.BROKER, "listenPort=eighty", "0 to 65534"),
            (process.BROKER, "listenPort=65535", "0 to 65534"),
            (process.BROKER, "flushDiskType=FAST_FLUSH", "SYNC_FLUSH"),
            (process.BROKER, "autoCreateTopicEnable=yes", "true"),
            (process.BROKER, "bindAddress=localhost", "numeric"),
            (process.BROKER, "messageDelayLevel=1s 5x", "1s"),
            (process.BROKER, "brokerName=a/b", "letters"),
            (process.BROKER, "mappedFileSizeCommitLog=12", "4096"),
            (process.BROKER, "listenPort=99999999999999999999", "0 to 65534"),
            (process.BROKER, "namesrvAddr=127.0.0.1", "host:port"),
            (process.BROKER, "bindAddress=", "numeric"),
            (process.NAMESRV, "listenPort=-1", "0 to 65535"),
            (process.NAMESRV, "listenPort=0x10", "0 to 65535"),
            (process.NAMESRV, "listenPort=", "0 to 65535"),
            (process.NAMESRV, "orderMessageEnable=2", "true"),
            (process.NAMESRV, "bindAddress=here", "numeric")):
        path = write("bad.conf", f"# first\n{line}\n")
        err = refused(program, "--check", "-c", path)
        key, value = line.split("=")
        for part in (f"{path}:2", key, value, expected):
            contains(err, part)


@claims.claim
def a_file_that_cannot_be_read_is_refused_by_name():
    for program in PROGRAMS:
        contains(refused(program, "-c", "/no/such/file.conf"), "/no/such/file.conf")
        contains(refused(program, "-c", process.folder()), process.folder())
        pipe = process.new_path("pipe")
        os.mkfifo(pipe)
        contains(refused(program, "-c", pipe), f"{pipe}: expected a file, found a pipe")


@claims.claim
def two_kinds_of_state_do_not_share_a_file():
    contains(refused(process.NAMESRV, "--check", "-o", "kvConfigPath=/tmp/x", "-o",
                     "configStorePath=/tmp/x"), "/tmp/x")
    contains(refused(process.BROKER, "--check", "--standalone", "-o", "portFile=/tmp/x", "-o",
                     "namesrvPortFile=/tmp/x"), "/tmp/x")


@claims.claim
def a_configuration_file_may_lie_as_deep_as_the_system_allows():
    path = process.new_path("deep")
    while len(path) < 3800:
        path = os.path.join(path, "y" * 200)
    os.makedirs(path)
    path = os.path.join(path, "broker.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write("brokerPermission=6\n")
    broker = process.Broker(config=path)
    with remoting.Client(broker.port) as client:
        for value in (4, 2, 6):
            admin.expect(client.call(codes.UPDATE_CONFIG, None,
                                     f"brokerPermission={value}\n".encode()))
            with open(path, encoding="utf-8") as file:
                equal(file.read(), f"brokerPermission={value}\n")
    broker.stop()


@claims.claim
def a_key_that_is_set_twice_in_a_file_is_pointed_out():
    path = write("twice.conf", "listenPort=5000\nlogLevel=info\nlistenPort=6000\n")
    for program in PROGRAMS:
        contains(checked(program, "-c", path), f"{path}:3: listenPort is set at line 1 already")
        equal(checked(program, "-o", "listenPort=1", "-o", "listenPort=7000").count("already"), 0)


@claims.claim
def paths_may_have_spaces_and_begin_with_the_home_folder():
    home = os.path.join(process.new_path("home"), "a home")
    os.makedirs(home)
    config = os.path.join(home, "broker of mine.conf")
    with open(config, "w", encoding="utf-8") as file:
        file.write("storePathRootDir = ~/my store\n")
    broker = process.Broker(config=config, env={"HOME": home}, storePathRootDir="~/my store",
                            portFile="~/my port", ready=False)
    broker.port_files["main"] = os.path.join(home, "my port")
    broker.wait_ready()
    broker.stop()
    equal(sorted(os.listdir(home)), ["broker of mine.conf", "my port", "my store"])
    for program, key in ((process.BROKER, "storePathRootDir"), (process.NAMESRV, "kvConfigPath")):
        code, out, err = process.run_program([program, "--check", "-o", f"{key}=~/x"],
                                             env={"HOME": ""})
        equal(code, 1, out)
        contains(err, f"{key}=~/x")


@claims.claim
def an_address_for_clients_that_nobody_listens_on_is_refused_with_the_line_to_add():
    for arguments in (["-o", "brokerIP1=192.0.2.7"],
                      ["-o", "brokerIP1=192.0.2.7", "-o", "bindAddress=127.0.0.1"]):
        err = refused(process.BROKER, "--check", *arguments)
        contains(err, "brokerIP1=192.0.2.7")
        contains(err, "bindAddress=0.0.0.0")
    err = refused(process.BROKER, "--check", "-o", "brokerIP1=0.0.0.0", "-o", "bindAddress=0.0.0.0")
    contains(err, "brokerIP1=0.0.0.0")
    checked(process.BROKER, "-o", "brokerIP1=192.0.2.7", "-o", "bindAddress=0.0.0.0")
    checked(process.BROKER, "-o", "brokerIP1=127.0.0.2", "-o", "bindAddress=127.0.0.2")
    contains(refused(process.BROKER, "--check", "-o", "brokerIP1=127.0.0.2"), "bindAddress=127.0.0.2")


@claims.claim
def roles_that_do_not_exist_yet_are_refused_by_name():
    contains(refused(process.BROKER, "--check", "-o", "brokerRole=SLAVE"), "SLAVE")
    contains(refused(process.BROKER, "--check", "-o", "brokerId=1"), "brokerId")


@claims.claim
def printed_configuration_names_each_key_its_value_origin_and_meaning():
    path = write("print.conf", "brokerName = from-file\nlistenPort:4711\n"
                               "brokerClusterName=\\u0043luster\\\n  Joined\n! comment\n")
    code, out, err = process.run_program(
        [process.BROKER, "-c", path, "-o", "listenPort=1234", "-o", "regionId=one",
         "-o", "regionId=two", "-n", "127.0.0.1:9876", "--print-config"])
    equal(code, 0, err)
    lines = out.splitlines()
    values = dict(re.split(r"\s*=\s*", line, maxsplit=1) for line in lines
                  if line and not line.startswith("#"))
    equal((values["brokerName"], values["listenPort"], values["regionId"],
           values["brokerClusterName"], values["namesrvAddr"], values["flushDiskType"]),
          ("from-file", "1234", "two", "ClusterJoined", "127.0.0.1:9876", "ASYNC_FLUSH"))

    def comment(key):
        return lines[next(i for i, line in enumerate(lines)
                          if re.match(rf"{key}\s*=", line)) - 1]

    contains(comment("brokerName"), f"{path}:1")
    contains(comment("listenPort"), "-o")
    contains(comment("namesrvAddr"), "-n")
    contains(comment("flushDiskType"), "default")
    true(all(len(comment(key)) > 20 for key in values), "every key says what it means")
    again = write("again.conf", "\n".join(f"{k}={v}" for k, v in values.items()
                                          if k != "namesrvAddr" or v) + "\n")
    code, second, err = process.run_program([process.BROKER, "-c", again, "--print-config"])
    equal(code, 0, err)
    equal(dict(re.split(r"\s*=\s*", line, maxsplit=1) for line in second.splitlines()
               if line and not line.startswith("#")), values, "what was printed, read again")
    code, out, err = process.run_program([process.NAMESRV, "--print-config"])
    equal(code, 0, err)
    contains(out, "kvConfigPath")


@claims.claim
def an_existing_broker_conf_starts_and_says_once_which_keys_mean_nothing_here():
    path = write("broker.conf", "brokerClusterName = DefaultCluster\nbrokerName = broker-a\n"
                 "brokerId = 0\ndeleteWhen = 04\nfileReservedTime = 48\n"
                 "brokerRole = ASYNC_MASTER\nflushDiskType = ASYNC_FLUSH\n"
                 "useEpollNativeSelector = true\nsendMessageThreadPoolNums = 16\n")
    broker = process.Broker(config=path)
    log = broker.log()
    for key in ("useEpollNativeSelector", "sendMessageThreadPoolNums"):
        equal(sum(key in line for line in log.splitlines()), 1, f"lines about {key}")
    broker.stop()


# --- ports ---

def bound(port):
    """Nobody else can take the port."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


@claims.claim
def a_port_that_is_chosen_comes_with_the_one_two_below_and_the_one_above():
    brokers = [process.Broker(ready=False) for _ in range(5)]
    for broker in brokers:
        broker.wait_ready()
    ports = set()
    for broker in brokers:
        port = broker.port
        true(all(bound(p) for p in (port - 2, port, port + 1)), f"ports around {port}")
        ports |= {port - 2, port, port + 1}
        for p in (port, port - 2):
            with remoting.Client(p) as client:
                equal(client.call(codes.MAX_OFFSET, {"topic": "T", "queueId": 0}).code, 0)
    equal(len(ports), 15, "ports of five brokers")
    for broker in brokers:
        broker.stop()


@claims.claim
def a_port_file_is_written_whole_and_an_old_one_is_not_taken_for_it():
    broker = process.Broker()
    path = broker.port_files["main"]
    with open(path, encoding="ascii") as file:
        equal(file.read(), f"{broker.port}\n")
    equal([n for n in os.listdir(os.path.dirname(path))
           if n.startswith(os.path.basename(path)) and n != os.path.basename(path)], [])
    broker.stop()
    namesrv = process.Namesrv()
    with open(namesrv.port_files["main"], encoding="ascii") as file:
        equal(file.read(), f"{namesrv.port}\n")
    namesrv.stop()


@claims.claim
def a_port_file_that_cannot_be_written_stops_the_start_before_anything_is_touched():
    folder = process.new_path("folder")
    os.makedirs(os.path.join(folder, "inside"))
    os.symlink("/dev/null", os.path.join(folder, "link"))
    store = process.new_path("store")
    start = {process.NAMESRV: ["-o", "listenPort=0", "-o", "kvConfigPath="],
             process.BROKER: ["-o", "listenPort=0", "-o", "namesrvListenPort=0", "-o",
                              f"storePathRootDir={store}", "--standalone"]}
    for program, key in ((process.NAMESRV, "portFile"), (process.BROKER, "portFile"),
                         (process.BROKER, "namesrvPortFile")):
        for path in (folder, os.path.join(folder, "link"), os.path.join(folder, "none", "port")):
            err = refused(program, *start[program], "-o", f"{key}={path}", code=3)
            contains(err, path)
    equal(sorted(os.listdir(folder)), ["inside", "link"])
    true(not os.path.exists(store), "a store was made")


@claims.claim
def the_port_file_of_the_last_run_is_gone_when_a_start_fails():
    namesrv = process.Namesrv()
    path = write("port", "1\n")
    for program, more in ((process.NAMESRV, ["-o", "kvConfigPath="]),
                          (process.BROKER, ["-o", f"storePathRootDir={process.new_path('s')}"])):
        refused(program, "-o", f"listenPort={namesrv.port}", "-o", f"portFile={path}", *more, code=3)
        true(not os.path.exists(path), "it is still there")
        path = write("port", "1\n")
    namesrv.stop()


@claims.claim
def a_port_in_use_is_refused_by_name():
    namesrv = process.Namesrv()
    broker = process.Broker(namesrv, listenPort=process.free_port())
    err = refused(process.NAMESRV, "-o", f"listenPort={namesrv.port}", "-o", "kvConfigPath=",
                  code=3)
    contains(err, f"port {namesrv.port}")
    contains(err, "listenPort sets another port")
    err = refused(process.BROKER, "--standalone", "-o", f"namesrvListenPort={namesrv.port}", "-o",
                  "listenPort=0", "-o", f"storePathRootDir={process.new_path('store')}", code=3)
    contains(err, f"port {namesrv.port}")
    contains(err, "namesrvListenPort")
    for port in (broker.port, broker.port + 2):  # P, and P-2 of another one
        err = refused(process.BROKER, "-o", f"listenPort={port}", "-o",
                      f"storePathRootDir={process.new_path('store')}", code=3)
        contains(err, f"port {broker.port}")
        contains(err, f"listenPort={port} needs {port} and {port - 2}")
    for program, more in ((process.NAMESRV, "kvConfigPath="),
                          (process.BROKER, f"storePathRootDir={process.new_path('store')}")):
        err = refused(program, "-o", "bindAddress=192.0.2.1", "-o", "listenPort=0", "-o", more, code=3)
        contains(err, "192.0.2.1")
        contains(err, "bindAddress must be an address of this machine")
    broker.stop()
    namesrv.stop()


@claims.claim
def the_name_server_inside_can_be_told_its_port():
    for _ in range(10):  # somebody else may take it in between
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        broker = process.Broker(namesrvListenPort=port, ready=False)
        try:
            broker.wait_ready()
            break
        except AssertionError:
            contains(broker.log(), str(port))
    equal(broker.namesrv_port, port)
    with remoting.Client(port) as client:
        until(lambda: admin.route(client, "TBW102"), "the broker's registration")
    broker.stop()


@claims.claim
def standalone_needs_no_configuration_and_keeps_one_folder():
    home = process.new_path("home")
    os.makedirs(home)
    port_file = process.new_path("port")
    server = process.Server("standalone", [
        process.BROKER, "--standalone", "-o", "listenPort=0", "-o", "namesrvListenPort=0", "-o",
        f"portFile={port_file}", "-o", "mappedFileSizeCommitLog=8388608"],
        {"main": port_file}, {"HOME": home})
    server.wait_ready()
    with remoting.Client(server.ports["main"]) as client:
        messages.send(client, "Home", b"x")
    server.stop()
    equal(os.listdir(home), [".ternmq"])


# --- the store belongs to one process ---

@claims.claim
def a_store_in_use_is_refused_naming_the_process_that_holds_it():
    broker = process.Broker()
    with remoting.Client(broker.port) as client:
        messages.send(client, "Mine", b"x")
        err = refused(process.BROKER, "-o", "listenPort=0", "-o",
                      f"storePathRootDir={broker.store}", code=3)
        contains(err, str(broker.pid))
        contains(err, broker.store)
        equal(messages.send(client, "Mine", b"y").queue_offset, 1, "the holder goes on")
    broker.kill()
    again = process.Broker(store=broker.store)
    with remoting.Client(again.port) as client:
        equal(len(messages.pull_all(client, "Mine")), 2)
    again.stop()


@claims.claim
def a_store_folder_that_cannot_be_one_is_refused():
    file = write("file", "x")
    for path in (file, os.path.join(file, "below"), "/proc/nothing"):
        err = refused(process.BROKER, "-o", "listenPort=0", "-o", f"storePathRootDir={path}",
                      code=3)
        contains(err, path)


@claims.claim
def segments_of_another_size_than_configured_are_refused():
    broker = process.Broker()
    broker.stop()
    err = refused(process.BROKER, "-o", "listenPort=0", "-o", f"storePathRootDir={broker.store}",
                  "-o", "mappedFileSizeCommitLog=4194304", code=3)
    contains(err, "mappedFileSizeCommitLog")
    again = process.Broker(store=broker.store)
    again.stop()


# --- ends ---

@claims.claim
def each_stop_signal_stops_cleanly_and_repeating_it_does_no_harm():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        servers = [process.Namesrv(), process.Broker()]
        for server in servers:
            while server.running():  # an impatient operator
                server.signal(number)
                time.sleep(0.0005)
            server.wait_end(0)


@claims.claim
def a_terminal_that_is_closed_does_not_stop_what_nohup_started():
    port_file = process.new_path("port")
    namesrv = process.Server("namesrv", [
        process.NAMESRV, "-o", "listenPort=0", "-o", f"portFile={port_file}", "-o", "kvConfigPath="],
        {"main": port_file}, wrapper=["nohup"])
    namesrv.wait_ready()
    namesrv.signal(signal.SIGHUP)
    with remoting.Client(namesrv.ports["main"]) as client:
        client.round_trip()
    namesrv.stop()


@claims.claim
def what_a_program_logs_goes_nowhere_but_to_its_stderr():
    for wrapper in ('exec "$0" "$@" 2>&-', 'exec "$0" "$@" <&- >&- 2>&-'):
        namesrv = process.Server("namesrv", [
            process.NAMESRV, "-o", "listenPort=0", "-o", "kvConfigPath=", "-o", "portFile=" +
            process.new_path("port")], {}, wrapper=["bash", "-c", wrapper])
        namesrv.port_files = {"main": namesrv.command[-1].split("=")[1]}
        broker = process.Broker(wrapper=["bash", "-c", wrapper], logLevel="debug")
        for server in (namesrv.wait_ready(), broker):
            equal(os.readlink(f"/proc/{server.pid}/fd/2"), "/dev/null", server.name)
        with remoting.Client(broker.port) as client:
            equal(messages.send(client, "Quiet", b"x").queue_offset, 0)
        broker.stop()
        namesrv.stop()


@claims.claim
def a_stop_right_after_the_start_is_clean():
    for _ in range(3):
        broker = process.Broker()
        broker.stop()
        true(not os.path.exists(os.path.join(broker.store, "abort")), "abort is left")


@claims.claim
def a_stop_in_the_middle_of_a_start_does_no_harm():
    broker = process.Broker()
    with remoting.Client(broker.port) as client:
        messages.send(client, "Early", b"x")
    broker.stop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) * 3:
        early = process.Broker(store=broker.store, ready=False)
        early.signal(number)
        early.process.wait(60)
        early.wait_end(0 if early.process.returncode == 0 else -number)
    again = process.Broker(store=broker.store)
    true(not any(level in again.log() for level in (" WARN ", " ERROR ")), again.log())
    with remoting.Client(again.port) as client:
        equal([m.body for m in messages.pull_all(client, "Early")], [b"x"])
    again.stop()


@claims.claim
def idle_clients_do_not_hold_up_a_stop():
    broker = process.Broker()
    clients = [remoting.Client(broker.port) for _ in range(20)]
    for client in clients:
        client.send(codes.PULL, messages.pull_fields("BenchmarkTest", sys_flag=6,
                                                     suspend_ms=600000))
        client.round_trip()
    broker.stop()
    for client in clients:
        client.wait_closed()
        client.close()


# --- the name server's table of keys ---

@claims.claim
def keys_survive_the_name_server_and_its_hard_end():
    path = process.new_path("keys.json")
    namesrv = process.Namesrv(kvConfigPath=path)
    fields = {"namespace": "ORDER_TOPIC_CONFIG", "key": "T", "value": "broker-a:4"}
    for end in ("stop", "kill"):
        with remoting.Client(namesrv.port) as client:
            admin.expect(client.call(codes.PUT_KV, {**fields, "key": end}))
        getattr(namesrv, end)()
        namesrv = process.Namesrv(kvConfigPath=path)
        with remoting.Client(namesrv.port) as client:
            reply = client.call(codes.GET_KV, {**fields, "key": end})
            equal((reply.code, reply.fields), (0, {"value": "broker-a:4"}), end)
            admin.expect(client.call(codes.DELETE_KV, {**fields, "key": end}))
    namesrv.kill()
    namesrv = process.Namesrv(kvConfigPath=path)
    with remoting.Client(namesrv.port) as client:
        equal(client.call(codes.GET_KV, {**fields, "key": "kill"}).code, codes.NOT_FOUND)
    namesrv.stop()
    broken = write("broken.json", '{"configTable":')
    contains(refused(process.NAMESRV, "-o", "listenPort=0", "-o", f"kvConfigPath={broken}",
                     code=3), broken)


@claims.claim
def order_topics_reach_the_broker_and_the_routes():
    namesrv = process.Namesrv(orderMessageEnable=True)
    broker = process.Broker(namesrv)
    with remoting.Client(namesrv.port) as client, remoting.Client(broker.port) as main:
        admin.make_topic(main, "Order", 4)
        admin.make_topic(main, "Another", 1)
        admin.expect(client.call(codes.PUT_KV, {"namespace": "ORDER_TOPIC_CONFIG", "key": "Order",
                                                "value": "broker-a:4"}))
        found = until(lambda: admin.route(client, "Order"), "a route")
        equal(found["orderTopicConf"], "broker-a:4")
    broker.stop()
    broker = process.Broker(namesrv, store=broker.store)  # hears of it when it registers
    with remoting.Client(broker.port) as main:
        def order():
            body = main.call(codes.ALL_TOPICS).body
            return b'"Order":{"order":true' in body and b'"Another":{"order":false' in body

        until(order, "the broker to take the order topics over")
    broker.stop()
    namesrv.stop()


claims.run()
