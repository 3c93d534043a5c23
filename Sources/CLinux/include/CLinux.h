// Linux kernel interfaces that Swift's Glibc module does not import.
#ifndef CLINUX_H
#define CLINUX_H
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <sys/ioctl.h>
#endif
