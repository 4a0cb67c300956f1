// Softmax of rows (derived in manual/softmax.py, where the letters are; n counts the N rows).
//
//     p_i = exp(x_i - m) / Σ_j exp(x_j - m)           dx_k = p_k (dp_k - Σ_i dp_i p_i)
//
// A row is held in registers (rows.cuh), so every number is read and written once.

#include "rows.cuh"

extern "C" __global__ void __launch_bounds__(256)
forward(const T* x, T* p, int N, int C) {
    SHARED(AccumT, scratch);                            // 32
    long long n = blockIdx.x * (long long)blockDim.y + threadIdx.y;
    if (n >= N) return;                                 // a warp that has no row
    AccumT e[ITEMS_PER_THREAD], m = -AccumT(INFINITY_F), Z = 0;
    read_row(e, x + n * C, C);
    UNROLL_FOR(i, ITEMS_PER_THREAD) if (column(i) < C) m = max_(m, e[i]);
    m = row_max(m, scratch);
    UNROLL_FOR(i, ITEMS_PER_THREAD) {
        e[i] = column(i) < C ? exp_(e[i] - m) : AccumT(0);
        Z += e[i];
    }
    AccumT factor = 1 / row_sum(Z, scratch);            // one division, and products
    UNROLL_FOR(i, ITEMS_PER_THREAD) e[i] *= factor;
    write_row(p + n * C, e, C);
}

extern "C" __global__ void __launch_bounds__(256)
backward(const T* p, const T* dp, T* dx, int N, int C) {
    SHARED(AccumT, scratch);                            // 32
    long long n = blockIdx.x * (long long)blockDim.y + threadIdx.y;
    if (n >= N) return;
    AccumT p_n[ITEMS_PER_THREAD], d[ITEMS_PER_THREAD], sum = 0;        // d: dp, and then dx
    read_row(p_n, p + n * C, C);
    read_row(d, dp + n * C, C);
    UNROLL_FOR(i, ITEMS_PER_THREAD) sum += d[i] * p_n[i];
    sum = row_sum(sum, scratch);                        // Σ_i dp_i p_i
    UNROLL_FOR(i, ITEMS_PER_THREAD) d[i] = p_n[i] * (d[i] - sum);
    write_row(dx + n * C, d, C);
}
