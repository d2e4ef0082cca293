/* Crash points: a library to preload into an agent.
 *
 * It counts the calls of the C library that change files below one directory (SQLite's and Python's go through
 * the same functions), and at the point it is armed for ends the process group, cuts the power of a loop mount,
 * or lets every such call fail from there on. It can also take promises away from the file system, for the
 * negative controls. Unarmed it only passes calls on.
 *
 * cc -shared -fPIC -O2 -o shim.so shim.c
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#define FS_SHUTDOWN _IOR('X', 125, uint32_t) /* FS_IOC_SHUTDOWN of ext4, GOINGDOWN of XFS */
#define NO_LOG_FLUSH 2u
#define LOOP_MAJOR 7

enum action { TRACE, KILL, POWER_CUT, NO_SPACE, IO_ERROR }; /* as in points.py */
enum weakness { NO_FILE_SYNC = 1, NO_DIRECTORY_SYNC = 2, NO_WAL_SYNC = 4, SPLIT_SWAP = 8 };

static struct {
    pid_t process;
    enum action action;
    long at; /* counted from 1 */
    int after;
    unsigned weaknesses;
    int mount, note;
    dev_t device;
    char root[PATH_MAX];
    size_t root_length;
} plan = {.mount = -1, .note = -1};

static atomic_long passed;

/* Arm this process. `mount` and `device` are of the loop mount whose power may be cut, -1 and 0 without one;
 * `note` is a descriptor that is told where it happened. */
void crash_arm(const char *root, int action, long at, int after, unsigned weaknesses, int mount, uint64_t device,
               int note) {
    plan.root_length = strlen(root);
    if (plan.root_length >= sizeof plan.root)
        _exit(125);
    memcpy(plan.root, root, plan.root_length + 1);
    plan.action = (enum action)action;
    plan.at = at;
    plan.after = after;
    plan.weaknesses = weaknesses;
    plan.mount = mount;
    plan.device = (dev_t)device;
    plan.note = note;
    atomic_store(&passed, 0);
    plan.process = getpid();
}

long crash_points(void) { return atomic_load(&passed); }

/* --- Where */

static int below_root(const char *path) {
    return strncmp(path, plan.root, plan.root_length) == 0 &&
           (path[plan.root_length] == '/' || path[plan.root_length] == '\0');
}

static int of_descriptor(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0)
        return 0;
    path[length] = '\0';
    return 1;
}

/* The absolute form of `name`, not following links. */
static int of_name(int directory, const char *name, char *path) {
    if (name[0] == '/')
        return snprintf(path, PATH_MAX, "%s", name) < PATH_MAX;
    if (directory == AT_FDCWD ? getcwd(path, PATH_MAX) == NULL : !of_descriptor(directory, path))
        return 0;
    size_t length = strlen(path);
    return snprintf(path + length, PATH_MAX - length, "/%s", name) < (int)(PATH_MAX - length);
}

static int watching(void) { return plan.process != 0 && getpid() == plan.process; }

/* --- What happens at the point */

static void tell(long number, const char *call, const char *path) {
    char line[PATH_MAX + 128];
    const char *shown = strlen(path) > plan.root_length ? path + plan.root_length + 1 : ".";
    int length = snprintf(line, sizeof line, "%ld %s %s\n", number, call, shown);
    syscall(SYS_write, plan.note, line, (size_t)length);
}

/* The last guard of three: only a loop device, only the one that was named, and never that of /. */
static void cut_power(void) {
    struct stat mount, root;
    uint32_t flags = NO_LOG_FLUSH;
    if (fstat(plan.mount, &mount) != 0 || stat("/", &root) != 0 || mount.st_dev != plan.device ||
        mount.st_dev == root.st_dev || major(mount.st_dev) != LOOP_MAJOR ||
        syscall(SYS_ioctl, plan.mount, FS_SHUTDOWN, &flags) != 0)
        _exit(126);
}

static void strike(void) {
    if (plan.action == POWER_CUT)
        cut_power();
    syscall(SYS_kill, 0, SIGKILL);
    for (;;)
        syscall(SYS_pause);
}

static int deadly(void) { return plan.action == KILL || plan.action == POWER_CUT; }

/* Count a call on `path`: its number, or minus the errno that it has to fail with. `grows`: may need space. */
static long enter(const char *call, const char *path, int grows) {
    long number = atomic_fetch_add(&passed, 1) + 1;
    int here = number == plan.at;
    if (here || plan.action == TRACE)
        tell(number, call, path);
    if (here && deadly() && !plan.after)
        strike();
    if (plan.action == NO_SPACE && number >= plan.at && grows)
        return -ENOSPC;
    if (plan.action == IO_ERROR && number >= plan.at)
        return -EIO;
    return number;
}

static void leave(long number) {
    int kept = errno;
    if (number == plan.at && deadly() && plan.after)
        strike();
    errno = kept;
}

/* --- The calls */

#define REAL(result, call, ...)                                                                                        \
    static result (*real)(__VA_ARGS__);                                                                                \
    if (real == NULL)                                                                                                  \
    real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #call)

/* Pass `arguments` on, as a point if `located`, an expression that fills `path`, lies below the root. */
#define POINT(result, call, grows, located, arguments)                                                                 \
    char path[PATH_MAX];                                                                                               \
    if (!watching() || !(located) || !below_root(path))                                                                \
        return real arguments;                                                                                         \
    long number = enter(#call, path, grows);                                                                           \
    if (number < 0) {                                                                                                  \
        errno = (int)-number;                                                                                          \
        return -1;                                                                                                     \
    }                                                                                                                  \
    result value = real arguments;                                                                                     \
    leave(number);                                                                                                     \
    return value

#define ON_FD(result, call, grows, parameters, arguments)                                                              \
    result call parameters {                                                                                           \
        REAL(result, call, PARAMETERS parameters);                                                                     \
        POINT(result, call, grows, of_descriptor(fd, path), arguments);                                                \
    }
#define ON_NAME(call, grows, directory, name, parameters, arguments)                                                   \
    int call parameters {                                                                                              \
        REAL(int, call, PARAMETERS parameters);                                                                        \
        POINT(int, call, grows, of_name(directory, name, path), arguments);                                            \
    }
#define PARAMETERS(...) __VA_ARGS__

ON_FD(ssize_t, write, 1, (int fd, const void *data, size_t size), (fd, data, size))
ON_FD(ssize_t, pwrite, 1, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
ON_FD(ssize_t, pwrite64, 1, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
ON_FD(ssize_t, writev, 1, (int fd, const struct iovec *pieces, int count), (fd, pieces, count))
ON_FD(ssize_t, pwritev, 1, (int fd, const struct iovec *pieces, int count, off_t at), (fd, pieces, count, at))
ON_FD(int, ftruncate, 1, (int fd, off_t size), (fd, size))
ON_FD(int, ftruncate64, 1, (int fd, off64_t size), (fd, size))
ON_FD(int, fallocate, 1, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
ON_FD(int, fallocate64, 1, (int fd, int mode, off64_t at, off64_t size), (fd, mode, at, size))
ON_FD(int, fchmod, 0, (int fd, mode_t mode), (fd, mode))
ON_FD(int, syncfs, 0, (int fd), (fd))
ON_FD(int, sync_file_range, 0, (int fd, off64_t at, off64_t size, unsigned flags), (fd, at, size, flags))

ON_NAME(mkdir, 1, AT_FDCWD, name, (const char *name, mode_t mode), (name, mode))
ON_NAME(mkdirat, 1, fd, name, (int fd, const char *name, mode_t mode), (fd, name, mode))
ON_NAME(rmdir, 0, AT_FDCWD, name, (const char *name), (name))
ON_NAME(unlink, 0, AT_FDCWD, name, (const char *name), (name))
ON_NAME(unlinkat, 0, fd, name, (int fd, const char *name, int flags), (fd, name, flags))
ON_NAME(symlink, 1, AT_FDCWD, name, (const char *target, const char *name), (target, name))
ON_NAME(symlinkat, 1, fd, name, (const char *target, int fd, const char *name), (target, fd, name))
ON_NAME(link, 1, AT_FDCWD, name, (const char *old, const char *name), (old, name))
ON_NAME(linkat, 1, fd, name, (int from, const char *old, int fd, const char *name, int flags),
        (from, old, fd, name, flags))
ON_NAME(chmod, 0, AT_FDCWD, name, (const char *name, mode_t mode), (name, mode))
ON_NAME(fchmodat, 0, fd, name, (int fd, const char *name, mode_t mode, int flags), (fd, name, mode, flags))
ON_NAME(truncate, 1, AT_FDCWD, name, (const char *name, off_t size), (name, size))
ON_NAME(truncate64, 1, AT_FDCWD, name, (const char *name, off64_t size), (name, size))

/* --- posix_fallocate returns its error */

#define ALLOCATE(call, offset)                                                                                         \
    int call(int fd, offset at, offset size) {                                                                         \
        REAL(int, call, int, offset, offset);                                                                          \
        char path[PATH_MAX];                                                                                           \
        if (!watching() || !of_descriptor(fd, path) || !below_root(path))                                              \
            return real(fd, at, size);                                                                                 \
        long number = enter(#call, path, 1);                                                                           \
        if (number < 0)                                                                                                \
            return (int)-number;                                                                                       \
        int value = real(fd, at, size);                                                                                \
        leave(number);                                                                                                 \
        return value;                                                                                                  \
    }
ALLOCATE(posix_fallocate, off_t)
ALLOCATE(posix_fallocate64, off64_t)

/* --- Opening is a point when it may create or empty a file */

#define OPEN(call, directory, parameters, arguments)                                                                   \
    int call parameters {                                                                                              \
        REAL(int, call, PARAMETERS parameters);                                                                        \
        mode_t mode = 0;                                                                                               \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                                           \
            va_list rest;                                                                                              \
            va_start(rest, flags);                                                                                     \
            mode = va_arg(rest, mode_t);                                                                               \
            va_end(rest);                                                                                              \
        }                                                                                                              \
        if (!(flags & (O_CREAT | O_TRUNC)))                                                                            \
            return real arguments;                                                                                     \
        POINT(int, call, 1, of_name(directory, name, path), arguments);                                                \
    }
OPEN(open, AT_FDCWD, (const char *name, int flags, ...), (name, flags, mode))
OPEN(open64, AT_FDCWD, (const char *name, int flags, ...), (name, flags, mode))
OPEN(openat, fd, (int fd, const char *name, int flags, ...), (fd, name, flags, mode))
OPEN(openat64, fd, (int fd, const char *name, int flags, ...), (fd, name, flags, mode))

/* --- Syncing, which the negative controls leave out */

static int ends_with(const char *path, const char *end) {
    size_t length = strlen(path), wanted = strlen(end);
    return length >= wanted && strcmp(path + length - wanted, end) == 0;
}

static int left_out(int fd, const char *path) {
    struct stat status;
    int journal = strstr(path, "/state.db") != NULL;
    if (journal)
        return (plan.weaknesses & NO_WAL_SYNC) && ends_with(path, "-wal");
    if (!plan.weaknesses || fstat(fd, &status) != 0)
        return 0;
    return (plan.weaknesses & (S_ISDIR(status.st_mode) ? NO_DIRECTORY_SYNC : NO_FILE_SYNC)) != 0;
}

#define SYNC(call)                                                                                                     \
    static int really_##call(int fd, const char *path) {                                                               \
        REAL(int, call, int);                                                                                          \
        return path != NULL && left_out(fd, path) ? 0 : real(fd);                                                      \
    }                                                                                                                  \
    int call(int fd) {                                                                                                 \
        char path[PATH_MAX];                                                                                           \
        if (!watching() || !of_descriptor(fd, path) || !below_root(path))                                              \
            return really_##call(fd, NULL);                                                                            \
        long number = enter(#call, path, 0);                                                                           \
        if (number < 0) {                                                                                              \
            errno = (int)-number;                                                                                      \
            return -1;                                                                                                 \
        }                                                                                                              \
        int value = really_##call(fd, path);                                                                           \
        leave(number);                                                                                                 \
        return value;                                                                                                  \
    }
SYNC(fsync)
SYNC(fdatasync)

/* --- Renaming, which a negative control does in two steps */

static void split(int fd, const char *name) {
    char path[PATH_MAX];
    if ((plan.weaknesses & SPLIT_SWAP) && of_name(fd, name, path) && ends_with(path, "/current"))
        unlinkat(fd, name, 0); /* ours, above: a point of its own */
}

#define RENAME(call, to_fd, parameters, arguments)                                                            \
    int call parameters {                                                                                              \
        REAL(int, call, PARAMETERS parameters);                                                                        \
        if (watching())                                                                                                \
            split(to_fd, name);                                                                                        \
        POINT(int, call, 1, of_name(to_fd, name, path), arguments);                                                    \
    }
RENAME(rename, AT_FDCWD, (const char *old, const char *name), (old, name))
RENAME(renameat, fd, (int from, const char *old, int fd, const char *name), (from, old, fd, name))
RENAME(renameat2, fd, (int from, const char *old, int fd, const char *name, unsigned flags),
       (from, old, fd, name, flags))
