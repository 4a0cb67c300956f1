// Root mean square normalisation of rows (derived in manual/rms_norm.py, where the letters are).
//
//     z = x + a          x̂ = z r          y = w x̂          e = dy x̂          dw_i = Σ_m e_mi
//     dx = dz  +  r (w dy  -  x̂/N Σ_i w_i e_i)
//
// Where squares leave the range of their type, the row is first divided by s, its largest number; r is
// then (s r)/s.
//
// As in layer_norm.cu: without a residual a and z are null, and z is x. A row is held in registers, and
// read once; on the way back a block goes through many rows, of which its threads add up dw, and a
// second kernel adds up what the blocks have found.

#include "columns.cuh"

extern "C" __global__ void __launch_bounds__(256, 1)         // 1: with fewer registers some spill
forward(const T* x, const T* a, const T* w, T* z, T* y, AccumT* r, int M, int N, AccumT eps) {
    SHARED(AccumT, scratch);                            // 32
    long long m = blockIdx.x * (long long)blockDim.y + threadIdx.y;
    if (m >= M) return;         // a warp that has no row: row_sum has no barrier where rows are warps
    AccumT p[ITEMS_PER_THREAD], s = 1;                  // p: a row of z
    read_row(p, x + m * N, N);
    if (a) {
        add_row(p, a + m * N, N);
        round_row(p);                                   // as the way back will find it
        write_row(z + m * N, p, N);
    }
    AccumT v = row_sum(squares(p), scratch) / N + eps;
    if (!in_range(v)) {
        s = into_range(p, sqrt_(eps), scratch);
        v = row_sum(squares(p), scratch) / N + eps / s / s;
    }
    AccumT r_m = 1 / sqrt_(v);
    UNROLL_FOR(i, ITEMS_PER_THREAD) p[i] *= r_m;        // x̂
    if (w) scale_row(p, w, N);
    write_row(y + m * N, p, N);
    if (threadIdx.x == 0) r[m] = r_m / s;
}

// partial (blocks, N): what the rows of a block add to dw. It may be null, and dz and dx.
extern "C" __global__ void __launch_bounds__(256)
backward(const T* z, const T* w, const AccumT* r, const T* dy, const T* dz, T* dx, AccumT* partial, int M,
         int N) {
    SHARED(AccumT, scratch);                            // ITEMS_PER_THREAD · 32
    AccumT dw[ITEMS_PER_THREAD] = {};
    for (long long m = blockIdx.x * (long long)blockDim.y + threadIdx.y; m < M;
         m += gridDim.x * blockDim.y) {
        AccumT p[ITEMS_PER_THREAD], g[ITEMS_PER_THREAD], r_m = r[m], sum_e = 0;
        read_row(p, z + m * N, N);
        read_row(g, dy + m * N, N);
        UNROLL_FOR(i, ITEMS_PER_THREAD) {
            p[i] *= r_m;                                // x̂
            dw[i] += g[i] * p[i];
        }
        if (w) scale_row(g, w, N);                      // from here on dx̂ = w dy
        UNROLL_FOR(i, ITEMS_PER_THREAD) sum_e += g[i] * p[i];
        AccumT c = row_sum(sum_e, scratch) / N;
        UNROLL_FOR(i, ITEMS_PER_THREAD) g[i] = r_m * (g[i] - p[i] * c);
        if (dz) add_row(g, dz + m * N, N);
        if (dx) write_row(dx + m * N, g, N);
    }
    if (partial) join_rows(dw, partial + (long long)blockIdx.x * N, N, scratch);
}

// partial of `backward` by P blocks -> dw.
extern "C" __global__ void columns(const AccumT* partial, T* dw, int P, int N) {
    SHARED(AccumT, scratch);                            // 32 · 33
    add_partials(partial, dw, P, N, scratch);
}
