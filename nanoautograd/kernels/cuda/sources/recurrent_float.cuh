// The product of recurrent.cuh by ordinary multiplications, of floats or doubles.

#pragma once
#include "common.cuh"

constexpr int TILE_ROWS = 8, TILE_DEPTH = 1, W_PADDING = 0, X_STRIDE = SEQS;

typedef Pack<T, 4> Four;

__device__ inline T rounded(T x) { return x; }

__device__ inline Four four(const T* p) { return *reinterpret_cast<const Four*>(p); }

// A thread computes 8 × 4 numbers: rows m ... m + 3 and the same in the second half of the M rows.
__device__ inline void product(const T* w, const T* x, T* to, int M, int K, int splits) {
    const int across = SEQS / 4;
    int tiles = M / 8 * across, half = M / 2;
    for (int i = threadIdx.x; i < tiles * splits; i += blockDim.x) {
        int slice = i / tiles, m = i % tiles / across * 4, s = i % across * 4;
        Four d[2][4] = {};
#pragma unroll 4
        for (int k = slice; k < K; k += splits) {
            Four x_k = four(x + k * SEQS + s);
            UNROLL_FOR(h, 2) {
                Four w_k = four(w + k * M + h * half + m);
                UNROLL_FOR(p, 4)
                    UNROLL_FOR(q, 4) d[h][p].x[q] += w_k.x[p] * x_k.x[q];
            }
        }
        UNROLL_FOR(h, 2)
            UNROLL_FOR(p, 4)
                *reinterpret_cast<Four*>(to + (slice * M + h * half + m + p) * SEQS + s) = d[h][p];
    }
}
