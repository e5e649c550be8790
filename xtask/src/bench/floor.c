/*
 * The floor of `cargo xtask bench`: the container of the default bundle by bare system calls, with everything known beforehand and
 * nothing checked twice. No config.json, no state, no lock, no second program, no answer to any attack: what is left is what the kernel takes.
 *
 *     floor run ROOTFS CGROUP [-m DIRECTORY]... [-b SOURCE:TARGET]...   the cgroup is made and removed again
 *     floor exec PID CGROUP                                          /bin/true in the namespaces of that process
 *
 * Made: pid, network, ipc, uts, mount and cgroup namespace, loopback, cgroup, device program, all mounts, devices and links of /dev,
 * read-only and masked paths, a new root, read-only, host name, no_new_privs, limit, capabilities; then /bin/true. Where the child of
 * clone3 may share our memory (the assembly below) nothing is copied.
 *
 * Runs in: a process of its own, started by the meter; after clone3, init.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define MUST(call) do { if ((call) < 0) { perror("floor: " #call); _exit(1); } } while (0)

static const char *const MASKED_FILES[] = {"proc/kcore", "proc/keys", "proc/latency_stats", "proc/timer_list", "proc/timer_stats",
    "proc/sched_debug", NULL};
static const char *const MASKED_DIRECTORIES[] = {"proc/acpi", "proc/asound", "sys/firmware", "proc/scsi", NULL};
static const char *const READONLY[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger", NULL};

/* Device nodes that every container may use; -1 is any minor. `n` ones may be made but not opened by the default rules. */
static const struct { int major, minor; } ALLOWED[] = {{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 2}, {136, -1}};

static struct bpf_insn instruction(int code, int to, int from, int offset, int value) {
    return (struct bpf_insn){.code = code, .dst_reg = to, .src_reg = from, .off = offset, .imm = value};
}

/* r2: access, r3: major, r4: minor, as in struct bpf_cgroup_dev_ctx. mknod alone is free, as the default rules have it. */
static int device_program(void) {
    struct bpf_insn code[64];
    int n = 0;
    for (int i = 0; i < 3; i++) code[n++] = instruction(BPF_LDX | BPF_W | BPF_MEM, 2 + i, 1, 4 * i, 0);
    code[n++] = instruction(BPF_ALU64 | BPF_RSH | BPF_K, 2, 0, 0, 16);
    code[n++] = instruction(BPF_JMP | BPF_JNE | BPF_K, 2, 0, 2, BPF_DEVCG_ACC_MKNOD);
    code[n++] = instruction(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1);
    code[n++] = instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    for (unsigned i = 0; i < sizeof ALLOWED / sizeof ALLOWED[0]; i++) {
        int any = ALLOWED[i].minor < 0;
        code[n++] = instruction(BPF_JMP | BPF_JNE | BPF_K, 3, 0, any ? 2 : 3, ALLOWED[i].major);
        if (!any) code[n++] = instruction(BPF_JMP | BPF_JNE | BPF_K, 4, 0, 2, ALLOWED[i].minor);
        code[n++] = instruction(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1);
        code[n++] = instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    }
    code[n++] = instruction(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
    code[n++] = instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    union bpf_attr load = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE, .insn_cnt = n, .insns = (uintptr_t)code, .license = (uintptr_t)"Apache-2.0"};
    return syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
}

static int make_cgroup(const char *path) {
    MUST(mkdir(path, 0755));
    int cgroup = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), program = device_program();
    MUST(cgroup);
    MUST(program);
    union bpf_attr attach = {.target_fd = cgroup, .attach_bpf_fd = program, .attach_type = BPF_CGROUP_DEVICE, .attach_flags = BPF_F_ALLOW_MULTI};
    MUST(syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach));
    return cgroup;
}

static void file_systems(void) {
    const int safe = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    MUST(mount("proc", "proc", "proc", 0, NULL));
    MUST(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"));
    MUST(mkdir("dev/pts", 0755));
    MUST(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"));
    MUST(mkdir("dev/shm", 0755));
    MUST(mount("shm", "dev/shm", "tmpfs", safe, "mode=1777,size=65536k"));
    MUST(mkdir("dev/mqueue", 0755));
    MUST(mount("mqueue", "dev/mqueue", "mqueue", safe, NULL));
    MUST(mount("sysfs", "sys", "sysfs", safe | MS_RDONLY, NULL));
    /* By fsmount: with mount(2), `ro` would be of the super block, which is that of all. */
    int context = syscall(SYS_fsopen, "cgroup2", 1);
    MUST(context);
    MUST(syscall(SYS_fsconfig, context, 6 /* FSCONFIG_CMD_CREATE */, NULL, NULL, 0));
    int made = syscall(SYS_fsmount, context, 1, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    MUST(made);
    MUST(syscall(SYS_move_mount, made, "", AT_FDCWD, "sys/fs/cgroup", 4 /* MOVE_MOUNT_F_EMPTY_PATH */));
}

static void devices(void) {
    static const struct { const char *name; int major, minor; } NODES[] = {
        {"dev/null", 1, 3}, {"dev/zero", 1, 5}, {"dev/full", 1, 7}, {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0}};
    for (unsigned i = 0; i < sizeof NODES / sizeof NODES[0]; i++)
        MUST(mknod(NODES[i].name, S_IFCHR | 0666, makedev(NODES[i].major, NODES[i].minor)));
    static const char *const LINKS[][2] = {{"pts/ptmx", "dev/ptmx"}, {"/proc/self/fd", "dev/fd"}, {"/proc/self/fd/0", "dev/stdin"},
        {"/proc/self/fd/1", "dev/stdout"}, {"/proc/self/fd/2", "dev/stderr"}, {"/proc/kcore", "dev/core"}};
    for (unsigned i = 0; i < sizeof LINKS / sizeof LINKS[0]; i++) MUST(symlink(LINKS[i][0], LINKS[i][1]));
}

static void readonly(void) {
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY};
    for (int i = 0; READONLY[i] != NULL; i++) {
        if (mount(READONLY[i], READONLY[i], NULL, MS_BIND | MS_REC, NULL) < 0) continue;
        MUST(syscall(SYS_mount_setattr, AT_FDCWD, READONLY[i], AT_RECURSIVE, &attributes, sizeof attributes));
    }
}

static void mask_file(const char *path) {
    if (mount("/dev/null", path, NULL, MS_BIND, NULL) < 0 && errno != ENOENT) MUST(-1);
}

/* The first gets an empty tmpfs, the others the same one. */
static void mask_directory(const char *path) {
    static const char *empty;
    if (empty != NULL) {
        if (mount(empty, path, NULL, MS_BIND, NULL) < 0 && errno != ENOENT) MUST(-1);
    } else if (mount("tmpfs", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "nr_blocks=1,nr_inodes=1") == 0) {
        empty = path;
    } else if (errno != ENOENT) {
        MUST(-1);
    }
}

/* SOURCE:TARGET, the target below the root and there. */
static void bind_mount(char *pair) {
    char *target = strchr(pair, ':');
    *target++ = '\0';
    MUST(mount(pair, target, NULL, MS_BIND | MS_REC, NULL));
}

static void rights(void) {
    const uint32_t kept = 1 << CAP_AUDIT_WRITE | 1 << CAP_KILL | 1 << CAP_NET_BIND_SERVICE;
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    MUST(setrlimit(RLIMIT_NOFILE, &(struct rlimit){1024, 1024}));
    for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
        if (cap >= 32 || (kept >> cap & 1) == 0) MUST(prctl(PR_CAPBSET_DROP, cap, 0, 0, 0));
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{kept, kept, 0}, {0, 0, 0}};
    MUST(syscall(SYS_capset, &header, data));
}

static void execute(void) {
    static char *const arguments[] = {"/bin/true", NULL};
    static char *const environment[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", "HOME=/root", NULL};
    execve(arguments[0], arguments, environment);
    perror("floor: execve");
    _exit(127);
}

static void init(const char *rootfs, char **rest) {
    umask(0);
    MUST(setsid());
    MUST(unshare(CLONE_NEWCGROUP));
    struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int any = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    MUST(ioctl(any, SIOCSIFFLAGS, &loopback));
    MUST(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL));
    MUST(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL));
    MUST(chdir(rootfs));
    file_systems();
    for (char **word = rest; word[0] != NULL && word[1] != NULL; word += 2)
        if (strcmp(word[0], "-b") == 0) bind_mount(word[1]);
    devices();
    readonly();
    for (int i = 0; MASKED_FILES[i] != NULL; i++) mask_file(MASKED_FILES[i]);
    for (int i = 0; MASKED_DIRECTORIES[i] != NULL; i++) mask_directory(MASKED_DIRECTORIES[i]);
    for (char **word = rest; word[0] != NULL && word[1] != NULL; word += 2)
        if (strcmp(word[0], "-m") == 0) mask_directory(word[1]);
    MUST(syscall(SYS_pivot_root, ".", "."));
    MUST(umount2(".", MNT_DETACH));
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY};
    MUST(syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &attributes, sizeof attributes));
    MUST(sethostname("corten", 6));
    umask(022);
    rights();
    execute();
}

/* clone3; on x86-64 as vfork(2) does it, in our memory and on our stack, so that the child must not return. */
static inline __attribute__((always_inline)) long start(uint64_t flags, int cgroup) {
    struct clone_args arguments = {.flags = flags | CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = cgroup};
#ifdef __x86_64__
    arguments.flags |= CLONE_VM | CLONE_VFORK;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "0"(SYS_clone3), "D"(&arguments), "S"(sizeof arguments) : "rcx", "r11", "memory");
    if (result < 0) { errno = -result; return -1; }
    return result;
#else
    return syscall(SYS_clone3, &arguments, sizeof arguments);
#endif
}

static int end_of(pid_t pid) {
    int status;
    MUST(waitpid(pid, &status, 0));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int run(char **words) {
    int cgroup = make_cgroup(words[1]);
    long pid = start(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET, cgroup);
    if (pid == 0) init(words[0], words + 2);
    MUST(pid);
    int code = end_of(pid);
    MUST(rmdir(words[1]));
    return code;
}

static int in_running(char **words) {
    int process = syscall(SYS_pidfd_open, atoi(words[0]), 0), cgroup = open(words[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    MUST(process);
    MUST(cgroup);
    MUST(setns(process, CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP));
    long pid = start(0, cgroup);
    if (pid == 0) {
        MUST(setsid());
        rights();
        execute();
    }
    MUST(pid);
    return end_of(pid);
}

int main(int argc, char **argv) {
    if (argc >= 4 && strcmp(argv[1], "run") == 0) return run(argv + 2);
    if (argc == 4 && strcmp(argv[1], "exec") == 0) return in_running(argv + 2);
    fprintf(stderr, "usage: floor run ROOTFS CGROUP [-m DIRECTORY]... [-b SOURCE:TARGET]... | floor exec PID CGROUP\n");
    return 2;
}
