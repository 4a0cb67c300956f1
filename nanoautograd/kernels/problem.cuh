// How a kernel says that its input was wrong: backends/reports.py reads it.

#pragma once

enum { TARGET = 1, TOKEN = 2 };         // a class number, a row of an embedding out of range

// problem: five numbers, the first 0 until somebody reports. The first report stays.
__device__ inline void report(int* problem, int what, long long place, long long value,
                              long long limit) {
    if (atomicCAS(problem, 0, -1) != 0) return;
    problem[1] = int(place);
    problem[2] = int(value);
    problem[3] = int(value >> 32);
    problem[4] = int(limit);
    __threadfence();
    atomicExch(problem, what);
}
