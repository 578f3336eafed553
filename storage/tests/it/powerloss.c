/* Preloaded into a process under test: notes what a power failure would leave of its files.
 *
 * Files made in POWERLOSS_DIR get a second name POWERLOSS_KEEP/INODE, so that a deletion or renaming can be undone. Each
 * sync is noted in POWERLOSS_KEEP/journal instead of being done: "F INODE LENGTH" for a file, "D NAME INODE …" for the
 * directory with the names that it had. A line is one write, so a kill leaves whole lines (the last one apart).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *watched(void) { return getenv("POWERLOSS_DIR"); }

/* Whether `path` lies in the watched directory, or is it (then *itself is set). */
static int inside(const char *path, int *itself) {
    const char *dir = watched();
    if (dir == NULL) return 0;
    size_t length = strlen(dir);
    if (strncmp(path, dir, length) != 0) return 0;
    const char *rest = path + length;
    while (*rest == '/') rest++;
    *itself = *rest == 0;
    return *itself || (path[length] == '/' && strchr(rest, '/') == NULL);
}

static void fail(const char *what) {
    perror(what);
    abort();
}

static void note(const char *line, size_t length) {
    char path[4096];
    snprintf(path, sizeof path, "%s/journal", getenv("POWERLOSS_KEEP"));
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int fd = real(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, line, length) != (ssize_t)length) fail("note a sync");
    close(fd);
}

static void note_directory(const char *path) {
    size_t used = 1, room = 1 << 20;
    char *line = malloc(room);
    DIR *dir = opendir(path);
    if (line == NULL || dir == NULL) fail("list the directory");
    line[0] = 'D';
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.' || entry->d_type == DT_DIR) continue;
        used += (size_t)snprintf(line + used, room - used, " %s %lu", entry->d_name, (unsigned long)entry->d_ino);
        if (used + 512 > room) fail("too many files");
    }
    closedir(dir);
    line[used++] = '\n';
    note(line, used);
    free(line);
}

/* Notes a sync; 0 if the file is none of ours. */
static int sync_of(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    int itself = 0;
    if (length <= 0) return 0;
    path[length] = 0;
    if (!inside(path, &itself)) return 0;
    if (itself) {
        note_directory(path);
        return 1;
    }
    struct stat stat;
    char line[128];
    if (fstat(fd, &stat) != 0) fail("look at a file");
    int used = snprintf(line, sizeof line, "F %lu %lu\n", (unsigned long)stat.st_ino, (unsigned long)stat.st_size);
    note(line, (size_t)used);
    return 1;
}

int fsync(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    return sync_of(fd) ? 0 : real(fd);
}

int fdatasync(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    return sync_of(fd) ? 0 : real(fd);
}

static void keep(const char *path, int fd) {
    struct stat stat;
    char kept[4096];
    int itself = 0;
    if (fd < 0 || !inside(path, &itself) || itself) return;
    if (fstat(fd, &stat) != 0) fail("look at a new file");
    if (!S_ISREG(stat.st_mode)) return;
    snprintf(kept, sizeof kept, "%s/%lu", getenv("POWERLOSS_KEEP"), (unsigned long)stat.st_ino);
    if (link(path, kept) != 0 && errno != EEXIST) fail("keep a file");
}

static int open_by(const char *name, const char *path, int flags, mode_t mode) {
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, name);
    int fd = real(path, flags, mode);
    if (flags & O_CREAT) keep(path, fd);
    return fd;
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_by("open", path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_by("open64", path, flags, mode);
}
