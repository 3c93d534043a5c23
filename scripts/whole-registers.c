// For LD_PRELOAD: lets Debian's user-mode-linux run on processors with AMX, whose registers take more room than its buffer has. Linux hands
// out as many of the extended registers of a traced process as fit, but takes them back as a whole only. So what the caller did not get
// goes back as it is.

#define _GNU_SOURCE
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

long ptrace(enum __ptrace_request request, ...) {
    va_list arguments;
    va_start(arguments, request);
    pid_t pid = va_arg(arguments, pid_t);
    void *address = va_arg(arguments, void *);
    void *data = va_arg(arguments, void *);
    va_end(arguments);
    if (request >= PTRACE_PEEKTEXT && request <= PTRACE_PEEKUSER) {
        // The system call stores the word that the function returns.
        long word = 0;
        return syscall(SYS_ptrace, request, pid, address, &word) < 0 ? -1 : word;
    }
    if (request == PTRACE_SETREGSET && address == (void *)NT_X86_XSTATE) {
        static char registers[1 << 16];
        struct iovec *part = data, whole = {registers, sizeof registers};
        if (syscall(SYS_ptrace, PTRACE_GETREGSET, pid, address, &whole) == 0 && part->iov_len < whole.iov_len) {
            memcpy(registers, part->iov_base, part->iov_len);
            return syscall(SYS_ptrace, request, pid, address, &whole);
        }
    }
    return syscall(SYS_ptrace, request, pid, address, data);
}
