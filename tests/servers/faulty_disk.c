/*
 * A disk that does what a file tells it, for programs that are started with this library in LD_PRELOAD.
 *
 * SLUICE_DISK names the file, which is read at every call that is watched, so that a test can change it meanwhile.
 * Its lines, all optional but the first two:
 *
 *   number N           another number makes the counts below begin anew
 *   folder PATH        only files below it are meant
 *   suffix TEXT        of these, only those whose name ends so (for delays and errors)
 *   fsync_ms N         fsync and fdatasync take so much longer
 *   fsync ERRNO N      they fail so often; -1: always
 *   write ERRNO N      write and pwrite fail so often
 *   log PATH           what is done to these files is written down there, in the order in which it is done
 *
 * A record of the log: kind (W write, S sync, T truncate, R rename, U unlink), u32 bytes of the path, u64 offset,
 * u64 bytes of data, the path, the data (of a rename: the new path). Native endianness.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct orders {
  long number;
  char folder[PATH_MAX], suffix[64], log[PATH_MAX];
  long fsync_ms, fsync_errno, fsync_count, write_errno, write_count;
};

/* Held while a call is made and written down, so that the log has the order of the calls. */
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static long number = -1, fsyncs_left, writes_left;
static int log_fd = -1;

/* False where nothing is ordered. */
static int read_orders(struct orders *o) {
  const char *path = getenv("SLUICE_DISK");
  char text[8192], *line, *rest = text;
  memset(o, 0, sizeof *o);
  if (!path) return 0;
  int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return 0;
  ssize_t n = syscall(SYS_read, fd, text, sizeof text - 1);
  syscall(SYS_close, fd);
  if (n <= 0) return 0;
  text[n] = 0;
  while ((line = strsep(&rest, "\n"))) {
    sscanf(line, "number %ld", &o->number);
    sscanf(line, "folder %4095s", o->folder);
    sscanf(line, "suffix %63s", o->suffix);
    sscanf(line, "log %4095s", o->log);
    sscanf(line, "fsync_ms %ld", &o->fsync_ms);
    sscanf(line, "fsync %ld %ld", &o->fsync_errno, &o->fsync_count);
    sscanf(line, "write %ld %ld", &o->write_errno, &o->write_count);
  }
  return o->folder[0] != 0;
}

static int below(const struct orders *o, const char *path) {
  size_t n = strlen(o->folder);
  return strncmp(path, o->folder, n) == 0 && path[n] == '/' && strcmp(path, o->log) != 0;
}

static int meant(const struct orders *o, const char *path) {
  size_t n = strlen(o->suffix), all = strlen(path);
  return all >= n && strcmp(path + all - n, o->suffix) == 0;
}

/* The path of an open file of the folder; false for all others. */
static int path_of(const struct orders *o, int fd, char *path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, PATH_MAX - 1);
  if (n <= 0) return 0;
  path[n] = 0;
  return below(o, path);
}

/* Under the lock. True where this one shall fail. */
static int fails(const struct orders *o, long error, long count, long *left) {
  if (number != o->number) {
    number = o->number;
    fsyncs_left = o->fsync_count;
    writes_left = o->write_count;
  }
  if (error == 0 || count == 0) return 0;
  if (count < 0) return 1;
  if (*left <= 0) return 0;
  (*left)--;
  return 1;
}

static void put(const void *bytes, size_t n) {
  while (n > 0) {
    ssize_t done = syscall(SYS_write, log_fd, bytes, n);
    if (done <= 0) abort();
    bytes = (const char *)bytes + done;
    n -= done;
  }
}

/* Under the lock. */
static void note(const struct orders *o, char kind, const char *path, uint64_t at, const void *data, uint64_t n) {
  int saved = errno;
  uint32_t length = strlen(path);
  if (!o->log[0]) return;
  if (log_fd < 0) log_fd = syscall(SYS_openat, AT_FDCWD, o->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log_fd < 0) abort();
  put(&kind, 1);
  put(&length, sizeof length);
  put(&at, sizeof at);
  put(&n, sizeof n);
  put(path, length);
  if (data) put(data, n);
  errno = saved;
}

static int sync_call(long call, int fd) {
  struct orders o;
  char path[PATH_MAX];
  if (!read_orders(&o) || !path_of(&o, fd, path)) return syscall(call, fd);
  if (o.fsync_ms > 0 && meant(&o, path)) {
    struct timespec pause = { o.fsync_ms / 1000, o.fsync_ms % 1000 * 1000000 };
    nanosleep(&pause, NULL);
  }
  pthread_mutex_lock(&order);
  int result = -1;
  if (meant(&o, path) && fails(&o, o.fsync_errno, o.fsync_count, &fsyncs_left)) errno = o.fsync_errno;
  else {
    result = syscall(call, fd);
    if (result == 0) note(&o, 'S', path, 0, NULL, 0);
  }
  pthread_mutex_unlock(&order);
  return result;
}

int fsync(int fd) { return sync_call(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_call(SYS_fdatasync, fd); }

/* `at` < 0: at the file's own position. */
static ssize_t write_call(int fd, const void *data, size_t n, off_t at) {
  struct orders o;
  char path[PATH_MAX];
  int positioned = at >= 0;
  if (!read_orders(&o) || !path_of(&o, fd, path)) {
    return positioned ? syscall(SYS_pwrite64, fd, data, n, at) : syscall(SYS_write, fd, data, n);
  }
  pthread_mutex_lock(&order);
  ssize_t result = -1;
  if (meant(&o, path) && fails(&o, o.write_errno, o.write_count, &writes_left)) errno = o.write_errno;
  else if (positioned) result = syscall(SYS_pwrite64, fd, data, n, at);
  else {
    struct stat state;
    int appends = fcntl(fd, F_GETFL) & O_APPEND;
    at = appends && fstat(fd, &state) == 0 ? state.st_size : lseek(fd, 0, SEEK_CUR);
    result = syscall(SYS_write, fd, data, n);
  }
  if (result > 0) note(&o, 'W', path, at, data, result);
  pthread_mutex_unlock(&order);
  return result;
}

ssize_t write(int fd, const void *data, size_t n) { return write_call(fd, data, n, -1); }
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) { return write_call(fd, data, n, at); }
ssize_t pwrite64(int fd, const void *data, size_t n, off_t at) { return write_call(fd, data, n, at); }

int ftruncate(int fd, off_t length) {
  struct orders o;
  char path[PATH_MAX];
  if (!read_orders(&o) || !path_of(&o, fd, path)) return syscall(SYS_ftruncate, fd, length);
  pthread_mutex_lock(&order);
  int result = syscall(SYS_ftruncate, fd, length);
  if (result == 0) note(&o, 'T', path, length, NULL, 0);
  pthread_mutex_unlock(&order);
  return result;
}
int ftruncate64(int fd, off_t length) { return ftruncate(fd, length); }

int rename(const char *from, const char *to) {
  struct orders o;
  if (!read_orders(&o) || !below(&o, from)) return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
  pthread_mutex_lock(&order);
  int result = syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
  if (result == 0) note(&o, 'R', from, 0, to, strlen(to));
  pthread_mutex_unlock(&order);
  return result;
}

int unlink(const char *path) {
  struct orders o;
  if (!read_orders(&o) || !below(&o, path)) return syscall(SYS_unlinkat, AT_FDCWD, path, 0);
  pthread_mutex_lock(&order);
  int result = syscall(SYS_unlinkat, AT_FDCWD, path, 0);
  if (result == 0) note(&o, 'U', path, 0, NULL, 0);
  pthread_mutex_unlock(&order);
  return result;
}
