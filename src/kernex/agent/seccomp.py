"""The system calls that nothing inside the sandbox may make, as a filter for ``bwrap --seccomp``.

What is left out here needs no capability, crosses namespaces or has often been the way out of one: keyrings
(the agent's session keyring is inherited), the kernel's log, mounts, new namespaces (an unprivileged one gives
back the capabilities that were taken), bpf, perf, userfaultfd, io_uring. Container engines refuse the same.

A filter is a classic BPF program over ``struct seccomp_data`` (seccomp(2)).
"""

import errno
import platform
import struct

#: Name: its number on x86_64, and on the machines that share the generic table.
_REFUSED = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "delete_module": (176, 106),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pivot_root": (155, 41),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setns": (308, 268),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "userfaultfd": (323, 282),
}
_CLONE, _UNSHARE, _CLONE3 = (56, 220), (272, 97), 435
_NEW_NAMESPACE = 0x7E020000  # CLONE_NEW* of <linux/sched.h>, but for the next
_NEW_TIME = 0x80  # CLONE_NEWTIME: only unshare takes it, clone has a signal there

#: Machine: its AUDIT_ARCH, and which column of numbers it has.
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1), "riscv64": (0xC00000F3, 1)}
_X32 = 0x40000000  # x86_64 has every call twice; the other table begins here

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16  # offsets; all machines above are little-endian
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000


def program(machine: str | None = None) -> bytes | None:
    """The filter for this machine, or None for one whose numbers are not known here.

    Programs of another machine (32-bit ones) get ENOSYS for every call. So does clone3, whose flags lie where
    a filter cannot look; C libraries then use clone.
    """
    machine = machine or platform.machine()
    if machine not in _MACHINES:
        return None
    audit, column = _MACHINES[machine]
    refuse, unknown = (_RETURN, 0, 0, _ERROR | errno.EPERM), (_RETURN, 0, 0, _ERROR | errno.ENOSYS)
    steps = [(_LOAD, 0, 0, _MACHINE), (_EQUAL, 1, 0, audit), unknown, (_LOAD, 0, 0, _NUMBER)]
    if machine == "x86_64":
        steps += [(_AT_LEAST, 0, 1, _X32), unknown]
    for numbers in _REFUSED.values():
        steps += [(_EQUAL, 0, 1, numbers[column]), refuse]
    steps += [(_EQUAL, 0, 1, _CLONE3), unknown]
    for numbers, flags in ((_CLONE, _NEW_NAMESPACE), (_UNSHARE, _NEW_NAMESPACE | _NEW_TIME)):
        steps += [(_EQUAL, 0, 3, numbers[column]), (_LOAD, 0, 0, _FIRST_ARGUMENT), (_ANY_BIT, 0, 2, flags), refuse]
        steps += [(_LOAD, 0, 0, _NUMBER)]
    steps += [(_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("<HBBI", *step) for step in steps)
