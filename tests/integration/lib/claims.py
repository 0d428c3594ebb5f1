"""A test is a claim: a function whose name says what must hold.

A file registers its claims in order (@claim, or add() for the rows of a table) and ends with
run(). Each has one result; a claim that returns is kept, one that raises is broken. All servers
that a file started are stopped at the end, and how they ended is one more result: exit code 0, no
report of a sanitizer. The last line is "N passed, N failed".
"""
import os
import sys
import time
import traceback

from lib import process

_claims = []


class Broken(AssertionError):
    """A claim that does not hold, in words."""


def claim(function):
    _claims.append((function.__name__, function))
    return function


def add(name, function):
    _claims.append((name, function))


def equal(found, expected, what=""):
    if found != expected:
        raise Broken(f"{what or 'value'}: found {found!r}, expected {expected!r}")


def true(condition, what):
    if not condition:
        raise Broken(what)


def contains(text, part, what=""):
    if part not in text:
        raise Broken(f"{what or 'text'}: {part!r} is not in {text!r}")


def until(condition, what, seconds=60):
    """Polls a condition; its first true value is returned. The deadline is for hangs only."""
    end = time.monotonic() + seconds
    pause = 0.002
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Broken(f"not within {seconds} s: {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def _attempt(name, function, verbose):
    started, servers = time.monotonic(), process.count()
    try:
        function()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a claim must not take the others with it
        print(f"BROKEN {name} ({time.monotonic() - started:.1f} s)")
        if isinstance(error, Broken):
            frames = traceback.extract_tb(error.__traceback__)
            where = [f for f in frames if os.sep + "lib" + os.sep not in f.filename]
            for frame in where[-3:]:
                print(f"    {os.path.basename(frame.filename)}:{frame.lineno}: {frame.line}")
            print(f"    {error}")
        else:
            print("    " + traceback.format_exc().rstrip().replace("\n", "\n    "))
        process.print_logs(since=servers)
        return False
    if verbose:
        print(f"kept   {name} ({time.monotonic() - started:.2f} s)", flush=True)
    return True


def run():
    """Runs the claims whose name holds one of the words on the command line, or all."""
    if not process.BUILD:
        sys.exit("TERN_BUILD is not set: name a meson build folder")
    words = [w for w in sys.argv[1:] if not w.startswith("-")]
    verbose = "-v" in sys.argv[1:] or os.environ.get("TERN_TEST_VERBOSE")
    passed = failed = 0
    try:
        for name, function in _claims:
            if words and not any(w in name for w in words):
                continue
            if _attempt(name, function, verbose):
                passed += 1
            else:
                failed += 1
        if _attempt("all_processes_end_cleanly", process.stop_all, verbose):
            passed += 1
        else:
            failed += 1
            process.print_logs()
    finally:
        process.clean_up()
    print(f"{passed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed else 0)
