"""Ways out, as a table. Each is a program that says ESCAPED when it got out, and the weakest level that holds it.

`holds` is `Level.NONE` for what is contained without any sandbox: the agent ends all that a script started, and
hands it neither its environment nor its descriptors. `Level.RESTRICTED` is meant with an agent that is root, so
that an app has a user of its own. A machine may hold more than the table says (`depends`), never less.
"""

import os
from dataclasses import dataclass

from kernex.agent.settings import Level

#: Before every program. `outside` says where things are that it must not reach.
PRELUDE = """
import ctypes, errno, glob, json, os, resource, signal, socket, stat, subprocess, sys, time
outside = json.loads(sys.argv[1])
data = os.environ["KERNEX_DATA"]
libc = ctypes.CDLL(None, use_errno=True)

def escaped(what):
    print("ESCAPED", what, flush=True)

def attempt(what, action, *arguments):
    try:
        action(*arguments)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return
    escaped(what)

def call(what, number, *arguments):
    if libc.syscall(number, *arguments) >= 0:
        escaped(what)

def reads(path):
    try:
        with open(path, "rb") as file:
            if outside["canary"].encode() in file.read(1 << 20):
                escaped(path)
    except OSError:
        pass
"""


@dataclass(frozen=True, slots=True)
class Probe:
    """`timeout_s` is for programs that do not end by themselves."""

    name: str
    program: str
    holds: Level = Level.BUBBLEWRAP
    depends: bool = False
    timeout_s: float = 20.0


#: Seconds that `sleep` is told, for this process of the suite alone: how to find what outlived its script.
SURVIVOR = f"{86_000 + os.getpid() / 10_000_000:.7f}"

PROBES = [
    Probe(
        "a secret in the environment of any process that it sees",
        "[reads(path) for path in glob.glob('/proc/[0-9]*/environ')]",
        Level.RESTRICTED,
    ),
    Probe(
        "a variable of the agent",
        "any(outside['canary'] in value for value in os.environ.values()) and escaped('environment')",
        Level.NONE,
    ),
    Probe(
        "an inherited descriptor",
        """
        for fd in range(3, 256):
            try:
                os.fstat(fd)
            except OSError:
                continue
            escaped(fd)
        """,
        Level.NONE,
    ),
    Probe(
        "a session of its own",
        f"subprocess.Popen(['sleep', '{SURVIVOR}'], start_new_session=True)",
        Level.NONE,
    ),
    Probe(
        "a double fork without an environment, and no ear for SIGTERM",
        f"""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.closerange(0, 256)
                os.execve("/bin/sleep", ["sleep", "{SURVIVOR}"], {{}})
            os._exit(0)
        time.sleep(600)
        """,
        Level.NONE,
        timeout_s=0.5,
    ),
    Probe(
        "a fork bomb",
        """
        children = []
        try:
            for _ in range(200):
                child = os.fork()
                if child == 0:
                    time.sleep(60)
                    os._exit(0)
                children.append(child)
        except OSError:
            pass
        if len(children) == 200:
            escaped(len(children))
        for child in children:
            os.kill(child, signal.SIGKILL)
        """,
        Level.RESTRICTED,
    ),
    Probe(
        "one file that fills the disk",
        """
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        def fill():
            with open(data + "/large", "wb") as file:
                for _ in range(16):
                    file.write(bytes(1 << 20))
        attempt("16 MiB", fill)
        os.unlink(data + "/large")
        """,
        Level.RESTRICTED,
    ),
    Probe(
        "memory filled through /tmp and /dev/shm",
        """
        def fill(top):
            mine = []
            try:
                for number in range(4):
                    mine.append(f"{top}/kernex-probe-{os.getpid()}-{number}")
                    with open(mine[-1], "wb") as file:
                        for _ in range(4):
                            file.write(bytes(1 << 20))
            finally:
                for path in mine:
                    os.unlink(path)
        attempt("/tmp", fill, "/tmp")
        attempt("/dev/shm", fill, "/dev/shm")
        """,
    ),
    Probe(
        "ptrace of the agent",
        """
        SEIZE = 0x4206
        libc.ptrace(SEIZE, outside["agent"], 0, 0) == 0 and escaped("ptrace")
        """,
        Level.RESTRICTED,
    ),
    Probe(
        "the agent's memory",
        "attempt('mem', open, f\"/proc/{outside['agent']}/mem\", 'r+b')",
        Level.RESTRICTED,
    ),
    Probe("a signal to the agent", "attempt('kill', os.kill, outside['agent'], 0)", Level.RESTRICTED),
    Probe("a signal to another app", "attempt('kill', os.kill, outside['other'], 0)", Level.RESTRICTED),
    Probe("a look at who else runs", "os.path.exists(f\"/proc/{outside['agent']}\") and escaped('/proc')"),
    Probe(
        "the device's key, journal and settings",
        "[reads(outside['state'] + '/' + name) for name in ('identity.key', 'state.db', 'agent.toml')]",
        Level.RESTRICTED,
    ),
    Probe("another app's data", "reads(outside['secret'])", Level.RESTRICTED),
    Probe(
        "a change of its own release",
        """
        release = os.environ["KERNEX_RELEASE"]
        attempt("create", open, release + "/new", "w")
        attempt("change", open, release + "/manifest.json", "r+")
        attempt("mode", os.chmod, release + "/manifest.json", 0o666)
        attempt("rename", os.rename, release + "/manifest.json", data + "/taken")
        """,
        Level.RESTRICTED,
    ),
    Probe(
        "a file outside of data/",
        """
        mine = {data, os.environ["TMPDIR"]}
        for top in ("/", "/usr", "/etc", "/var/tmp", "/work", "/root", outside["state"], outside["open"]):
            name = f"{top}/kernex-probe-{os.getpid()}"
            attempt(top, open, name, "w")
            os.path.exists(name) and os.unlink(name)
        """,
    ),
    Probe(
        "a link out of data/",
        """
        for name in ("identity.key", "state.db"):
            link = data + "/" + name
            os.path.lexists(link) or os.symlink(outside["state"] + "/" + name, link)
            reads(link)
            attempt("write", open, link, "r+")
        os.path.lexists(data + "/up") or os.symlink("../..", data + "/up")
        reads(data + "/up/other/data/secret")
        """,
        Level.RESTRICTED,
    ),
    Probe(
        "the network",
        """
        attempt("tcp", socket.create_connection, ("127.0.0.1", outside["port"]), 2)
        len(socket.if_nameindex()) > 1 and escaped("interfaces")
        """,
    ),
    Probe(
        "an abstract socket",
        """
        with socket.socket(socket.AF_UNIX) as end:
            attempt("connect", end.connect, "\\0" + outside["abstract"])
        """,
    ),
    Probe(
        "a socket that everybody may use, like that of a container engine",
        """
        with socket.socket(socket.AF_UNIX) as end:
            attempt("connect", end.connect, outside["socket"])
        """,
    ),
    Probe(
        "shared memory of others",
        "libc.shmget(outside['shared'], 0, 0) >= 0 and escaped('shmget')",
    ),
    Probe(
        "a mount",
        """
        os.makedirs(data + "/mount", exist_ok=True)
        if libc.mount(b"none", (data + "/mount").encode(), b"tmpfs", 0, None) == 0:
            escaped("mount")
            libc.umount(data.encode() + b"/mount")
        """,
        Level.RESTRICTED,
    ),
    Probe(
        "a device node",
        """
        attempt("mknod", os.mknod, data + "/disk", stat.S_IFBLK | 0o666, os.makedev(7, 0))
        os.path.exists(data + "/disk") and os.unlink(data + "/disk")
        """,
        Level.RESTRICTED,
    ),
    Probe("another root", "attempt('chroot', os.chroot, data)", Level.RESTRICTED),
    Probe(
        "a program with the setuid bit",
        """
        seen = subprocess.run([data + "/planted", "-u"], capture_output=True, text=True).stdout.strip()
        seen == "0" and escaped("root")
        """,
        Level.RESTRICTED,
    ),
    Probe(
        "a user namespace, and with it all capabilities",
        """
        for words in (["unshare", "-Ur", "true"], ["unshare", "-Urm", "true"]):
            attempt(words[1], lambda: subprocess.run(words, check=True, capture_output=True))
        """,
        depends=True,
    ),
    Probe(
        "the machine's memory, log and ports",
        "[attempt(name, open, name, 'rb') for name in ('/dev/mem', '/dev/kmsg', '/dev/port', '/proc/kcore')]",
        Level.RESTRICTED,
        depends=True,
    ),
    Probe(
        "a key in the kernel's keyrings",
        """
        KEYCTL = {"x86_64": 250}.get(os.uname().machine, 219)
        call("keyring", KEYCTL, 0, -3, 1)
        """,
    ),
    Probe(
        "a switch of the kernel",
        """
        for name in ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger",
                     "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/power/state"):
            attempt(name, open, name, "r+b", 0)
        """,
        Level.RESTRICTED,
    ),
    Probe(
        "a core dump",
        """
        attempt("raise", resource.setrlimit, resource.RLIMIT_CORE, (1 << 20, 1 << 20))
        resource.getrlimit(resource.RLIMIT_CORE) == (0, 0) or escaped("core")
        """,
        Level.RESTRICTED,
    ),
    Probe(
        "higher bounds",
        """
        for bound in (resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE):
            _, most = resource.getrlimit(bound)
            attempt(bound, resource.setrlimit, bound, (most + 1 if most > 0 else most,) * 2)
        """,
        Level.RESTRICTED,
    ),
    Probe(
        "the processors for itself alone",
        "attempt('realtime', os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1))",
        Level.RESTRICTED,
        depends=True,
    ),
    Probe("the terminal of whoever started the agent", "attempt('tty', open, '/dev/tty', 'r+b', 0)", Level.NONE),
    Probe(
        "output without end",
        """
        while True:
            os.write(1, bytes(1 << 16))
        """,
        Level.NONE,
        timeout_s=1.0,
    ),
]
