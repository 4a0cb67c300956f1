// Sums of columns where threads hold rows (rows.cuh), the first step: a block adds up its own rows to
// a row of `partial`. The second is in partials.cuh. No atomics, so the order is always the same.

#pragma once
#include "partials.cuh"
#include "rows.cuh"

// What the rows of a block add up to in a[ITEMS_PER_THREAD], for each column: to partial (N,).
// scratch: ITEMS_PER_THREAD · THREADS_PER_ROW numbers of shared memory if there are several rows.
// They take turns.
__device__ inline void join_rows(const AccumT* a, AccumT* partial, int N, AccumT* scratch) {
    for (u32 y = 0; y < blockDim.y; y++) {
        if (threadIdx.y == y) {
            UNROLL_FOR(i, ITEMS_PER_THREAD) {
                AccumT* so_far = scratch + i * THREADS_PER_ROW + threadIdx.x;
                AccumT sum = y ? *so_far + a[i] : a[i];
                if (y + 1 < blockDim.y) *so_far = sum;
                else if (column(i) < N) partial[column(i)] = sum;
            }
        }
        __syncthreads();
    }
}
