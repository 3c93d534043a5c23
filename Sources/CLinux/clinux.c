#define _GNU_SOURCE
#include "CLinux.h"

_Static_assert(sizeof(struct clinux_mmsghdr) == sizeof(struct mmsghdr), "as the C library has it");

int clinux_recvmmsg(int fd, struct clinux_mmsghdr *messages, unsigned int count) {
    return recvmmsg(fd, (struct mmsghdr *)messages, count, 0, NULL);
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
// The address sanitizer's leak checker cannot follow Swift's references: an enum keeps its tag in spare bits of its payload's pointer
// (indirect cases of DpAction, swift-nio's SocketAddress), and a weak reference its side table as shifted bits of the object's count.
// It calls living objects leaked, so it is off; that memory stays flat is shown by running (see docs/performance.md).
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0"; }
#endif
#endif
