// Sums of columns, the second step: each block has added up its own rows to a row of `partial`, and
// these are added up here. No atomics, so the order is always the same.

#pragma once
#include "common.cuh"

// sums_c = Σ_p partial_pc for c < N, p < P. Blocks of (32, 32) threads, one for 32 columns. scratch:
// 32 · 33 numbers of shared memory, in rows of 33, so that a warp meets 32 different banks where it
// writes a row and where it reads a column.
__device__ inline void add_partials(const AccumT* partial, T* sums, int P, int N, AccumT* scratch) {
    int c = blockIdx.x * 32 + threadIdx.x;
    AccumT sum = 0;
    if (c < N)
        for (int p = threadIdx.y; p < P; p += 32) sum += partial[p * (long long)N + c];
    scratch[threadIdx.y * 33 + threadIdx.x] = sum;
    __syncthreads();
    // A warp adds up a column: its lanes are the 32 sums.
    sum = warp_sum(scratch[threadIdx.x * 33 + threadIdx.y]);
    c = blockIdx.x * 32 + threadIdx.y;
    if (threadIdx.x == 0 && c < N) store(sums + c, sum);
}
