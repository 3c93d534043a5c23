// A virtual machine that sends UDP packets with the time in them on its first virtio-user device, receives them on its second, and prints
// how long they took, as JSON:  prober EAL-ARGUMENTS -- PACKETS-PER-SECOND SECONDS
// Packets carry the time when they were due, so what waits for room counts. 0 packets a second are as many as the device takes.
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FLOWS = 1000, BURST = 32, LENGTH = 60, STAMP = 42, DESCRIPTORS = 1024, MAGIC = 0x50524f42 };
#define MOST_SAMPLES (1u << 24)

static uint8_t packets[FLOWS][LENGTH];

static void make_packets(void) {
    for (int i = 0; i < FLOWS; i++) {
        uint8_t *p = packets[i];
        static const uint8_t ethernet[14] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0};
        static const uint8_t ip[20] = {0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 0, 10, 128, 0, 1};
        static const uint8_t udp[8] = {4, 0, 0, 53, 0, 26, 0, 0};
        memcpy(p, ethernet, 14);
        memcpy(p + 14, ip, 20);
        p[28] = i >> 8;
        p[29] = i;
        memcpy(p + 34, udp, 8);
        struct rte_ipv4_hdr *header = (struct rte_ipv4_hdr *)(p + 14);
        header->hdr_checksum = rte_ipv4_cksum(header);
        uint32_t magic = MAGIC;
        memcpy(p + STAMP + 8, &magic, 4);
    }
}

static void start(uint16_t port, struct rte_mempool *pool) {
    struct rte_eth_conf configuration = {0};
    if (rte_eth_dev_configure(port, 1, 1, &configuration) || rte_eth_rx_queue_setup(port, 0, DESCRIPTORS, 0, NULL, pool)
        || rte_eth_tx_queue_setup(port, 0, DESCRIPTORS, 0, NULL) || rte_eth_dev_start(port)) {
        rte_exit(1, "device %d does not start\n", port);
    }
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    int used = rte_eal_init(argc, argv);
    if (used < 0 || argc - used != 3 || rte_eth_dev_count_avail() != 2) rte_exit(1, "two devices, a rate and a time are wanted\n");
    double rate = atof(argv[used + 1]), seconds = atof(argv[used + 2]);
    struct rte_mempool *pool = rte_pktmbuf_pool_create("packets", 16383, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
    uint32_t *samples = malloc(MOST_SAMPLES * sizeof *samples);
    if (!pool || !samples) rte_exit(1, "no memory\n");
    memset(samples, 0, MOST_SAMPLES * sizeof *samples);
    make_packets();
    start(0, pool);
    start(1, pool);

    double hertz = rte_get_tsc_hz(), interval = rate > 0 ? hertz / rate : 0;
    uint64_t begin = rte_rdtsc(), measured = begin + 2 * hertz, end = measured + seconds * hertz;
    // When this program was kept from its processor for longer than this, what was under way meanwhile is no measure of the switch.
    uint64_t longest = hertz / 50000, valid = measured, away = 0, last = begin, gaps = 0;
    uint64_t sent = 0, refused = 0, received = 0, count = 0, next_flow = 0;
    double due = begin;
    for (uint64_t now; (now = rte_rdtsc()) < end;) {
        bool measures = now >= measured;
        if (now - last > longest) {
            if (measures) {
                gaps++;
                away += now - last;
            }
            if (now > valid) valid = now;
            due = now;
        }
        last = now;
        struct rte_mbuf *batch[BURST];
        int wanted = interval > 0 ? 0 : BURST;
        double first = due;
        while (wanted < BURST && due <= now) {
            wanted++;
            due += interval;
        }
        if (wanted > 0 && rte_pktmbuf_alloc_bulk(pool, batch, wanted) == 0) {
            for (int i = 0; i < wanted; i++) {
                uint8_t *p = (uint8_t *)rte_pktmbuf_append(batch[i], LENGTH);
                memcpy(p, packets[next_flow++ % FLOWS], LENGTH);
                uint64_t stamp = interval > 0 ? (uint64_t)(first + i * interval) : now;
                memcpy(p + STAMP, &stamp, 8);
            }
            int taken = rte_eth_tx_burst(0, 0, batch, wanted);
            if (taken < wanted) rte_pktmbuf_free_bulk(batch + taken, wanted - taken);
            if (measures) {
                sent += taken;
                refused += wanted - taken;
            }
        }
        int n = rte_eth_rx_burst(1, 0, batch, BURST);
        uint64_t arrival = rte_rdtsc();
        for (int i = 0; i < n; i++) {
            const uint8_t *p = rte_pktmbuf_mtod(batch[i], const uint8_t *);
            uint32_t magic = 0;
            uint64_t stamp = 0;
            if (rte_pktmbuf_data_len(batch[i]) >= LENGTH) {
                memcpy(&stamp, p + STAMP, 8);
                memcpy(&magic, p + STAMP + 8, 4);
            }
            if (magic == MAGIC && measures) {
                received++;
                // A gap between the look at the clock above and here shows in the next turn only.
                if (stamp >= valid && arrival - now < longest && count < MOST_SAMPLES) samples[count++] = (arrival - stamp) * 1e9 / hertz;
            }
        }
        if (n > 0) rte_pktmbuf_free_bulk(batch, n);
    }
    qsort(samples, count, sizeof *samples, by_size);
    printf("{\"sent\": %lu, \"refused\": %lu, \"received\": %lu, \"seconds\": %.3f, \"samples\": %lu, \"gaps\": %lu, \"away\": %.4f", sent, refused,
           received, seconds, count, gaps, away / (seconds * hertz));
    static const double parts[] = {0.5, 0.99, 0.999};
    static const char *names[] = {"p50", "p99", "p999"};
    for (int i = 0; i < 3; i++) printf(", \"%s\": %u", names[i], count ? samples[(uint64_t)(parts[i] * (count - 1))] : 0);
    printf(", \"max\": %u}\n", count ? samples[count - 1] : 0);
    fflush(stdout);
    _exit(0);
}
