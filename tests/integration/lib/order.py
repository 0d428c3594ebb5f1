"""ternctl promote, drain and demote, as given by somebody who knows who lives."""
import re

from lib import process
from lib.claims import until

# What it says when it has ordered nothing because answers are missing.
_ORDERED_NOTHING = re.compile(
    r"^ternctl: (no name server at|no member of \S+ answers|no other member of \S+ answers|"
    r"(member|broker) \S+ of \S+ does not answer|\d+ promises are needed|\S+ has no (master|slave))", re.M)


def met_a_slow_one(code, said, stand_still=()):
    """It ordered nothing, and somebody left it without an answer for the 5 s that it waits, who is none of
    those that stand still: who lives counts as dead when it has not run for so long."""
    silent = set(re.findall(r"at (\S+) \(no answer within 5 s\)", said)) - set(stand_still)
    return code != 0 and bool(silent) and bool(_ORDERED_NOTHING.search(said))


def give(command, stand_still=(), seconds=120):
    """Exit code, stdout and stderr; given again while it meets a slow one."""
    def given():
        code, out, err = process.run_program(command, seconds)
        return None if met_a_slow_one(code, out + err, stand_still) else (code, out, err)

    return until(given, f"all who live answer to {' '.join(command)}")
