/* Numbers drawn from the statement `seed`: each process has its own two streams, which begin alike in all of them. */
#include "hsm_shim.h"

#include <math.h>

static uint64_t fault_state, latency_state; /* apart, so that a latency does not change which calls fail */

/* SplitMix64 (Steele, Lea, Flood 2014): any seed will do, zero as well. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t mixed = *state += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
}

static double next_share(void) /* in [0, 1) */
{
    return (double)(next_random(&latency_state) >> 11) * 0x1p-53;
}

void seed_random_numbers(unsigned long seed)
{
    fault_state = seed;
    latency_state = ~(uint64_t)seed;
}

bool one_in(unsigned long calls)
{
    return next_random(&fault_state) % calls == 0;
}

static double next_normal(void) /* Box and Muller 1958 */
{
    double radius = sqrt(-2 * log(1 - next_share()));
    return radius * cos(2 * M_PI * next_share());
}

double draw_microseconds(const struct distribution *latency)
{
    switch (latency->shape) {
    case UNIFORM:
        return latency->a + (latency->b - latency->a) * next_share();
    case EXPONENTIAL:
        return -latency->a * log(1 - next_share());
    case LOGNORMAL: /* 2.3263 standard deviations above the median lies the 99th percentile */
        return latency->a * exp(log(latency->b / latency->a) / 2.3263478740408408 * next_normal());
    case CONSTANT:
        break;
    }
    return latency->a;
}
