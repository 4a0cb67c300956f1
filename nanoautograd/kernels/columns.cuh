// Sums of columns, where threads hold rows: those of a block, then those of all blocks. No atomics, so
// the order is always the same.

#pragma once
#include "rows.cuh"

// What the rows of a block add up to in a[HELD], for each column: to partial (N,). scratch: HELD ·
// THREADS numbers of shared memory if there are several rows. They take turns.
__device__ inline void join_rows(const A* a, A* partial, int N, A* scratch) {
    for (u32 y = 0; y < blockDim.y; y++) {
        if (threadIdx.y == y) {
            EACH(i, HELD) {
                A* so_far = scratch + i * THREADS + threadIdx.x;
                A sum = y ? *so_far + a[i] : a[i];
                if (y + 1 < blockDim.y) *so_far = sum;
                else if (column(i) < N) partial[column(i)] = sum;
            }
        }
        __syncthreads();
    }
}

// sums_c = Σ_p partial_pc for c < N, p < P. Blocks of (32, 32) threads, one for 32 columns; scratch:
// 32 · 33 numbers of shared memory, so that neither a row nor a column of it shares a bank.
__device__ inline void add_partials(const A* partial, T* sums, int P, int N, A* scratch) {
    int c = blockIdx.x * 32 + threadIdx.x;
    A sum = 0;
    if (c < N)
        for (int p = threadIdx.y; p < P; p += 32) sum += partial[p * (long long)N + c];
    scratch[threadIdx.y * 33 + threadIdx.x] = sum;
    __syncthreads();
    // A warp adds up a column: its lanes are the 32 sums.
    sum = warp_sum(scratch[threadIdx.x * 33 + threadIdx.y]);
    c = blockIdx.x * 32 + threadIdx.y;
    if (threadIdx.x == 0 && c < N) store(sums + c, sum);
}
