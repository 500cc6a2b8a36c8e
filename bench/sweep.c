/* The sweep of forge with nothing around it: the system calls that forge makes for each socket, in
 * forge's order, in C. It is what `make bench` holds forge's sweep against. It takes the directory,
 * and does as forge does for sockets that are not forge's own. */
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int dir, journal, look;

/* A connection to the socket itself, whatever its name leads to by now; or -1 with the reason in
 * errno. */
static int call(const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat stat;
    int held = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (held < 0 || fstat(held, &stat) != 0 || !S_ISSOCK(stat.st_mode))
        err(1, "%s", name);
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", held);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int connected = connect(fd, (struct sockaddr *)&address, sizeof address);
    int why = errno;
    close(held);
    if (connected == 0)
        return fd;
    close(fd);
    errno = why;
    return -1;
}

static void record(const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket"};
    char text[1024];
    int length = snprintf(text, sizeof text,
        "MESSAGE=swept %s\nPRIORITY=6\nSYSLOG_IDENTIFIER=sweep-floor\n"
        "MESSAGE_ID=00000000000000000000000000000000\nFORGE_EVENT=swept\nFORGE_SOCKET=%s\n", name, name);
    struct iovec part = {text, (size_t)length};
    struct msghdr message = {&address, sizeof address, &part, 1, NULL, 0, 0};
    struct pollfd room = {look, POLLOUT, 0};
    /* A journald that stands still would hold who sends to it. */
    if (connect(look, (struct sockaddr *)&address, sizeof address) != 0 || poll(&room, 1, 2000) != 1)
        return;
    sendmsg(journal, &message, MSG_NOSIGNAL);
}

static void sweep(const char *name) {
    char lock_name[300];
    struct stat held, now;
    snprintf(lock_name, sizeof lock_name, "%s.lock", name);
    int lock = openat(dir, lock_name, O_CREAT | O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (lock < 0)
        err(1, "%s", lock_name);
    if (flock(lock, LOCK_EX | LOCK_NB) == 0 && fstat(lock, &held) == 0
        && fstatat(dir, lock_name, &now, AT_SYMLINK_NOFOLLOW) == 0 && held.st_ino == now.st_ino
        && call(name) < 0 && errno == ECONNREFUSED
        && fstatat(dir, name, &now, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(now.st_mode)
        && unlinkat(dir, name, 0) == 0)
        record(name);
    close(lock);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int main(int argc, char **argv) {
    if (argc != 2)
        errx(2, "usage: sweep DIRECTORY");
    dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        err(1, "%s", argv[1]);
    journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    look = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    size_t count = 0, room = 0, dead = 0, live = 0;
    char **names = NULL;
    DIR *listing = fdopendir(dup(dir));
    for (struct dirent *entry; (entry = readdir(listing));) {
        if (count == room)
            names = realloc(names, (room = room * 2 + 64) * sizeof *names);
        names[count++] = strdup(entry->d_name);
    }
    qsort(names, count, sizeof *names, by_name);
    struct pollfd *answers = calloc(count, sizeof *answers);
    char **refused = calloc(count, sizeof *refused);
    for (size_t i = 0; i < count; i++) {
        struct stat stat;
        if (fstatat(dir, names[i], &stat, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISSOCK(stat.st_mode))
            continue;
        int fd = call(names[i]);
        if (fd >= 0) {
            unsigned question[4] = {100, 16, 0, (unsigned)getpid()};
            send(fd, question, sizeof question, MSG_NOSIGNAL);
            answers[live++] = (struct pollfd){fd, POLLIN, 0};
        } else if (errno == ECONNREFUSED)
            refused[dead++] = names[i];
    }
    for (size_t i = 0; i < dead; i++)
        sweep(refused[i]);
    for (size_t left = live; left > 0;) {
        if (poll(answers, live, 2000) <= 0)
            break;
        for (size_t i = 0; i < live; i++)
            if (answers[i].fd >= 0 && answers[i].revents) {
                answers[i].fd = -1 - answers[i].fd;
                left--;
            }
    }
    return 0;
}
