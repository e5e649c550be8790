/*
 * Starts programs and measures them, for `cargo xtask bench`: a process of its own, because it is small. What a program costs begins with
 * the clone of its caller, and ru_maxrss of a child is never less than the memory of who it was cloned from (exec_mmap in fs/exec.c).
 *
 * One request a line, one answer a line, fields by tabs. A request is `seq` (one step after the other) or `par` (all at once), then steps,
 * each followed by `;`. A step is a program with its arguments, or `reap FILE`: until the process whose pid is in FILE has ended. We are
 * the reaper of what runtimes orphan, as an engine's shim is. The answer is
 *     ok WALL USER SYSTEM MINFLT MAXRSS WALL-OF-STEP...       nanoseconds, microseconds, KiB
 *     failed STEP STATUS
 * Descriptors 0 and 1 of the programs are /dev/null, 2 is ours.
 *
 * With the argument `nolimit`, setting RLIMIT_MEMLOCK is answered with success and nothing is done: crun raises it for any device program,
 * which a root without CAP_SYS_RESOURCE may not; since Linux 5.11 no such program counts against it.
 *
 * Runs in: a process of its own, started by the bench.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST 4096

struct step {
    char **arguments;
    pid_t pid;
    long long begin, end;
    int status;
};

static struct step steps[MOST];
static int count;
static char *words[MOST * 16];
/* What was reaped during this request. */
static pid_t reaped[MOST * 2];
static int reaped_count;
static struct rusage sum;

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void add(const struct rusage *usage) {
    timeradd(&sum.ru_utime, &usage->ru_utime, &sum.ru_utime);
    timeradd(&sum.ru_stime, &usage->ru_stime, &sum.ru_stime);
    sum.ru_minflt += usage->ru_minflt;
    if (usage->ru_maxrss > sum.ru_maxrss) sum.ru_maxrss = usage->ru_maxrss;
}

static void start(struct step *step) {
    step->status = 0;
    step->begin = now();
    pid_t pid = vfork();
    if (pid == 0) {
        execv(step->arguments[0], step->arguments);
        _exit(127);
    }
    step->pid = pid;
    if (pid < 0) step->status = 126 << 8;
}

/* Waits for any child and books it; 0 when there is none. */
static pid_t reap_one(void) {
    struct rusage usage;
    int status;
    pid_t pid = wait4(-1, &status, __WALL, &usage);
    if (pid <= 0) return errno == EINTR ? 1 : 0;
    long long end = now();
    add(&usage);
    if (reaped_count < MOST * 2) reaped[reaped_count++] = pid;
    for (int i = 0; i < count; i++)
        if (steps[i].pid == pid && steps[i].end == 0) {
            steps[i].end = end;
            steps[i].status = status;
        }
    return pid;
}

static int is_reaped(pid_t pid) {
    for (int i = 0; i < reaped_count; i++)
        if (reaped[i] == pid) return 1;
    return 0;
}

/* `reap FILE`. */
static void reap(struct step *step) {
    step->begin = now();
    step->status = 125 << 8;
    FILE *file = fopen(step->arguments[1], "re");
    int pid = 0;
    if (file != NULL) {
        if (fscanf(file, "%d", &pid) != 1) pid = 0;
        fclose(file);
    }
    while (pid > 0 && !is_reaped(pid))
        if (reap_one() == 0) pid = 0;
    if (pid > 0) step->status = 0;
    step->end = now();
}

static void one_after_the_other(void) {
    for (int i = 0; i < count; i++) {
        struct step *step = &steps[i];
        if (strcmp(step->arguments[0], "reap") == 0) {
            reap(step);
        } else {
            start(step);
            while (step->pid > 0 && step->end == 0 && reap_one() != 0) {}
        }
        if (step->status != 0) {
            count = i + 1;
            return;
        }
    }
}

static void at_once(void) {
    for (int i = 0; i < count; i++) start(&steps[i]);
    for (int i = 0; i < count; i++)
        while (steps[i].pid > 0 && steps[i].end == 0 && reap_one() != 0) {}
}

/* Splits the line into steps; the first word is the caller's. */
static char *parse(char *line) {
    char *kind = strsep(&line, "\t");
    int word = 0, first = 0;
    count = 0;
    while (line != NULL && word < MOST * 16 - 1 && count < MOST) {
        char *field = strsep(&line, "\t");
        if (strcmp(field, ";") != 0) {
            words[word++] = field;
            continue;
        }
        words[word++] = NULL;
        memset(&steps[count], 0, sizeof steps[count]);
        steps[count++].arguments = &words[first];
        first = word;
    }
    return kind;
}

static void answer(FILE *out, long long wall) {
    for (int i = 0; i < count; i++)
        if (steps[i].status != 0) {
            fprintf(out, "failed\t%d\t%d\n", i, steps[i].status);
            return;
        }
    fprintf(out, "ok\t%lld\t%lld\t%lld\t%ld\t%ld", wall, sum.ru_utime.tv_sec * 1000000LL + sum.ru_utime.tv_usec,
            sum.ru_stime.tv_sec * 1000000LL + sum.ru_stime.tv_usec, sum.ru_minflt, sum.ru_maxrss);
    for (int i = 0; i < count; i++) fprintf(out, "\t%lld", steps[i].end - steps[i].begin);
    fputc('\n', out);
}

static void without_memlock(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prlimit64, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, RLIMIT_MEMLOCK, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        perror("meter: the filter for RLIMIT_MEMLOCK");
        exit(1);
    }
}

int main(int argc, char **argv) {
    FILE *in = fdopen(fcntl(0, F_DUPFD_CLOEXEC, 3), "r"), *out = fdopen(fcntl(1, F_DUPFD_CLOEXEC, 3), "w");
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (in == NULL || out == NULL || dup2(null, 0) < 0 || dup2(null, 1) < 0) return 1;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (argc > 1 && strcmp(argv[1], "nolimit") == 0) without_memlock();
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    while ((length = getline(&line, &room, in)) > 0) {
        if (line[length - 1] == '\n') line[length - 1] = '\0';
        char *kind = parse(line);
        while (waitpid(-1, NULL, WNOHANG | __WALL) > 0) {}
        memset(&sum, 0, sizeof sum);
        reaped_count = 0;
        long long begin = now();
        if (strcmp(kind, "par") == 0) at_once(); else one_after_the_other();
        answer(out, now() - begin);
        fflush(out);
    }
    return 0;
}
