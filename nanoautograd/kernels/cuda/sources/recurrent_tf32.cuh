// The product of recurrent.cuh by tensor cores: operands in TF32, sums in float32.

#pragma once
#include "common.cuh"

constexpr int TILE_ROWS = 16, TILE_DEPTH = 8, W_PADDING = 8, X_STRIDE = SEQS % 16 ? SEQS : SEQS + 8;

__device__ inline T rounded(T x) { return __uint_as_float(to_tf32(x)); }

// A warp computes 64 × SEQS numbers, or what is left of M, in pieces of 16 × 8.
__device__ inline void product(const T* w, const T* x, T* to, int M, int K, int splits) {
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, tiles = (M + 63) / 64, step = M + W_PADDING;
    for (int i = threadIdx.x / 32; i < tiles * splits; i += blockDim.x / 32) {
        int m = i % tiles * 64, slice = i / tiles;
        T d[4][SEQS / 8][4] = {};
        for (int k = slice * 8; k < K; k += splits * 8) {
            const T *w_k = w + (k + t) * step + m + g, *x_k = x + (k + t) * X_STRIDE + g;
            u32 a[4], b[SEQS / 8][2];
            UNROLL_FOR(n, SEQS / 8)
                UNROLL_FOR(l, 2) b[n][l] = __float_as_uint(x_k[l * 4 * X_STRIDE + n * 8]);
            UNROLL_FOR(p, 4) {
                if (m + p * 16 >= M) break;
                UNROLL_FOR(l, 4) a[l] = __float_as_uint(w_k[l / 2 * 4 * step + p * 16 + l % 2 * 8]);
                UNROLL_FOR(n, SEQS / 8) mma_tf32(d[p][n], a, b[n]);
            }
        }
        UNROLL_FOR(p, 4) {
            if (m + p * 16 >= M) break;
            UNROLL_FOR(n, SEQS / 8)
                UNROLL_FOR(l, 4)
                    to[(slice * M + m + p * 16 + g + l / 2 * 8) * SEQS + n * 8 + 2 * t + l % 2] =
                        d[p][n][l];
        }
    }
}
