// Storage that fails on request: loaded before the C library (LD_PRELOAD), it counts the calls that
// change files below FAULT_ROOT, and ends the process or fails one of them, or all from one on.
// Told by the process itself: fault_arm(which, error, for_ever); error 0 is SIGKILL.
// Sockets of a network and names of hosts are counted, and never given.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char root[PATH_MAX];
static size_t root_length;
static long calls, which, asked_of_networks;
static int failure, lasting;

__attribute__((constructor)) static void begin(void) {
    const char* given = getenv("FAULT_ROOT");
    if (given != NULL) {
        root_length = (size_t)snprintf(root, sizeof root, "%s/", given);
    }
    unsetenv("LD_PRELOAD");  // not for the processes that this one starts
}

void fault_arm(long call, int error, int for_ever) {
    which = call;
    failure = error;
    lasting = for_ever;
    __atomic_store_n(&calls, 0, __ATOMIC_SEQ_CST);
}

long fault_calls(void) {
    return __atomic_load_n(&calls, __ATOMIC_SEQ_CST);
}

static int below(const char* path) {
    return root_length > 0 && path != NULL && strncmp(path, root, root_length) == 0;
}

static int is_ours(int file) {
    char link[64], path[PATH_MAX];
    const int kept = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    const ssize_t length = readlink(link, path, sizeof path - 1);
    errno = kept;
    if (length <= 0) {
        return 0;
    }
    path[length] = 0;
    return below(path);
}

// Counts a call; returns whether it fails.
static int fails(int ours) {
    if (!ours || which == 0) {
        return 0;
    }
    const long call = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    if (call != which && !(lasting && call > which)) {
        return 0;
    }
    if (failure == 0) {
        kill(getpid(), SIGKILL);
        pause();
    }
    errno = failure;
    return 1;
}

// A full disk can be cleared.
static int fails_to_remove(int ours) {
    return fails(ours) && !(lasting && failure == ENOSPC);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPEN(name)                                         \
    int name(const char* path, int flags, ...) {           \
        va_list more;                                      \
        va_start(more, flags);                             \
        const mode_t mode = va_arg(more, mode_t);          \
        va_end(more);                                      \
        if (fails((flags & O_CREAT) != 0 && below(path))) { \
            return -1;                                     \
        }                                                  \
        return REAL(name)(path, flags, mode);              \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                       \
    int name(int folder, const char* path, int flags, ...) { \
        va_list more;                                      \
        va_start(more, flags);                             \
        const mode_t mode = va_arg(more, mode_t);          \
        va_end(more);                                      \
        if (fails((flags & O_CREAT) != 0 && below(path))) { \
            return -1;                                     \
        }                                                  \
        return REAL(name)(folder, path, flags, mode);      \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int file, const void* data, size_t count) {
    return fails(is_ours(file)) ? -1 : REAL(write)(file, data, count);
}
ssize_t pwrite64(int file, const void* data, size_t count, off64_t at) {
    return fails(is_ours(file)) ? -1 : REAL(pwrite64)(file, data, count, at);
}
ssize_t writev(int file, const struct iovec* parts, int count) {
    return fails(is_ours(file)) ? -1 : REAL(writev)(file, parts, count);
}
int fsync(int file) {
    return fails(is_ours(file)) ? -1 : REAL(fsync)(file);
}
int ftruncate64(int file, off64_t length) {
    return fails(is_ours(file)) ? -1 : REAL(ftruncate64)(file, length);
}
int rename(const char* from, const char* to) {
    return fails(below(to)) ? -1 : REAL(rename)(from, to);
}
int renameat2(int in, const char* from, int out, const char* to, unsigned flags) {
    return fails(below(to)) ? -1 : REAL(renameat2)(in, from, out, to, flags);
}
int link(const char* from, const char* to) {
    return fails(below(to)) ? -1 : REAL(link)(from, to);
}
int linkat(int in, const char* from, int out, const char* to, int flags) {
    return fails(below(to)) ? -1 : REAL(linkat)(in, from, out, to, flags);
}
int unlink(const char* path) {
    return fails_to_remove(below(path)) ? -1 : REAL(unlink)(path);
}
int mkdir(const char* path, mode_t mode) {
    return fails(below(path)) ? -1 : REAL(mkdir)(path, mode);
}
int rmdir(const char* path) {
    return fails_to_remove(below(path)) ? -1 : REAL(rmdir)(path);
}

long fault_networks(void) {
    return __atomic_load_n(&asked_of_networks, __ATOMIC_SEQ_CST);
}
int socket(int domain, int type, int protocol) {
    if (domain != AF_INET && domain != AF_INET6) {
        return REAL(socket)(domain, type, protocol);
    }
    __atomic_add_fetch(&asked_of_networks, 1, __ATOMIC_SEQ_CST);
    errno = EACCES;
    return -1;
}
int getaddrinfo(const char* host, const char* service, const struct addrinfo* hints,
                struct addrinfo** found) {
    (void)host, (void)service, (void)hints, (void)found;
    __atomic_add_fetch(&asked_of_networks, 1, __ATOMIC_SEQ_CST);
    return EAI_FAIL;
}
