// Linux kernel interfaces that Swift's Glibc module does not import: structures as they are, and constants that are
// macros Swift cannot evaluate.
#ifndef CLINUX_H
#define CLINUX_H
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/if_ether.h>
#include <linux/sockios.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/genetlink.h>
#include <linux/openvswitch.h>
#include <net/if.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

static const unsigned long clinux_TUNSETIFF = TUNSETIFF;
static const unsigned long clinux_TUNSETPERSIST = TUNSETPERSIST;
static const int clinux_SOL_PACKET = 263;
static const int clinux_PACKET_IGNORE_OUTGOING = 23;
#include <unistd.h>
// Swift does not import fork. Only for a process that still has one thread.
static inline pid_t clinux_fork(void) { return fork(); }
#endif
