// How a kernel says that its input was wrong: runtime/device_assertions.py reads it.

#pragma once

// what: a number, 1 or more, for which the kernel's launcher has entered a message.
// problem: what, place, value (two words each, the lower one first) and limit, in the memory of the
// host; what is 0 until an assertion fails. The first failure stays. It is the host that must not
// see `what` before the rest, therefore the fence is that of the whole system.
__device__ inline void fail_assertion(int* problem, int what, long long place, long long value,
                                      int limit) {
    if (atomicCAS(problem, 0, -1) != 0) return;
    problem[1] = int(place);
    problem[2] = int(place >> 32);
    problem[3] = int(value);
    problem[4] = int(value >> 32);
    problem[5] = limit;
    __threadfence_system();
    atomicExch(problem, what);
}
