// Linux kernel interfaces that Swift's Glibc module does not import: structures as they are, and constants that are
// macros Swift cannot evaluate.
#ifndef CLINUX_H
#define CLINUX_H
#include <net/if.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/if_ether.h>
#include <linux/sockios.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/openvswitch.h>
#include <linux/gen_stats.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netfilter/nfnetlink_cttimeout.h>
#include <malloc.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

static const unsigned long clinux_TUNSETIFF = TUNSETIFF;
static const unsigned long clinux_TUNSETPERSIST = TUNSETPERSIST;
// linux/if_tunnel.h has it, and cannot be read beside the C library's headers.
static const int clinux_IFLA_GRE_COLLECT_METADATA = 18;
static const int clinux_SOL_PACKET = 263;
static const int clinux_PACKET_IGNORE_OUTGOING = 23;
#include <sys/socket.h>
// recvmmsg(2) and its structure, which the C library shows to GNU programs only.
struct clinux_mmsghdr {
    struct msghdr msg_hdr;
    unsigned int msg_len;
};
int clinux_recvmmsg(int fd, struct clinux_mmsghdr *messages, unsigned int count);
#include <unistd.h>
// Swift does not import fork. Only for a process that still has one thread.
/* Asks for a cache line that is going to be read and written. */
static inline void clinux_prefetch(const void *line) { __builtin_prefetch(line, 1); }

static inline pid_t clinux_fork(void) { return fork(); }
#endif
