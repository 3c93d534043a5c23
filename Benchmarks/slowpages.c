/* Sets slow huge pages aside.
 *
 * Some of a virtual machine's memory can be half as slow again as the rest, as when it lies on another node of the host. Which process gets
 * which pages is chance, and then chance decides who is faster as soon as packets come from memory, which those of 100,000 flows do.
 * This takes all free huge pages of 2 MB, measures them by groups, and gives back all but the slow ones, which it keeps until its standard
 * input ends. Prints how many it keeps, of how many; none if they are more than a third, for then the machine is like that.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* A chain of a group is longer than what a processor's caches hold of it. */
enum { HUGE = 2 << 20, PAGES = 32, GROUP = PAGES * HUGE, STEP = 256, LINES = GROUP / STEP };

/* Where the line that is visited so many steps later lies, in an order that no prefetcher knows; an odd factor leaves out none. */
static size_t place(uint32_t step) {
    return (size_t)(step * 162011u % LINES) * STEP;
}

/* Nanoseconds of a read from memory. */
static double latency_of(char *group) {
    for (uint32_t i = 0; i < LINES; i++)
        *(char **)(group + place(i)) = group + place(i + 1);
    struct timespec start, end;
    char *at = group;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int i = 0; i < LINES; i++)
        at = *(char *volatile *)at;
    clock_gettime(CLOCK_MONOTONIC, &end);
    return ((end.tv_sec - start.tv_sec) * 1e9 + (end.tv_nsec - start.tv_nsec)) / LINES;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void) {
    int count = 0;
    FILE *free_pages = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "r");
    if (!free_pages || fscanf(free_pages, "%d", &count) != 1 || count < PAGES) {
        fprintf(stderr, "slowpages: there are fewer than %d free huge pages of 2 MB\n", PAGES);
        return 1;
    }
    int groups = count / PAGES, slow = 0;
    char *pages = mmap(NULL, (size_t)groups * GROUP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
    double *times = malloc(sizeof *times * groups), *sorted = malloc(sizeof *sorted * groups);
    if (pages == MAP_FAILED || !times || !sorted) {
        perror("slowpages");
        return 1;
    }
    for (int i = 0; i < groups; i++)
        times[i] = sorted[i] = latency_of(pages + (size_t)i * GROUP);
    qsort(sorted, groups, sizeof *sorted, ascending);
    double limit = 1.2 * sorted[groups / 2];
    for (int i = 0; i < groups; i++)
        slow += times[i] > limit;
    if (slow > groups / 3) {
        limit = sorted[groups - 1];
        slow = 0;
    }
    for (int i = 0; i < groups; i++)
        if (times[i] <= limit)
            munmap(pages + (size_t)i * GROUP, GROUP);
    printf("%d of %d, reads from memory take %.0f to %.0f ns\n", slow * PAGES, count, sorted[0], sorted[groups - 1]);
    fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    return 0;
}
