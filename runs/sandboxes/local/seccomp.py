"""A filter of system calls for the local sandbox, in the spirit of Docker's default one: no new namespaces, no mounts.

It is handed to bubblewrap as a program for the kernel's classic BPF machine (seccomp(2), linux/filter.h).
"""

from __future__ import annotations

import errno
import platform
import struct
import sys

# Instructions: load a word of the call's data, jump on equal, jump on any bit set, return.
_LOAD, _EQUAL, _BITS, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER_AT, _ARCH_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000

# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET; NEWTIME, which is also a part of a signal number,
# only where unshare takes it.
_NAMESPACES = 0x7E020000
_NEWTIME = 0x80
_AF_PACKET, _AF_VSOCK = 17, 40

# (audit architecture, numbers); x86_64 has a second table of calls, x32, from bit 30 on.
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000

_CALLS: dict[str, tuple[int, int]] = {  # name: (x86_64, aarch64)
    "unshare": (272, 97),
    "clone": (56, 220),
    "clone3": (435, 435),
    "socket": (41, 198),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "open_by_handle_at": (304, 265),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
}
# Programs fall back to the older call when these say that they do not exist.
_ABSENT = ("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register")


def program() -> bytes:
    """Return the filter for this machine, or b"" for an architecture whose numbers are not known here."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES or sys.byteorder != "little" or struct.calcsize("P") != 8:
        return b""
    column = list(_ARCHITECTURES).index(machine)
    numbers = {name: columns[column] for name, columns in _CALLS.items()}
    absent = _return(_ERRNO | errno.ENOSYS)
    denied = _return(_ERRNO | errno.EPERM)
    steps = [
        _step(_LOAD, _ARCH_AT),
        # Another architecture's numbers mean other calls.
        _step(_EQUAL, _ARCHITECTURES[machine], 1, 0),
        absent,
        _step(_LOAD, _NUMBER_AT),
    ]
    if machine == "x86_64":
        steps += [_step(_BITS, _X32_BIT, 0, 1), absent]
    for name in _ABSENT:
        steps += [_step(_EQUAL, numbers.pop(name), 0, 1), absent]
    for name, bits in (("clone", _NAMESPACES), ("unshare", _NAMESPACES | _NEWTIME)):
        steps += [
            _step(_EQUAL, numbers.pop(name), 0, 4),
            _step(_LOAD, _FIRST_ARGUMENT_AT),
            _step(_BITS, bits, 0, 1),
            denied,
            _return(_ALLOW),
        ]
    steps += [
        _step(_EQUAL, numbers.pop("socket"), 0, 5),
        _step(_LOAD, _FIRST_ARGUMENT_AT),
        _step(_EQUAL, _AF_PACKET, 1, 0),
        _step(_EQUAL, _AF_VSOCK, 0, 1),
        denied,
        _return(_ALLOW),
    ]
    for number in numbers.values():
        steps += [_step(_EQUAL, number, 0, 1), denied]
    steps.append(_return(_ALLOW))
    return b"".join(steps)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)


def _return(value: int) -> bytes:
    return _step(_RETURN, value)
