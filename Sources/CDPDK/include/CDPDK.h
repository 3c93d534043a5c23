// DPDK for Swift: its headers, and inline functions in place of macros, static inlines and bit-fields that Swift cannot reach.
// struct rte_mbuf arrives opaque in Swift, so its fields are read and written here. No logic.
#ifndef CDPDK_H
#define CDPDK_H
#include <rte_config.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_log.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_ring.h>
#include <rte_version.h>

// Devices.
static inline uint16_t cdpdk_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t count) {
    return rte_eth_rx_burst(port, queue, packets, count);
}
static inline uint16_t cdpdk_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t count) {
    return rte_eth_tx_burst(port, queue, packets, count);
}
static inline int cdpdk_errno(void) { return rte_errno; }
static inline unsigned cdpdk_max_ports(void) { return RTE_MAX_ETHPORTS; }
static inline void cdpdk_mac(uint16_t port, uint8_t *bytes) {
    struct rte_ether_addr a = {{0}};
    rte_eth_macaddr_get(port, &a);
    memcpy(bytes, a.addr_bytes, 6);
}
static inline int cdpdk_set_mac(uint16_t port, const uint8_t *bytes) {
    struct rte_ether_addr a;
    memcpy(a.addr_bytes, bytes, 6);
    return rte_eth_dev_default_mac_addr_set(port, &a);
}
// 1 up, 0 down; the speed in Mbit/s.
static inline int cdpdk_link(uint16_t port, uint32_t *speed) {
    struct rte_eth_link link;
    memset(&link, 0, sizeof link);
    if (rte_eth_link_get_nowait(port, &link) != 0) return 0;
    *speed = link.link_speed;
    return link.link_status == RTE_ETH_LINK_UP;
}
static inline uint16_t cdpdk_any_socket(void) { return (uint16_t)0; }

// Packets.
static inline uint8_t *cdpdk_data(const struct rte_mbuf *m) { return (uint8_t *)m->buf_addr + m->data_off; }
static inline uint32_t cdpdk_length(const struct rte_mbuf *m) { return m->pkt_len; }
static inline uint16_t cdpdk_first_length(const struct rte_mbuf *m) { return m->data_len; }
static inline uint16_t cdpdk_port(const struct rte_mbuf *m) { return m->port; }
static inline void cdpdk_set_port(struct rte_mbuf *m, uint16_t port) { m->port = port; }
static inline void cdpdk_free(struct rte_mbuf *m) { rte_pktmbuf_free(m); }
static inline void cdpdk_free_all(struct rte_mbuf **m, unsigned count) { rte_pktmbuf_free_bulk(m, count); }
static inline struct rte_mbuf *cdpdk_alloc(struct rte_mempool *pool) { return rte_pktmbuf_alloc(pool); }
static inline struct rte_mempool *cdpdk_pool(const struct rte_mbuf *m) { return m->pool; }
static inline struct rte_mbuf *cdpdk_copy(const struct rte_mbuf *m) { return rte_pktmbuf_copy(m, m->pool, 0, UINT32_MAX); }
static inline struct rte_mbuf *cdpdk_copy_to(const struct rte_mbuf *m, struct rte_mempool *pool) { return rte_pktmbuf_copy(m, pool, 0, UINT32_MAX); }
static inline uint8_t *cdpdk_append(struct rte_mbuf *m, uint16_t size) { return (uint8_t *)rte_pktmbuf_append(m, size); }
static inline uint8_t *cdpdk_prepend(struct rte_mbuf *m, uint16_t size) { return (uint8_t *)rte_pktmbuf_prepend(m, size); }
static inline uint8_t *cdpdk_remove(struct rte_mbuf *m, uint16_t size) { return (uint8_t *)rte_pktmbuf_adj(m, size); }
static inline const uint8_t *cdpdk_read(const struct rte_mbuf *m, uint32_t size, uint8_t *buffer) {
    return (const uint8_t *)rte_pktmbuf_read(m, 0, size, buffer);
}
static inline void cdpdk_prefetch(const void *p) { rte_prefetch0(p); }

// Rings between one producer and one consumer.
static inline unsigned cdpdk_ring_put(struct rte_ring *r, void **objects, unsigned count) {
    return rte_ring_sp_enqueue_burst(r, objects, count, NULL);
}
static inline unsigned cdpdk_ring_take(struct rte_ring *r, void **objects, unsigned count) {
    return rte_ring_sc_dequeue_burst(r, objects, count, NULL);
}
static inline unsigned cdpdk_ring_room(const struct rte_ring *r) { return rte_ring_free_count(r); }
static inline unsigned cdpdk_ring_flags(void) { return RING_F_SP_ENQ | RING_F_SC_DEQ; }

// Counters that one thread writes and others read.
static inline void cdpdk_store(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
static inline uint64_t cdpdk_load(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
static inline void cdpdk_store32(uint32_t *p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
static inline uint32_t cdpdk_load32(const uint32_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
static inline void cdpdk_store16(uint16_t *p, uint16_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
static inline uint16_t cdpdk_load16(const uint16_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
static inline void cdpdk_add(uint64_t *p, uint64_t v) {
    __atomic_store_n(p, __atomic_load_n(p, __ATOMIC_RELAXED) + v, __ATOMIC_RELAXED);
}
static inline void cdpdk_publish(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
static inline uint64_t cdpdk_observe(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
// For transmit queues that threads must share.
static inline void cdpdk_lock(uint32_t *lock) {
    while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE) != 0)
        while (__atomic_load_n(lock, __ATOMIC_RELAXED) != 0) rte_pause();
}
static inline void cdpdk_unlock(uint32_t *lock) { __atomic_store_n(lock, 0, __ATOMIC_RELEASE); }
static inline void cdpdk_pause(void) { rte_pause(); }
static inline uint64_t cdpdk_cycles(void) { return rte_rdtsc(); }

// Which of 16 words have these upper bits, as a bit set: one vector comparison.
static inline uint32_t cdpdk_match16(const uint32_t *words, uint32_t upper, uint32_t mask) {
#if defined(__AVX2__)
    __m256i want = _mm256_set1_epi32((int)upper), m = _mm256_set1_epi32((int)mask);
    __m256i a = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_load_si256((const __m256i *)words), m), want);
    __m256i b = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_load_si256((const __m256i *)(words + 8)), m), want);
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(a)) | (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(b)) << 8;
#else
    uint32_t set = 0;
    for (int i = 0; i < 16; i++) set |= (uint32_t)((words[i] & mask) == upper) << i;
    return set;
#endif
}
// Where the calling thread runs: on one processor, or on any. Returns an errno.
int cdpdk_pin(unsigned core);
int cdpdk_unpin(void);
// The first processor that the calling thread may run on.
int cdpdk_first_core(void);

// What the fast path is compiled for.
static inline int cdpdk_cpu_is_supported(void) {
#if defined(__AVX2__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
#else
    return 1;
#endif
}
#endif
