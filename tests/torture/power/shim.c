/* Preloaded into a process: writes down every change that it makes to the files of one folder, lets some of them fail,
 * and ends it as a power cut does, in the middle of things, before a chosen change. What the disk would hold by then is worked out from what
 * was written down (disk.py): which writes were synced, and which were not.
 *
 * power_begin says which folder and where to write, power_cut when to end, power_fail what fails. Until then nothing happens here.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum kind { CREATE, WRITE, TRUNCATE, SYNC, SYNC_FOLDER, UNLINK, RENAME, LINK, CUT };
enum { DB, WAL, SHM, ROLLBACK, LOCK, OTHER, FOLDER, UNTRACKED = -1 };
enum { MOST_DESCRIPTORS = 4096 };

struct __attribute__((packed)) record {
    uint8_t kind;
    uint64_t inode;  /* of CUT: the kind of change that it came before */
    uint64_t offset; /* of a write; the size of a truncation; of CUT: which file */
    uint32_t name, name_2, data; /* how many bytes of each follow */
};

static struct { uint64_t inode; int8_t file; } open_files[MOST_DESCRIPTORS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char folder[PATH_MAX];
static int trace = -1;
static unsigned cut_kinds, cut_files;
static long cut_after = -1;
static unsigned fail_kinds, fail_files;
static long fail_after, fail_count;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

void power_begin(const char *path, int descriptor)
{
    for (int each = 0; each < MOST_DESCRIPTORS; each++)
        open_files[each].file = UNTRACKED;
    snprintf(folder, sizeof folder, "%s", path);
    trace = descriptor;
}

/* End before the change number `after` of these kinds to these files; both are sets of bits. */
void power_cut(unsigned kinds, unsigned files, long after)
{
    pthread_mutex_lock(&mutex);
    cut_kinds = kinds;
    cut_files = files;
    cut_after = after;
    pthread_mutex_unlock(&mutex);
}

/* After so many changes of these kinds to these files, let the next ones fail with EIO. */
void power_fail(unsigned kinds, unsigned files, long after, long count)
{
    fail_kinds = kinds;
    fail_files = files;
    fail_after = after;
    fail_count = count;
}

static int file_of(const char *path)
{
    size_t length = strlen(folder);
    if (trace < 0 || strncmp(path, folder, length))
        return UNTRACKED;
    if (!path[length])
        return FOLDER;
    if (path[length] != '/')
        return UNTRACKED;
    static const struct { const char *end; int file; } ends[] = {
        {".db", DB}, {"-wal", WAL}, {"-shm", SHM}, {"-journal", ROLLBACK}, {".lock", LOCK}};
    for (size_t each = 0; each < sizeof ends / sizeof *ends; each++) {
        size_t all = strlen(path), end = strlen(ends[each].end);
        if (all >= end && !strcmp(path + all - end, ends[each].end))
            return ends[each].file;
    }
    return OTHER;
}

static int file_at(int descriptor)
{
    return trace >= 0 && descriptor >= 0 && descriptor < MOST_DESCRIPTORS ? open_files[descriptor].file : UNTRACKED;
}

static void put(const void *bytes, size_t count)
{
    for (const char *next = bytes; count;) {
        ssize_t done = REAL(write)(trace, next, count);
        if (done <= 0)
            kill(getpid(), SIGABRT);
        next += done;
        count -= done;
    }
}

static void note(enum kind kind, uint64_t inode, uint64_t offset, const char *name, const char *name_2,
                 const void *data, size_t count)
{
    struct record record = {kind, inode, offset, strlen(name), strlen(name_2), count};
    put(&record, sizeof record);
    put(name, record.name);
    put(name_2, record.name_2);
    put(data, count);
}

/* Taken around each change and its record, so that they are written down in the order in which they were made. Returns
 * whether the change has to fail; then it is left already. */
static int enter(enum kind kind, int file)
{
    pthread_mutex_lock(&mutex);
    if (cut_after >= 0 && cut_kinds >> kind & 1 && cut_files >> file & 1 && !cut_after--) {
        note(CUT, kind, file, "", "", "", 0);
        kill(getpid(), SIGKILL);
        for (;;)
            pause();
    }
    if (!fail_count || !(fail_kinds >> kind & 1 && fail_files >> file & 1) || fail_after-- > 0)
        return 0;
    fail_after = 0;
    fail_count--;
    pthread_mutex_unlock(&mutex);
    errno = EIO;
    return 1;
}

static void leave(void) { pthread_mutex_unlock(&mutex); }

static uint64_t inode_of(int descriptor)
{
    struct stat found;
    return fstat(descriptor, &found) ? 0 : found.st_ino;
}

static const char *base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int opened(int (*real)(const char *, int, ...), const char *path, int flags, mode_t mode)
{
    int file = file_of(path);
    if (file == UNTRACKED)
        return real(path, flags, mode);
    struct stat found;
    int change = (flags & O_CREAT) && stat(path, &found) ? CREATE : flags & O_TRUNC ? TRUNCATE : -1;
    if (change >= 0 && enter(change, file))
        return -1;
    int descriptor = real(path, flags, mode);
    if (descriptor >= 0 && descriptor < MOST_DESCRIPTORS) {
        open_files[descriptor].inode = inode_of(descriptor);
        open_files[descriptor].file = file;
        if (change >= 0)
            note(change, open_files[descriptor].inode, 0, base(path), "", "", 0);
    }
    if (change >= 0)
        leave();
    return descriptor;
}

#define OPEN(name)                                             \
    int name(const char *path, int flags, ...)                 \
    {                                                          \
        va_list rest;                                          \
        va_start(rest, flags);                                 \
        mode_t mode = flags & O_CREAT ? va_arg(rest, int) : 0; \
        va_end(rest);                                          \
        return opened(REAL(name), path, flags, mode);          \
    }
OPEN(open)
OPEN(open64)

int close(int descriptor)
{
    if (file_at(descriptor) != UNTRACKED)
        open_files[descriptor].file = UNTRACKED;
    return REAL(close)(descriptor);
}

#define PWRITE(name)                                                                          \
    ssize_t name(int descriptor, const void *data, size_t count, off64_t offset)              \
    {                                                                                         \
        int file = file_at(descriptor);                                                       \
        if (file == UNTRACKED)                                                                \
            return REAL(name)(descriptor, data, count, offset);                               \
        if (enter(WRITE, file))                                                                   \
            return -1;                                                                   \
        ssize_t done = REAL(name)(descriptor, data, count, offset);                           \
        if (done > 0)                                                                         \
            note(WRITE, open_files[descriptor].inode, offset, "", "", data, done);            \
        leave();                                                                              \
        return done;                                                                          \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t write(int descriptor, const void *data, size_t count)
{
    int file = file_at(descriptor);
    if (file == UNTRACKED)
        return REAL(write)(descriptor, data, count);
    if (enter(WRITE, file))
        return -1;
    ssize_t done = REAL(write)(descriptor, data, count);
    if (done > 0)
        note(WRITE, open_files[descriptor].inode, lseek(descriptor, 0, SEEK_CUR) - done, "", "", data, done);
    leave();
    return done;
}

#define TRUNCATION(name)                                                          \
    int name(int descriptor, off64_t size)                                        \
    {                                                                             \
        int file = file_at(descriptor);                                           \
        if (file == UNTRACKED)                                                    \
            return REAL(name)(descriptor, size);                                  \
        if (enter(TRUNCATE, file))                                                    \
            return -1;                                                    \
        int failed = REAL(name)(descriptor, size);                                \
        if (!failed)                                                              \
            note(TRUNCATE, open_files[descriptor].inode, size, "", "", "", 0);    \
        leave();                                                                  \
        return failed;                                                            \
    }
TRUNCATION(ftruncate)
TRUNCATION(ftruncate64)

#define SYNCING(name)                                                             \
    int name(int descriptor)                                                      \
    {                                                                             \
        int file = file_at(descriptor);                                           \
        if (file == UNTRACKED)                                                    \
            return REAL(name)(descriptor);                                        \
        int kind = file == FOLDER ? SYNC_FOLDER : SYNC;                           \
        if (enter(kind, file))                                                        \
            return -1;                                                        \
        note(kind, open_files[descriptor].inode, 0, "", "", "", 0);               \
        leave();                                                                  \
        return 0;                                                                 \
    }
SYNCING(fsync)
SYNCING(fdatasync)

int unlink(const char *path)
{
    int file = file_of(path);
    if (file == UNTRACKED)
        return REAL(unlink)(path);
    if (enter(UNLINK, file))
        return -1;
    int failed = REAL(unlink)(path);
    if (!failed)
        note(UNLINK, 0, 0, base(path), "", "", 0);
    leave();
    return failed;
}

#define TWO_NAMES(name, kind)                                          \
    int name(const char *from, const char *to)                         \
    {                                                                  \
        int file = file_of(to);                                        \
        if (file == UNTRACKED)                                         \
            return REAL(name)(from, to);                               \
        if (enter(kind, file))                                             \
            return -1;                                             \
        int failed = REAL(name)(from, to);                             \
        if (!failed)                                                   \
            note(kind, 0, 0, base(from), base(to), "", 0);             \
        leave();                                                       \
        return failed;                                                 \
    }
TWO_NAMES(rename, RENAME)
TWO_NAMES(link, LINK)
